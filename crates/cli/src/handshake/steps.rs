//! The steps at one address, in words.

use super::plan::Plan;
use super::step::Step;
use crate::inspect;
use crate::roots::Roots;
use avouch_identity::crypto_provider;
use avouch_identity::examine::{ClientCertificate, ExaminedAddress, NegotiatedTls};
use avouch_time::clock::{Clock, SystemClock};
use std::net::SocketAddr;

/// Every step that was taken at the address.
pub(super) fn of(plan: &Plan, address: &ExaminedAddress) -> Vec<Step> {
    let mut steps = Vec::new();
    let Some(connect) = address.connect else { return steps };
    let words = format!("{} from {}", address.remote, shown_address(address.local));
    steps.push(Step::done("connect", connect, words));
    steps.push(Step::listed("offer", offer(plan)));
    if let Some((took, tls)) = &address.tls {
        steps.push(Step::done("server hello", *took, negotiated(tls)));
    }
    server(plan, address, &mut steps);
    if address.tls.is_some() {
        steps.push(Step::said("client certificate", client_certificate(plan, address)));
    }
    if let Some((took, settings)) = &address.settings {
        let shown: Vec<_> = settings.iter().map(ToString::to_string).collect();
        let shown = if shown.is_empty() { "defaults".to_owned() } else { shown.join(" ") };
        steps.push(Step::done("http/2", *took, format!("SETTINGS received: {shown}")));
    }
    steps
}

/// The words for what a channel gets at an address that is good.
pub(super) fn works(plan: &Plan, address: &ExaminedAddress) -> String {
    let client = match (address.client_certificate, &plan.identity) {
        (ClientCertificate::Presented, Some(own)) => format!("it took us as {}", own.svid.spiffe_id()),
        (ClientCertificate::NotAsked, _) => "it asks no client who it is".to_owned(),
        _ => "it takes clients without a certificate".to_owned(),
    };
    format!("{}, {client}, and HTTP/2 is up", who(address))
}

/// The words for who the server at an address has proven to be.
pub(super) fn who(address: &ExaminedAddress) -> String {
    match &address.verdict {
        Some(Ok(peer)) => format!("the server is {}", peer.spiffe_id()),
        _ => "nobody verified who the server is".to_owned(),
    }
}

/// The content of the ClientHello.
fn offer(plan: &Plan) -> Vec<String> {
    let provider = crypto_provider();
    let groups: Vec<_> = provider.kx_groups.iter().map(|group| format!("{:?}", group.name())).collect();
    let suites: Vec<_> = provider
        .cipher_suites
        .iter()
        .filter(|suite| suite.tls13().is_some())
        .map(|suite| format!("{:?}", suite.suite()))
        .collect();
    let own = match &plan.identity {
        Some(own) => format!("certificate of {}", own.svid.spiffe_id()),
        None => "no certificate".to_owned(),
    };
    vec![
        format!("TLS 1.3, ALPN h2, {own}"),
        format!("groups {}", groups.join(" ")),
        format!("suites {}", suites.join(" ")),
    ]
}

/// The server's choice.
fn negotiated(tls: &NegotiatedTls) -> String {
    let version = if tls.version == "TLSv1_3" { "TLS 1.3" } else { tls.version };
    let alpn = tls.alpn.as_ref().map(|protocol| protocol.escape_ascii().to_string());
    let alpn = alpn.unwrap_or_else(|| "none".to_owned());
    format!("{version}, group {}, suite {}, ALPN {alpn}", tls.group, tls.suite)
}

/// The server's chain, with the items that come of it.
fn server(plan: &Plan, address: &ExaminedAddress, steps: &mut Vec<Step>) {
    let Some(chain) = &address.chain else { return };
    let chain: Vec<_> = chain.iter().map(|der| der.to_vec()).collect();
    let now = SystemClock.now();
    let certificates: Vec<_> = chain.iter().map(|der| inspect::inspect(der)).collect();
    let lines = certificates.iter().map(|certificate| certificate.to_line(now)).collect();
    steps.push(Step::listed("server chain", lines));
    let mut checks: Vec<_> =
        certificates.into_iter().next().map(|leaf| leaf.into_checks()).unwrap_or_default();
    checks.extend(inspect::chain_checks(&chain, now));
    let whose = plan.roots.as_ref().map(Roots::whose).unwrap_or_default();
    let (ok, words) = match &address.verdict {
        None => (None, "not verified: there is no --bundle and no --identity to verify it with".to_owned()),
        Some(Ok(peer)) => {
            (Some(true), format!("accepted as {}, by {whose} and this machine's clock", peer.spiffe_id()))
        }
        Some(Err(rejection)) => (Some(false), rejection.to_string()),
    };
    steps.push(Step::judged("verify", ok, words, checks));
}

fn client_certificate(plan: &Plan, address: &ExaminedAddress) -> String {
    match (address.client_certificate, &plan.identity) {
        (ClientCertificate::NotAsked, _) => "the server did not ask for one".to_owned(),
        (ClientCertificate::Presented, own) => {
            let id = own.as_ref().map(|own| own.svid.spiffe_id().to_string()).unwrap_or_default();
            format!("the server asked; presented {id}")
        }
        (_, Some(_)) => "the server asked; none was presented to a server that is not verified".to_owned(),
        (_, None) => "the server asked; there is none to present, for want of --identity".to_owned(),
    }
}

fn shown_address(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "unknown".to_owned(), |address| address.to_string())
}

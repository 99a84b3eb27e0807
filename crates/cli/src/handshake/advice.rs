//! What to do about each way a handshake breaks, by the step that broke.

use super::plan::Plan;
use avouch_identity::examine::{Broken, ClientCertificate, ExaminedAddress, Step};
use avouch_spiffe::Reason;

/// The advice: one or two commands, or what to change. `at` is the address where it broke, if there was one.
pub(super) fn of(broken: &Broken, plan: &Plan, at: Option<&ExaminedAddress>) -> String {
    let record = match &broken.explain {
        Some(command) => format!("the server's record says why: `{command}`"),
        None => "the server's log says why".to_owned(),
    };
    let target = at.map_or_else(|| plan.target.to_string(), |at| at.remote.to_string());
    let advice = match broken.step {
        Step::Resolve => {
            Some("look at the name, and at the resolver of this machine: `getent hosts NAME`".to_owned())
        }
        Step::Connect => Some(connecting(broken.reason)),
        Step::ServerHello => saying_hello(broken.reason, &target),
        Step::Verify => verifying(broken.reason),
        Step::ClientCertificate => presenting(broken.reason),
        Step::Http2 => speaking(broken.reason, at),
        _ => None,
    };
    advice.unwrap_or(record)
}

fn connecting(reason: Reason) -> String {
    let advice = if reason == Reason::HandshakeTimeout {
        "look at the route, firewalls and network policies between here and there"
    } else {
        "see whether the server runs, and where: `avouch check` says who answers, and at which address; so does its log"
    };
    advice.to_owned()
}

fn saying_hello(reason: Reason, target: &str) -> Option<String> {
    Some(match reason {
        Reason::HandshakeTimeout => {
            format!("something listens on {target} and does not speak TLS first; is it the right port?")
        }
        Reason::NotTls => format!(
            "something else than TLS answers on {target}, perhaps plain HTTP: is it the health port, or the one of \
             another program?"
        ),
        Reason::PeerConnectionClosed => format!(
            "what listens on {target} took the connection and hung up: a load balancer with nothing behind it, another \
             program, or a server that has no room; if it is ours, its record says which"
        ),
        Reason::ProtocolVersionUnsupported => format!(
            "make the server speak TLS 1.3, or see with `openssl s_client -connect {target}` what it is"
        ),
        Reason::NoApplicationProtocol => {
            "is it a gRPC server? One offers h2 in ALPN; a proxy between may take it away".to_owned()
        }
        Reason::CipherSuiteMismatch => "allow one of the suites and groups above on the server".to_owned(),
        _ => return None,
    })
}

fn verifying(reason: Reason) -> Option<String> {
    Some(match reason {
        Reason::ServerIdentityMismatch => {
            "the address leads to another service than expected: compare the caller's [upstreams] address and \
             spiffe_id with what the server presented above"
                .to_owned()
        }
        Reason::CertExpired | Reason::CertNotYetValid => {
            "compare the dates above with the clock on both machines; if the clocks are right, see in its owner's log \
             why it was not renewed"
                .to_owned()
        }
        Reason::CertUntrusted | Reason::CertSignatureInvalid | Reason::ChainIncomplete => {
            "compare the authority that signed the chain above with the bundle: `avouch bundle show`, and `avouch cert \
             inspect FILE` for the one of a file"
                .to_owned()
        }
        Reason::TrustDomainUnknown => {
            "the server is of another trust domain than the bundle: name that domain's with --bundle FILE".to_owned()
        }
        Reason::SvidInvalid | Reason::CertPurposeInvalid | Reason::CertMalformed | Reason::CertAlgorithmRefused => {
            "the FAIL lines above name the rule that the server's certificate breaks; whoever issued it must mend it"
                .to_owned()
        }
        _ => return None,
    })
}

fn presenting(reason: Reason) -> Option<String> {
    Some(match reason {
        Reason::ClientCertMissing => {
            "up to here all is well; to be let in, present one with --identity DIR, such as the state_dir of a workload. A \
             client that refuses this server all the same has an old bundle (compare `avouch bundle show` with its own), a \
             wrong clock, or the wrong address"
                .to_owned()
        }
        Reason::CertExpired | Reason::CertNotYetValid => {
            "the certificate that was presented is outside its dates, not the server's: look at it with `avouch cert \
             inspect`, compare the clocks, and see in its owner's log why it was not renewed"
                .to_owned()
        }
        _ => return None,
    })
}

fn speaking(reason: Reason, at: Option<&ExaminedAddress>) -> Option<String> {
    let asked = at.is_some_and(|at| at.client_certificate != ClientCertificate::NotAsked);
    Some(match reason {
        Reason::HandshakeTimeout | Reason::NoApplicationProtocol => {
            "it agreed on h2 and does not speak it: is it a gRPC server, or does a proxy between answer for one?".to_owned()
        }
        // Some servers refuse a client certificate without a word; then the record is what helps.
        Reason::PeerConnectionClosed if !asked => {
            "the server hung up after the handshake: see in its log whether it is stopping, or has no room".to_owned()
        }
        _ => return None,
    })
}

//! Who is called where: what callers are configured to expect against what callees advertise.

use crate::fleet::{Fleet, Member};
use avouch_api::observe::v1::Upstream;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What stands at the address that an upstream names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// Whom it expects.
    Expected,
    /// Somebody else: its SPIFFE ID.
    Other(&'a str),
    /// Nobody; but whom it expects advertises this, at another port of the same host.
    OtherPort(&'a str),
    /// Nobody who is known; names and balancers may stand in between.
    Unknown,
}

/// Looks up whom `upstream` reaches.
pub(crate) fn find<'a>(fleet: &'a Fleet, upstream: &Upstream) -> Found<'a> {
    let Some(at) = address(authority(&upstream.url)) else { return Found::Unknown };
    let there = || fleet.members.iter().filter(|member| listens_at(member, at));
    if there().any(|member| member.workload.spiffe_id == upstream.spiffe_id) {
        return Found::Expected;
    }
    if let Some(member) = there().next() {
        return Found::Other(&member.workload.spiffe_id);
    }
    let expected = fleet.members.iter().filter(|member| member.workload.spiffe_id == upstream.spiffe_id);
    let mut advertised = expected.flat_map(addresses);
    let same_host = |text: &&str| address(text).is_some_and(|other| other.ip() == at.ip());
    advertised.find(same_host).map_or(Found::Unknown, Found::OtherPort)
}

/// Whether a member is to be reached at `at`.
pub(crate) fn listens_at(member: &Member, at: SocketAddr) -> bool {
    addresses(member).any(|text| address(text) == Some(at))
}

fn addresses(member: &Member) -> impl Iterator<Item = &str> {
    let advertised = member.workload.addresses.iter().map(String::as_str);
    std::iter::once(member.address.as_str()).chain(advertised)
}

/// The `HOST:PORT` of a URL.
pub(crate) fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split_once('/').map_or(rest, |(authority, _)| authority)
}

/// An address that needs no name to be looked up, in the one form of it.
pub(crate) fn address(text: &str) -> Option<SocketAddr> {
    let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    let address = match local {
        Some(port) => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port),
        None => text.parse().ok()?,
    };
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::*;

    #[test]
    fn an_upstream_is_compared_with_who_advertises_its_address() {
        let fleet = fleet();
        let find = |url: &str, id: &str| {
            find(&fleet, &Upstream { name: String::new(), url: url.to_owned(), spiffe_id: id.to_owned() })
        };
        assert_eq!(find("https://127.0.0.1:7001", LEDGER), Found::Expected);
        assert_eq!(find("https://localhost:7001/x", LEDGER), Found::Expected);
        assert_eq!(find("https://[::ffff:127.0.0.1]:7001", LEDGER), Found::Expected);
        assert_eq!(find("https://127.0.0.1:7004", LEDGER), Found::Other(ORDERS));
        assert_eq!(find("https://127.0.0.1:7999", LEDGER), Found::OtherPort("127.0.0.1:7001"));
        assert_eq!(find("https://10.0.0.1:7001", LEDGER), Found::Unknown);
        assert_eq!(find("https://ledger.market.svc:7001", LEDGER), Found::Unknown);
        assert_eq!(find("", LEDGER), Found::Unknown);
    }
}

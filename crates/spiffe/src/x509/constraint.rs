//! Violations of name constraints (RFC 5280 §4.2.1.10), for messages: which constraint of an authority which name below
//! it violates.
//!
//! *Judged as the path validator judges*, so that the message fits its rejection: DNS names by labels, without regard to
//! case; IP addresses by prefix; of every other kind each constraint is violated by each name of that kind, since the
//! validator supports none of them. Every certificate has a name of the kind directory name, its subject, even if it is
//! empty. Judges nothing by itself: a chain is rejected before it is looked at here.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, GeneralSubtree};
use x509_parser::prelude::FromDer;

use super::name;
use avouch_text::hex;

/// The most characters shown of one constraint or name, which a peer may have chosen.
const LONGEST: usize = 100;

/// The most constraints that are named.
const MOST: usize = 3;

/// A name that an authority's constraints do not allow. Shown as a clause that follows the authority's name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NameViolation {
    /// Whether the name is outside of all permitted subtrees; else it is inside an excluded one.
    pub permitted: bool,
    /// The kind of name, as in `DNS name`.
    pub kind: &'static str,
    /// The subtrees of that kind: all that are permitted, or the one that excludes.
    pub subtrees: Vec<String>,
    /// The name.
    pub name: String,
    /// Whether the validator supports constraints of this kind.
    pub supported: bool,
}

impl NameViolation {
    /// Looks for a name in the certificate `below` that the constraints of `authority` do not allow.
    #[must_use]
    pub fn find(authority: &[u8], below: &[u8]) -> Option<Self> {
        let (_, authority) = X509Certificate::from_der(authority).ok()?;
        let (_, below) = X509Certificate::from_der(below).ok()?;
        let constraints = authority.name_constraints().ok()??.value;
        let subject = GeneralName::DirectoryName(below.subject().clone());
        let names = below.subject_alternative_name().ok().flatten();
        let names = names.iter().flat_map(|names| &names.value.general_names);
        names.chain(std::iter::once(&subject)).find_map(|name| {
            let permitted = constraints.permitted_subtrees.as_deref().unwrap_or_default();
            let excluded = constraints.excluded_subtrees.as_deref().unwrap_or_default();
            outside(name, permitted).or_else(|| inside(name, excluded))
        })
    }
}

impl fmt::Display for NameViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { permitted, kind, subtrees, name, supported } = self;
        let verb = if *permitted { "permits only" } else { "excludes" };
        let shown: Vec<_> = subtrees.iter().take(MOST).map(|subtree| quoted(subtree)).collect();
        write!(f, "{verb} the {kind} {}", shown.join(", "))?;
        match subtrees.len().saturating_sub(MOST) {
            0 => {}
            more => write!(f, " and {more} more")?,
        }
        write!(f, " (RFC 5280 4.2.1.10), and the name is {}", quoted(name))?;
        if !supported {
            write!(f, "; constraints of this kind are refused, met or not")?;
        }
        Ok(())
    }
}

/// A text in quotation marks, cut.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("\"{}…\"", text.get(..end).unwrap_or_default()),
        None => format!("\"{text}\""),
    }
}

/// A name whose kind is permitted somewhere, and that is in no permitted subtree.
fn outside(name: &GeneralName<'_>, permitted: &[GeneralSubtree<'_>]) -> Option<NameViolation> {
    let same: Vec<_> = permitted.iter().filter(|it| kind(&it.base) == kind(name)).collect();
    if same.is_empty() || same.iter().any(|it| matches(name, &it.base).unwrap_or(false)) {
        return None;
    }
    Some(violation(name, true, same.iter().map(|it| text(&it.base, true)).collect()))
}

/// A name in an excluded subtree.
fn inside(name: &GeneralName<'_>, excluded: &[GeneralSubtree<'_>]) -> Option<NameViolation> {
    let mut same = excluded.iter().filter(|it| kind(&it.base) == kind(name));
    let by = same.find(|it| matches(name, &it.base).unwrap_or(true))?;
    Some(violation(name, false, vec![text(&by.base, true)]))
}

fn violation(name: &GeneralName<'_>, permitted: bool, subtrees: Vec<String>) -> NameViolation {
    let supported = matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_));
    NameViolation { permitted, kind: kind(name), subtrees, name: text(name, false), supported }
}

fn kind(name: &GeneralName<'_>) -> &'static str {
    match name {
        GeneralName::DNSName(_) => "DNS name",
        GeneralName::IPAddress(_) => "IP address",
        GeneralName::URI(_) => "URI",
        GeneralName::RFC822Name(_) => "e-mail address",
        GeneralName::DirectoryName(_) => "directory name",
        GeneralName::OtherName(..) => "other name",
        GeneralName::X400Address(_) => "X.400 address",
        GeneralName::EDIPartyName(_) => "EDI party name",
        GeneralName::RegisteredID(_) => "registered ID",
        GeneralName::Invalid(..) => "name that cannot be read",
    }
}

/// Whether a name is in a subtree of its kind; `None` for kinds that the validator does not support.
fn matches(name: &GeneralName<'_>, base: &GeneralName<'_>) -> Option<bool> {
    match (name, base) {
        (GeneralName::DNSName(name), GeneralName::DNSName(base)) => Some(dns_matches(name, base)),
        (GeneralName::IPAddress(name), GeneralName::IPAddress(base)) => Some(ip_matches(name, base)),
        _ => None,
    }
}

/// Zero or more labels before the base; at least one where it begins with a dot.
fn dns_matches(name: &str, base: &str) -> bool {
    let Some(split) = name.len().checked_sub(base.len()) else { return false };
    let (Some(before), Some(end)) = (name.get(..split), name.get(split..)) else { return false };
    let whole_labels = before.is_empty() || base.is_empty() || base.starts_with('.') || before.ends_with('.');
    end.eq_ignore_ascii_case(base) && whole_labels
}

/// The base is an address and a mask.
fn ip_matches(name: &[u8], base: &[u8]) -> bool {
    let Some((address, mask)) = base.split_at_checked(name.len()) else { return false };
    let mut octets = name.iter().zip(address).zip(mask);
    mask.len() == name.len() && octets.all(|((name, address), mask)| name & mask == address & mask)
}

/// The text of a name, in which nothing can break a line apart.
fn text(name: &GeneralName<'_>, is_base: bool) -> String {
    match name {
        GeneralName::DNSName(text) | GeneralName::URI(text) | GeneralName::RFC822Name(text) => {
            name::printable(text)
        }
        GeneralName::DirectoryName(dn) => name::text(dn),
        GeneralName::IPAddress(octets) if is_base => subnet(octets),
        GeneralName::IPAddress(octets) => address(octets).unwrap_or_else(|| hex::encode(octets)),
        GeneralName::RegisteredID(oid) | GeneralName::OtherName(oid, _) => oid.to_id_string(),
        GeneralName::X400Address(any) | GeneralName::EDIPartyName(any) => hex::encode(any.data),
        GeneralName::Invalid(_, octets) => hex::encode(octets),
    }
}

fn address(octets: &[u8]) -> Option<String> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(|v4| Ipv4Addr::from(v4).to_string()),
        16 => <[u8; 16]>::try_from(octets).ok().map(|v6| Ipv6Addr::from(v6).to_string()),
        _ => None,
    }
}

/// `192.0.2.0/24`, where the mask is one.
fn subnet(octets: &[u8]) -> String {
    let (base, mask) = octets.split_at(octets.len() / 2);
    let whole = mask.iter().take_while(|octet| **octet == 0xff).count();
    let partial = mask.get(whole).map_or(0, |octet| octet.leading_ones());
    let leading = u32::try_from(whole * 8).unwrap_or_default() + partial;
    let set: u32 = mask.iter().map(|octet| octet.count_ones()).sum();
    match address(base) {
        Some(base) if leading == set => format!("{base}/{leading}"),
        _ => hex::encode(octets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_names_match_by_labels_and_without_regard_to_case() {
        for (name, base, fits) in [
            ("market.example", "market.example", true),
            ("a.b.MARKET.example", "Market.Example", true),
            ("blackmarket.example", "market.example", false),
            ("market.example", "a.market.example", false),
            ("a.market.example", ".market.example", true),
            ("market.example", ".market.example", false),
            ("anything", "", true),
            ("münchen.example", "nchen.example", false),
        ] {
            assert_eq!(dns_matches(name, base), fits, "{name} in {base}");
        }
    }

    #[test]
    fn addresses_match_by_prefix_and_never_across_families() {
        let base = [192, 0, 2, 0, 255, 255, 255, 0];
        assert!(ip_matches(&[192, 0, 2, 7], &base) && !ip_matches(&[192, 0, 3, 7], &base));
        assert!(!ip_matches(&[0; 16], &base) && !ip_matches(&[192, 0, 2, 7], &[0; 32]));
        assert!(!ip_matches(&[192, 0, 2, 7], &[192]) && !ip_matches(&[], &base));
        assert_eq!(subnet(&base), "192.0.2.0/24");
        assert_eq!(subnet(&[[0x20; 16], [0; 16]].concat()), "2020:2020:2020:2020:2020:2020:2020:2020/0");
        assert_eq!(subnet(&[1, 2, 3]), "010203");
        assert_eq!(subnet(&[192, 0, 2, 0, 255, 0, 255, 0]), "c0000200ff00ff00");
        assert_eq!(subnet(&[]), "");
    }

    #[test]
    fn a_violation_is_short_whatever_is_in_it_and_says_what_is_not_supported() {
        let violation = NameViolation {
            permitted: true,
            kind: "URI",
            subtrees: vec!["x".repeat(5_000); 500],
            name: "y".repeat(5_000),
            supported: false,
        };
        let text = violation.to_string();
        assert!(text.chars().count() < 600, "{text}");
        assert!(text.contains("permits only the URI \"x") && text.contains(" and 497 more"), "{text}");
        assert!(text.ends_with("; constraints of this kind are refused, met or not"), "{text}");
    }

    #[test]
    fn junk_violates_nothing() {
        for junk in [&b""[..], b"junk", &[0x30; 64]] {
            assert_eq!(NameViolation::find(junk, junk), None);
        }
    }
}

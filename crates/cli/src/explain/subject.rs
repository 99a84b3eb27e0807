//! What can be asked about.

use avouch_spiffe::Reason;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// What to explain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A decision's id.
    Decision(String),
    /// A connection's id.
    Connection(String),
    /// The client's end of a connection.
    Peer(Peer),
    /// A check of the catalogue.
    Check(&'static str),
    /// A word of the vocabulary.
    Reason(Reason),
}

/// Who connected, and about when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// None: the latest.
    pub(crate) at: Option<SystemTime>,
}

/// A moment, as seconds since 1970 or as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) SystemTime);

impl FromStr for What {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if is_id(text, "d-") {
            return Ok(Self::Decision(text.to_owned()));
        }
        if is_id(text, "conn-") {
            return Ok(Self::Connection(text.to_owned()));
        }
        if let Ok(peer) = text.parse() {
            return Ok(Self::Peer(peer));
        }
        let word = text.to_ascii_uppercase();
        if let Some(id) = crate::checks::ids().find(|id| *id == word) {
            return Ok(Self::Check(id));
        }
        word.parse().map(Self::Reason).map_err(|_| {
            let nearest = nearest(&word).map(|word| format!("; did you mean {word}?")).unwrap_or_default();
            format!(
                "expected a decision (d-…), a connection (conn-…), a client's address (10.0.0.7:41234), a check \
                 (AV-101) or a reason (ROLE_MISSING){nearest}"
            )
        })
    }
}

/// `d-` or `conn-` and 16 lower-case hex digits.
fn is_id(text: &str, prefix: &str) -> bool {
    let digits = |text: &str| {
        text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    text.strip_prefix(prefix).is_some_and(digits)
}

/// The reason or check that shares most with a mistyped word.
fn nearest(word: &str) -> Option<&'static str> {
    let known = Reason::ALL.iter().map(|reason| reason.as_str()).chain(crate::checks::ids());
    let shared = |known: &str| {
        let front = known.bytes().zip(word.bytes()).take_while(|(a, b)| a == b).count();
        let back = known.bytes().rev().zip(word.bytes().rev()).take_while(|(a, b)| a == b).count();
        front + back
    };
    let best = known.max_by_key(|known| shared(known))?;
    (word.len() > 4 && shared(best) * 3 >= word.len() * 2).then_some(best)
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, at) = match text.split_once(',') {
            Some((address, at)) => (address, Some(at.parse::<Moment>()?.0)),
            None => (text, None),
        };
        let address = address.parse().map_err(|_| format!("{address:?} is not of the form ADDRESS:PORT"))?;
        Ok(Self { address, at })
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seconds = text.parse().ok().map(Duration::from_secs);
        let moment = match seconds {
            Some(seconds) => SystemTime::UNIX_EPOCH.checked_add(seconds),
            None => crate::timespan::parse_rfc3339(text),
        };
        let malformed =
            || format!("{text:?} is no moment; write seconds since 1970, or 2026-11-25T12:00:00Z");
        moment.map(Self).ok_or_else(malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_an_error_line_names_can_be_asked_about() {
        assert_eq!("d-0011223344556677".parse(), Ok(What::Decision("d-0011223344556677".to_owned())));
        assert_eq!("conn-00112233445566ff".parse(), Ok(What::Connection("conn-00112233445566ff".to_owned())));
        assert_eq!("role_missing".parse(), Ok(What::Reason(Reason::RoleMissing)));
        assert_eq!("av-101".parse(), Ok(What::Check("AV-101")));
        assert_eq!("AV-001".parse(), Ok(What::Check("AV-001")));
        let at = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        for text in ["[::1]:7,1800000000", "[::1]:7,2027-01-15T08:00:00Z"] {
            assert_eq!(text.parse(), Ok(What::Peer(Peer { address: "[::1]:7".parse().unwrap(), at })));
        }
    }

    #[test]
    fn anything_else_is_refused_and_a_slip_is_recognised() {
        for text in [
            "",
            "d-",
            "d-001122334455667",
            "d-0011223344556677x",
            "d-001122334455667G",
            "conn-00112233445566FF",
            "AV-999",
            "10.0.0.7",
            "10.0.0.7:1,later",
            "10.0.0.7:1,-5",
            "10.0.0.7:1,99999999999999999999",
            "ROLE MISSING",
            "d-0011223344556677\n",
        ] {
            assert!(text.parse::<What>().is_err(), "{text:?}");
        }
        let error = "ROLE_MISING".parse::<What>().unwrap_err();
        assert!(error.ends_with("did you mean ROLE_MISSING?"), "{error}");
    }
}

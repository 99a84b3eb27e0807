//! What can be explained.

use avouch_authz::layer::DecisionId;
use avouch_identity::ConnectionId;
use avouch_spiffe::Reason;
use avouch_time::parse_rfc3339;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// Something to explain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExplainTarget {
    /// A decision's id.
    Decision(DecisionId),
    /// A connection's id.
    Connection(ConnectionId),
    /// The client's end of a connection.
    Peer(Peer),
    /// A check of the catalogue.
    Check(&'static str),
    /// A word of the vocabulary.
    Reason(Reason),
}

/// The client's end of a connection, and about when it connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// The time; absent: the latest connection.
    pub(crate) at: Option<SystemTime>,
}

/// A moment, as seconds since 1970 or as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) SystemTime);

impl FromStr for ExplainTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Decision(id));
        }
        if let Ok(id) = text.parse() {
            return Ok(Self::Connection(id));
        }
        if let Ok(peer) = text.parse() {
            return Ok(Self::Peer(peer));
        }
        let word = text.to_ascii_uppercase();
        if let Some(id) = crate::checks::ids().find(|id| *id == word) {
            return Ok(Self::Check(id));
        }
        word.parse().map(Self::Reason).map_err(|_| {
            let known = Reason::ALL.iter().map(|reason| reason.as_str()).chain(crate::checks::ids());
            let meant = avouch_text::suggest(&word, known);
            let meant = meant.map(|word| format!("; did you mean {word}?")).unwrap_or_default();
            format!(
                "expected a decision (d-…), a connection (conn-…), a client's address (10.0.0.7:41234), a check \
                 (AV-101) or a reason (ROLE_MISSING){meant}"
            )
        })
    }
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
            None => parse_rfc3339(text),
        };
        let malformed =
            || format!("invalid time {text:?}; write seconds since 1970, or 2026-11-25T12:00:00Z");
        moment.map(Self).ok_or_else(malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_an_error_line_names_can_be_asked_about() {
        assert_eq!(
            "d-0011223344556677".parse(),
            Ok(ExplainTarget::Decision("d-0011223344556677".parse().unwrap()))
        );
        assert_eq!(
            "conn-00112233445566ff".parse(),
            Ok(ExplainTarget::Connection("conn-00112233445566ff".parse().unwrap()))
        );
        assert_eq!("role_missing".parse(), Ok(ExplainTarget::Reason(Reason::RoleMissing)));
        assert_eq!("av-101".parse(), Ok(ExplainTarget::Check("AV-101")));
        assert_eq!("AV-001".parse(), Ok(ExplainTarget::Check("AV-001")));
        let at = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        for text in ["[::1]:7,1800000000", "[::1]:7,2027-01-15T08:00:00Z"] {
            assert_eq!(
                text.parse(),
                Ok(ExplainTarget::Peer(Peer { address: "[::1]:7".parse().unwrap(), at }))
            );
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
            assert!(text.parse::<ExplainTarget>().is_err(), "{text:?}");
        }
        let error = "ROLE_MISING".parse::<ExplainTarget>().unwrap_err();
        assert!(error.ends_with("did you mean ROLE_MISSING?"), "{error}");
    }
}

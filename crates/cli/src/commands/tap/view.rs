//! Which records are shown, and how.

use crate::commands::record;
use crate::error::CliError;
use avouch_fleet::{Fleet, Observed, Recorded};
use avouch_records::alb;
use avouch_text::{clean, escape_json};

/// The format of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordFormat {
    /// A line for people.
    Text,
    /// A JSON object on a line.
    Json,
    /// Connections only, each with the fifteen fields of an AWS load balancer's connection log.
    Alb,
}

/// The records that are to be shown, and their format.
#[derive(Debug, Clone)]
pub(crate) struct RecordView {
    pub(crate) format: RecordFormat,
    /// Only what was refused, or would have been but for audit mode.
    pub(crate) denied: bool,
    /// Also the calls of programs that ask as this one does.
    pub(crate) all: bool,
    /// Only what is about this; empty: everything.
    pub(crate) about: String,
}

impl RecordView {
    pub(super) fn lines(&self, fleet: &Fleet) -> Result<Vec<String>, CliError> {
        let mut records =
            if self.about.is_empty() { fleet.records() } else { fleet.records_about(&self.about) };
        records.retain(|record| (!self.denied || record.is_denied()) && (self.all || !record.is_asking()));
        let lines: Result<Vec<_>, _> = records.iter().map(|record| self.line(fleet, record)).collect();
        Ok(lines?.into_iter().flatten().collect())
    }

    /// The record's line; `None`: the format has none for such a record.
    pub(super) fn line(&self, fleet: &Fleet, record: &Observed<'_>) -> Result<Option<String>, CliError> {
        match (self.format, record.record) {
            (RecordFormat::Text, _) => Ok(Some(record::text(fleet, record))),
            (RecordFormat::Json, _) => {
                let line = serde_json::to_string(record).map_err(std::io::Error::from)?;
                Ok(Some(escape_json(&line)))
            }
            (RecordFormat::Alb, Recorded::Connection(connection)) => Ok(Some(clean(&alb::line(connection)))),
            (RecordFormat::Alb, Recorded::Decision(_)) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet_sample as sample;

    fn lines(format: RecordFormat, denied: bool, about: &str) -> Vec<String> {
        RecordView { format, denied, all: false, about: about.to_owned() }.lines(&sample::fleet()).unwrap()
    }

    #[test]
    fn everything_is_shown_in_the_order_of_time_or_what_was_denied_only() {
        let text = lines(RecordFormat::Text, false, "").join("\n");
        let expected = "\
2027-01-15T08:00:01.000Z  ledger  √ orders connected from 127.0.0.1:50003, TLSv1_3 X25519MLKEM768, 1.2 ms  [conn-0000000000000003]
2027-01-15T08:00:02.000Z  orders  √ dev connected from 127.0.0.1:50001, TLSv1_3 X25519MLKEM768, 1.2 ms  [conn-0000000000000001]
2027-01-15T08:00:03.000Z  orders  × dev → market.orders.v1.Orders/Place refused: ROLE_MISSING, need shopper, have auditor (3 like it before)  [d-0000000000000001 conn-0000000000000001 trace 4bf92f3577b34da6a3ce929d0e0e4736]
2027-01-15T08:00:04.000Z  avouch/issuer  × anonymous → avouch.issuer.v1.Issuer/Enroll refused: JOIN_TOKEN_EXPIRED  [d-00000000000000ff]
2027-01-15T08:00:05.000Z  orders  × late from 127.0.0.1:50002 refused in the handshake: CERT_EXPIRED, the leaf has expired  [conn-0000000000000002]
2027-01-15T08:00:06.000Z  ledger  ‼ dev → market.ledger.v1.Ledger/Post audited: ROLE_MISSING  [d-0000000000000002 trace 4bf92f3577b34da6a3ce929d0e0e4736]
2027-01-15T08:00:07.000Z  ledger  √ orders → market.ledger.v1.Ledger/Post allowed  []";
        assert_eq!(text, expected);
        let denied: Vec<_> =
            lines(RecordFormat::Text, true, "").iter().map(|line| line[17..19].to_owned()).collect();
        assert_eq!(denied, ["03", "04", "05", "06"]);
    }

    #[test]
    fn about_narrows_it_down() {
        assert_eq!(lines(RecordFormat::Text, false, sample::TRACE).len(), 3);
        // An address is that of a connection, and calls come over connections.
        assert_eq!(lines(RecordFormat::Text, true, "127.0.0.1:50001").len(), 1);
        assert_eq!(lines(RecordFormat::Text, false, "127.0.0.1:50001").len(), 2);
    }

    #[test]
    fn alb_has_a_line_of_fifteen_fields_for_each_connection_and_none_for_decisions() {
        let lines = lines(RecordFormat::Alb, false, "");
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.split(' ').count() == 15), "{lines:?}");
        assert!(lines[2].contains("Failed:ClientCertExpired conn-0000000000000002"), "{}", lines[2]);
    }

    #[test]
    fn json_is_one_object_on_each_line_with_who_made_it() {
        let lines = lines(RecordFormat::Json, true, "");
        let first: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(first["by"], "spiffe://market.example/orders");
        assert_eq!(first["address"], "127.0.0.1:7001");
        assert_eq!(first["decision"]["reason"], "ROLE_MISSING");
        let second: serde_json::Value = serde_json::from_str(&lines[1]).unwrap();
        assert!(second.get("address").is_none() && second["decision"]["id"] == "d-00000000000000ff");
        assert!(lines.iter().all(|line| !line.contains('\n')));
    }
}

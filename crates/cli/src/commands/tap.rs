//! `avouch tap`: everybody's records, as they are or as they come.

mod follow;

use crate::args::{Arguments, Format, Tap};
use crate::commands::record;
use crate::error::CliError;
use crate::fleet::{self, Fleet, Observed, What};
use crate::output;
use avouch_records::alb;
use avouch_text::{clean, escape_json};
use std::process::ExitCode;

pub(crate) async fn run(arguments: &Arguments, tap: &Tap) -> Result<ExitCode, CliError> {
    let show = Show {
        format: tap.format.unwrap_or(if arguments.json { Format::Json } else { Format::Text }),
        denied: tap.denied,
        all: tap.all,
        about: tap.about.clone().unwrap_or_default(),
    };
    if tap.follow {
        return follow::run(arguments, &tap.sources, show).await;
    }
    let fleet = fleet::gather(arguments, &tap.sources).await?;
    super::say_silences(&fleet)?;
    let lines = show.lines(&fleet)?;
    if lines.is_empty() {
        output::warn("no record fits");
    }
    output::text(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    Ok(super::found(!lines.is_empty()))
}

/// Which records, and how.
#[derive(Debug, Clone)]
struct Show {
    format: Format,
    denied: bool,
    /// Also who asks as this program does.
    all: bool,
    about: String,
}

impl Show {
    fn lines(&self, fleet: &Fleet) -> Result<Vec<String>, CliError> {
        let mut records =
            if self.about.is_empty() { fleet.records() } else { fleet.records_about(&self.about) };
        records.retain(|record| (!self.denied || record.is_denied()) && (self.all || !record.is_asking()));
        let lines: Result<Vec<_>, _> = records.iter().map(|record| self.line(fleet, record)).collect();
        Ok(lines?.into_iter().flatten().collect())
    }

    /// `None`: the format has no line for such a record.
    fn line(&self, fleet: &Fleet, record: &Observed<'_>) -> Result<Option<String>, CliError> {
        match (self.format, record.what) {
            (Format::Text, _) => Ok(Some(record::text(fleet, record))),
            (Format::Json, _) => {
                let line = serde_json::to_string(record).map_err(std::io::Error::from)?;
                Ok(Some(escape_json(&line)))
            }
            (Format::Alb, What::Connection(connection)) => Ok(Some(clean(&alb::line(connection)))),
            (Format::Alb, What::Decision(_)) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::sample;

    fn lines(format: Format, denied: bool, about: &str) -> Vec<String> {
        Show { format, denied, all: false, about: about.to_owned() }.lines(&sample::fleet()).unwrap()
    }

    #[test]
    fn everything_is_shown_in_the_order_of_time_or_what_was_denied_only() {
        let text = lines(Format::Text, false, "").join("\n");
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
            lines(Format::Text, true, "").iter().map(|line| line[17..19].to_owned()).collect();
        assert_eq!(denied, ["03", "04", "05", "06"]);
    }

    #[test]
    fn about_narrows_it_down() {
        assert_eq!(lines(Format::Text, false, sample::TRACE).len(), 3);
        // An address is that of a connection, and calls come over connections.
        assert_eq!(lines(Format::Text, true, "127.0.0.1:50001").len(), 1);
        assert_eq!(lines(Format::Text, false, "127.0.0.1:50001").len(), 2);
    }

    #[test]
    fn alb_has_a_line_of_fifteen_fields_for_each_connection_and_none_for_decisions() {
        let lines = lines(Format::Alb, false, "");
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.split(' ').count() == 15), "{lines:?}");
        assert!(lines[2].contains("Failed:ClientCertExpired conn-0000000000000002"), "{}", lines[2]);
    }

    #[test]
    fn json_is_one_object_on_each_line_with_who_made_it() {
        let lines = lines(Format::Json, true, "");
        let first: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(first["by"], "spiffe://market.example/orders");
        assert_eq!(first["address"], "127.0.0.1:7001");
        assert_eq!(first["decision"]["reason"], "ROLE_MISSING");
        let second: serde_json::Value = serde_json::from_str(&lines[1]).unwrap();
        assert!(second.get("address").is_none() && second["decision"]["id"] == "d-00000000000000ff");
        assert!(lines.iter().all(|line| !line.contains('\n')));
    }
}

//! Who is connected to whom, as each process remembers it (`avouch.observe.v1`), and how each is doing: what shows
//! after a jump of the clock that everybody serves again, and that no connection has lived on.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use avouch_api::observe::v1::observe_client::ObserveClient;
use avouch_api::observe::v1::{Connection, GetStatusRequest, ListRecordsRequest, Record, Status};
use avouch_identity::{Channel, Identity};
use avouch_time::timestamp::parse_rfc3339;

use super::clocks::Clocks;
use avouch_demo::admin::Admin;
use avouch_demo::audit::channel;
use avouch_demo::paths::{SERVICES, TRUST_DOMAIN};
use avouch_demo::setup::Market;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(2);

/// The tolerance for the time that a process reports, since its answer takes time.
const IN_STEP: Duration = Duration::from_secs(2);

/// How long after a certificate's end a connection may still be on record as open: it ends at that very moment, and the
/// record of it comes a moment later.
const LATE: Duration = Duration::from_secs(1);

/// Asks every process: the services as their operator, the issuer over its administration socket.
#[derive(Debug)]
pub(super) struct Census {
    issuer: Admin,
    services: BTreeMap<&'static str, Channel>,
}

impl Census {
    /// # Errors
    /// When a process has no address.
    pub(super) fn new(market: &Market, operator: &Identity) -> Result<Self, String> {
        let services = SERVICES.into_iter().map(|name| Ok((name, channel(market, operator, name)?)));
        Ok(Self { issuer: market.admin.clone(), services: services.collect::<Result<_, String>>()? })
    }

    /// Whether everybody answers, serves with a certificate that is valid, and shows the time it is meant to show.
    ///
    /// # Errors
    /// The first process for which it is not so, and why.
    pub(super) async fn all_serve(&self, clocks: &Clocks) -> Result<(), String> {
        for name in everybody() {
            let status = self.status(name).await.map_err(|error| format!("{name}: {error}"))?;
            serves(&status, clocks.now(name)).map_err(|error| format!("{name} {error}"))?;
        }
        Ok(())
    }

    /// The connections that are open though they may not be: the certificates of both ends are older than a jump over
    /// their whole life, made when the clocks showed `before`, or the peer's has ended by the clock of either end.
    ///
    /// # Errors
    /// The first process that does not answer, and why.
    pub(super) async fn overdue(
        &self,
        clocks: &Clocks,
        before: Option<&Moment>,
    ) -> Result<Vec<String>, String> {
        let mut overdue = Vec::new();
        for name in everybody() {
            let open = self.open(name).await.map_err(|error| format!("{name}: {error}"))?;
            let made = |connection: &Connection| parse_rfc3339(&connection.time);
            for connection in open {
                let peer = peer(&connection);
                let late = ended_before(&connection, clocks.now(name).max(clocks.now(peer)));
                let jumped = before.and_then(|before| before.of(name));
                if late || jumped.is_some_and(|jumped| made(&connection).is_some_and(|made| made < jumped)) {
                    overdue.push(format!(
                        "{name} has {} from {peer} since {}, whose certificate ended at {}",
                        connection.id, connection.time, connection.peer_not_after
                    ));
                }
            }
        }
        Ok(overdue)
    }

    /// The connections that a process has accepted and not ended.
    async fn open(&self, name: &str) -> Result<Vec<Connection>, String> {
        let connections = self.records(name).await?.into_iter().filter_map(|record| record.connection);
        Ok(connections.filter(|it| it.verdict == "accepted" && it.ended_at.is_empty()).collect())
    }

    async fn records(&self, name: &str) -> Result<Vec<Record>, String> {
        let Some(mut client) = self.client(name) else { return in_time(self.issuer.records()).await };
        let answer = in_time(client.list_records(ListRecordsRequest::default())).await?;
        Ok(answer.into_inner().records)
    }

    async fn status(&self, name: &str) -> Result<Status, String> {
        let Some(mut client) = self.client(name) else { return in_time(self.issuer.status()).await };
        let answer = in_time(client.get_status(GetStatusRequest {})).await?;
        Ok(answer.into_inner().status.unwrap_or_default())
    }

    /// A client of a service; none for the issuer.
    fn client(&self, name: &str) -> Option<ObserveClient<Channel>> {
        let channel = self.services.get(name)?;
        Some(ObserveClient::new(channel.clone()).max_decoding_message_size(64 << 20))
    }
}

/// The names of all processes.
fn everybody() -> impl Iterator<Item = &'static str> {
    ["issuer"].into_iter().chain(SERVICES)
}

/// An answer, if it comes soon.
async fn in_time<T>(answer: impl Future<Output = Result<T, tonic::Status>>) -> Result<T, String> {
    match tokio::time::timeout(ANSWER, answer).await {
        Ok(answer) => answer.map_err(|status| status.to_string()),
        Err(_elapsed) => Err(format!("no answer within {ANSWER:?}")),
    }
}

/// What all clocks showed at one moment.
#[derive(Debug)]
pub(super) struct Moment(BTreeMap<&'static str, SystemTime>);

impl Moment {
    /// What all clocks show now.
    pub(super) fn now(clocks: &Clocks) -> Self {
        Self(everybody().map(|name| (name, clocks.now(name))).collect())
    }

    fn of(&self, name: &str) -> Option<SystemTime> {
        self.0.get(name).copied()
    }
}

fn serves(status: &Status, now: SystemTime) -> Result<(), String> {
    let shown = parse_rfc3339(&status.now).ok_or_else(|| format!("shows the time `{}`", status.now))?;
    let apart = now.duration_since(shown).unwrap_or_else(|ahead| ahead.duration());
    if apart > IN_STEP {
        return Err(format!("shows {}, {apart:?} from what it is meant to show", status.now));
    }
    if status.phase != "serving" {
        return Err(format!("is {}", status.phase));
    }
    let svid = status.svid.clone().unwrap_or_default();
    match parse_rfc3339(&svid.not_after) {
        Some(end) if end > now => Ok(()),
        _ => Err(format!("has a certificate that ends at {} when it is {}", svid.not_after, status.now)),
    }
}

/// The name of the process at the other end, or of somebody else who has an identity.
fn peer(connection: &Connection) -> &str {
    let path = connection.peer_id.strip_prefix("spiffe://").and_then(|id| id.strip_prefix(TRUST_DOMAIN));
    match path.unwrap_or_default() {
        "/avouch/issuer" => "issuer",
        path => path.trim_start_matches('/'),
    }
}

/// Whether the peer's certificate has ended before `now`. A peer without one has none that could end.
fn ended_before(connection: &Connection, now: SystemTime) -> bool {
    parse_rfc3339(&connection.peer_not_after).is_some_and(|end| end + LATE < now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_api::observe::v1::Svid;
    use avouch_time::timestamp::rfc3339_millis;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn status(now: u64, not_after: u64) -> Status {
        let svid = Svid { not_after: rfc3339_millis(at(not_after)), ..Svid::default() };
        Status {
            now: rfc3339_millis(at(now)),
            phase: "serving".to_owned(),
            svid: Some(svid),
            ..Status::default()
        }
    }

    #[test]
    fn who_serves_with_a_valid_certificate_and_the_right_time_serves() {
        assert_eq!(serves(&status(1_000, 1_020), at(1_001)), Ok(()));
    }

    #[test]
    fn a_clock_that_did_not_jump_and_a_certificate_that_has_ended_are_told() {
        let told = |status: Status, now| serves(&status, at(now)).unwrap_err();
        assert!(told(status(1_000, 1_020), 1_060).starts_with("shows "));
        assert!(told(status(1_060, 1_020), 1_060).starts_with("has a certificate that ends at "));
        assert_eq!(told(Status { phase: "draining".into(), ..status(1_000, 1_020) }, 1_000), "is draining");
        assert!(told(Status::default(), 1_000).starts_with("shows "));
    }

    #[test]
    fn a_connection_is_overdue_when_the_certificate_of_its_peer_has_ended() {
        let until = |end: String| Connection { peer_not_after: end, ..Connection::default() };
        assert!(!ended_before(&until(rfc3339_millis(at(1_000))), at(1_000)));
        assert!(ended_before(&until(rfc3339_millis(at(1_000))), at(1_002)));
        assert!(!ended_before(&until(String::new()), at(1_002)));
    }

    #[test]
    fn a_peer_is_named_as_its_process() {
        let from = |id: &str| Connection { peer_id: id.to_owned(), ..Connection::default() };
        assert_eq!(peer(&from("spiffe://market.example/orders")), "orders");
        assert_eq!(peer(&from("spiffe://market.example/avouch/issuer")), "issuer");
        assert_eq!(peer(&from("")), "");
    }
}

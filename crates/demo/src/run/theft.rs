//! The key of a service is stolen while the service is away: the thief renews by it and reads the ledger. When the owner
//! comes back, the issuer notices that one certificate was used with two keys; `avouch revoke` cuts the thief off.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

use avouch_api::admin::v1::Certificate;
use avouch_time::clock::{Clock as _, SystemClock};
use avouch_time::timestamp;
use serde_json::Value;
use tokio::process::Command;

use super::Run;
use crate::attacks::AttackRun;
use crate::facts::{Attack, Theft};
use crate::paths::{SERVICES, id};
use crate::records;
use crate::setup::SetupError;
use crate::thief::{self, Cut, Thief};
use crate::wait;

/// Whose key is stolen: it may follow the ledger, and is away until its certificate has expired.
const VICTIM: &str = "reports";

/// Where the thief has connections.
const SERVERS: [&str; 2] = ["ledger", "issuer"];

/// The life of a certificate, during which both have to come for another one, and more.
const BOTH: Duration = Duration::from_secs(60);

/// Within this time a fork has to be listed.
const NOTICED: Duration = Duration::from_secs(1);

/// Much longer than a command or an end takes.
const PATIENCE: Duration = Duration::from_secs(15);

/// One certificate, and who got another one by it.
struct Forked {
    thieves: String,
    owner: String,
    forked_ms: u64,
    noticed_ms: u64,
}

impl Run<'_> {
    /// The theft from its beginning to its end; `over` is set when nothing more comes of it.
    pub(super) async fn theft(&self, over: &Cell<bool>) -> Result<(Option<Theft>, Vec<Attack>), SetupError> {
        let thief = Thief::steal(self.market, VICTIM).await?;
        let stolen_ms = self.now_ms();
        let _ = self.stolen.set(thief.stolen().to_owned());
        let ledger = thief.channel(self.market, "ledger").map_err(SetupError::Other)?;
        let cut = RefCell::new(None);
        let story = async {
            let forked = self.fork(&thief).await?;
            let theft = self.cut_off(&thief, &forked, stolen_ms, &cut).await?;
            let attacks = self.tried_again(&thief).await?;
            self.owner_goes_on(&theft).await?;
            Ok::<_, String>((Some(theft), attacks))
        };
        let outcome = tokio::select! {
            outcome = story => outcome,
            never = thief.follow(ledger, || self.now_ms(), &cut) => match never {},
        };
        over.set(true);
        Ok(outcome.unwrap_or_else(|error| {
            self.checks.note("the thief of a key is noticed and cut off", Err::<String, _>(error));
            (None, Vec::new())
        }))
    }

    /// Waits until thief and owner have got a certificate by the same one, and until the issuer says so.
    async fn fork(&self, thief: &Thief) -> Result<Forked, String> {
        let renewed = async || Some(thief.serial()).filter(|serial| serial != thief.stolen());
        let renewed = wait::until("the thief renews", BOTH, async || renewed().await.ok_or("not yet".into()));
        let thieves = renewed.await.map_err(|error| error.to_string())?;
        let claim = format!("with the stolen key of {VICTIM} a thief renews, and reads the ledger");
        self.checks.note(&claim, Ok::<_, String>(format!("serial {thieves}")));
        let recovered = wait::until("the owner is back", BOTH, async || {
            let all = self.inventory().await?;
            let own = all.into_iter().find(|one| one.parent == thief.stolen() && one.origin == "recover");
            own.map(|one| one.serial).ok_or_else(|| "it is away".to_owned())
        });
        let owner = recovered.await.map_err(|error| error.to_string())?;
        let forked_ms = self.now_ms();
        let listed = wait::until("the fork is listed", PATIENCE, async || {
            let forks = self.market.admin.forks().await.map_err(|status| status.to_string())?;
            let fork = forks.into_iter().find(|fork| fork.serial == thief.stolen());
            fork.ok_or_else(|| "no fork".to_owned())
        });
        let fork = listed.await.map_err(|error| error.to_string())?;
        let noticed_ms = self.now_ms();
        let after = noticed_ms.saturating_sub(forked_ms);
        let children: BTreeSet<&str> = fork.children.iter().map(|child| child.serial.as_str()).collect();
        let seen = if children != BTreeSet::from([thieves.as_str(), owner.as_str()]) {
            Err(format!("of {} and {}, it names {children:?}", thieves, owner))
        } else if u128::from(after) > NOTICED.as_millis() {
            Err(format!("only {after} ms after"))
        } else {
            Ok(format!("RENEWAL_FORK, {after} ms after its owner was back"))
        };
        self.checks.note("one certificate with two keys is reported within a second", seen);
        Ok(Forked { thieves, owner, forked_ms, noticed_ms })
    }

    /// Revokes what the thief got, and measures until its last connection is closed.
    async fn cut_off(
        &self,
        thief: &Thief,
        forked: &Forked,
        stolen_ms: u64,
        cut: &RefCell<Option<Cut>>,
    ) -> Result<Theft, String> {
        let subject = format!("serial:{}", forked.thieves);
        let revoked = self.revoke(&subject).await?;
        let stream = wait::until("the thief\u{2019}s stream ends", PATIENCE, async || {
            cut.borrow().clone().ok_or_else(|| "it is open".to_owned())
        });
        let stream = stream.await.map_err(|error| error.to_string())?;
        let thieves = thief::thieves(thief.stolen(), &self.inventory().await?);
        let closed = wait::until("the thief\u{2019}s connections are closed", PATIENCE, async || {
            self.closed(&thieves).ok_or_else(|| "not all are".to_owned())
        });
        let (connections, last) = closed.await.map_err(|error| error.to_string())?;
        let closed_at = timestamp::parse_rfc3339(&last).ok_or("a log without times")?;
        let durable = self.market.admin.revoked_at(revoked.id).await.map_err(|status| status.to_string())?;
        let durable = durable.ok_or("the issuer does not list the revocation")?;
        let took = closed_at.duration_since(durable).map_err(|_| "closed before it was revoked")?;
        let theft = Theft {
            service: VICTIM.to_owned(),
            stolen: thief.stolen().to_owned(),
            thieves: thieves.into_iter().collect(),
            owner: forked.owner.clone(),
            stolen_ms,
            forked_ms: forked.forked_ms,
            noticed_ms: forked.noticed_ms,
            command: format!("avouch revoke {subject}"),
            revoked_ms: u64::try_from(self.watch.at(durable)).unwrap_or(0),
            closed_ms: u64::try_from(self.watch.at(closed_at)).unwrap_or(0),
            cut_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            connections,
            told: stream.reason.clone(),
        };
        let time = crate::report::micros(theft.cut_us);
        let everybody = revoked.missing.is_empty() && revoked.accepted == 0;
        let seen = match stream.was_open && stream.postings > 0 && stream.reason == "CERT_REVOKED" {
            true if everybody => Ok(format!(
                "{time} from the durable revocation to the last of {connections} closed connections, CERT_REVOKED"
            )),
            _ => Err(format!(
                "{stream:?}; not heard of: {:?}; accepted: {}",
                revoked.missing, revoked.accepted
            )),
        };
        self.checks.note("avouch revoke cuts the thief off, its open stream too", seen);
        Ok(theft)
    }

    /// Runs the command as an operator would.
    async fn revoke(&self, subject: &str) -> Result<Revoked, String> {
        let mut avouch = Command::new(self.market.paths.bin.join("avouch"));
        avouch
            .arg("--socket")
            .arg(self.market.paths.socket())
            .args(["revoke", subject, "--reason", "its key was stolen", "--timeout", "3s", "--json"])
            .env_remove("AVOUCH_IDENTITY")
            .kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, avouch.output());
        let output = output.await.map_err(|_| format!("avouch revoke: no answer within {PATIENCE:?}"))?;
        let output = output.map_err(|error| format!("avouch cannot be run: {error}"))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        Revoked::read(&said).ok_or_else(|| {
            let error = String::from_utf8_lossy(&output.stderr);
            format!("avouch revoke {subject}: {}: {said}{error}", output.status)
        })
    }

    /// How many connections of these certificates were closed because they were revoked, and when the last one was; none
    /// while a server has not closed any.
    fn closed(&self, serials: &BTreeSet<String>) -> Option<(u64, String)> {
        let closed = SERVERS.map(|name| thief::closed(&self.market.paths.log(name), serials));
        let last =
            closed.iter().map(|one| one.last.clone()).collect::<Option<Vec<_>>>()?.into_iter().max()?;
        Some((closed.iter().map(|one| one.connections).sum(), last))
    }

    async fn tried_again(&self, thief: &Thief) -> Result<Vec<Attack>, String> {
        let attacks = AttackRun::on(self.market).after_revocation(thief).await;
        let attacks = attacks.map_err(|error| format!("the thief can\u{2019}t try again: {error}"))?;
        let through: Vec<_> =
            attacks.iter().filter(|one| !one.held()).map(|one| format!("{one:?}")).collect();
        let seen = if through.is_empty() { Ok("CERT_REVOKED each time") } else { Err(through.join("; ")) };
        let claim = "the thief neither connects, renews nor recovers any more, even by what it stole";
        self.checks.note(claim, seen);
        Ok(attacks)
    }

    /// The owner has what it had, and nobody closed a connection of its.
    async fn owner_goes_on(&self, theft: &Theft) -> Result<(), String> {
        let all = self.inventory().await?;
        let is_owners = |one: &&Certificate| {
            one.spiffe_id == id(VICTIM) && one.serial != theft.stolen && !theft.thieves.contains(&one.serial)
        };
        let own: Vec<_> = all.iter().filter(is_owners).collect();
        let serials = own.iter().map(|one| one.serial.clone()).collect();
        let closed = thief::closed(&self.market.paths.log("ledger"), &serials);
        let revoked: Vec<_> =
            own.iter().filter(|one| one.revocation_id != 0).map(|one| &one.serial).collect();
        let seen = match own.iter().any(|one| one.serial == theft.owner) && revoked.is_empty() {
            true if closed.connections == 0 => Ok("no certificate and no connection of its own"),
            _ => Err(format!("revoked: {revoked:?}; closed: {closed:?}")),
        };
        self.checks.note(&format!("{VICTIM} itself loses nothing by it"), seen);
        Ok(())
    }

    /// Now, by the clock that logs and the issuer tell the time by.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.watch.at(SystemClock.now())).unwrap_or(0)
    }

    async fn inventory(&self) -> Result<Vec<Certificate>, String> {
        self.market.admin.certificates().await.map_err(|status| status.to_string())
    }
}

/// What the command said, an event a line.
struct Revoked {
    /// The number of the revocation.
    id: i64,
    /// Services of which no process has acknowledged it in time. One that was killed and runs again has: that its former
    /// process has not, which had a certificate that is still good, is in the nature of a kill.
    missing: BTreeSet<String>,
    /// Connections that somebody has accepted since.
    accepted: usize,
}

impl Revoked {
    fn read(said: &str) -> Option<Self> {
        let events: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let all = |name: &'static str| {
            events.iter().filter(move |event| records::field(event, "event") == Some(name))
        };
        let processes = all("acknowledged").filter_map(|event| event.get("processes")?.as_array()).flatten();
        let told: BTreeSet<&str> = processes.filter_map(|one| records::field(one, "spiffe_id")).collect();
        Some(Self {
            id: all("revoked").next()?.get("revocation")?.get("id")?.as_i64()?,
            missing: SERVICES.iter().map(|name| id(name)).filter(|id| !told.contains(id.as_str())).collect(),
            accepted: all("connections").next()?.get("accepted")?.as_array()?.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_command_says_is_read_event_by_event() {
        let processes: Vec<_> =
            SERVICES.iter().skip(1).map(|name| serde_json::json!({ "spiffe_id": id(name) })).collect();
        let said = [
            serde_json::json!({ "event": "revoked", "revocation": { "id": 7 } }),
            serde_json::json!({ "event": "acknowledged", "processes": processes }),
            serde_json::json!({ "event": "connections", "accepted": [{ "by": "ledger" }] }),
        ];
        let revoked = Revoked::read(&said.map(|event| event.to_string()).join("\n")).unwrap();
        assert_eq!((revoked.id, revoked.accepted), (7, 1));
        assert_eq!(revoked.missing, BTreeSet::from([id(SERVICES[0])]));
        assert!(Revoked::read("it is refused").is_none());
    }
}

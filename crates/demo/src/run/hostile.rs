//! The hostile callers of a run, and whether they were refused for the right reason on both sides.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Own, Run, trust_domain};
use crate::attacks::{self, AttackRun, Attempt};
use crate::audit::{Auditor, channel};
use crate::facts::{Attack, AttackKind, Explained, Refusal};
use crate::paths::id;
use crate::setup::SetupError;
use crate::{records, wait};

impl Run<'_> {
    pub(super) async fn attacks(&self, own: &Own) -> Result<(Vec<Refusal>, Option<Explained>), SetupError> {
        let market = self.market;
        let auditor = Auditor::new(market, &own.auditor).map_err(SetupError::Other)?;
        let bundle = market.admin.bundle(&trust_domain()?).await.map_err(SetupError::Other)?;
        let storefront = market.address("storefront")?.grpc;
        let payments = market.address("payments")?.grpc;
        let forbidden =
            attacks::charge(channel(market, &own.intern, "payments").map_err(SetupError::Other)?).await;
        let line = forbidden.as_ref().map(|attempt| attempt.message.clone()).unwrap_or_default();
        let anonymous = attacks::without_certificate(payments).await;
        let url = format!("https://{storefront}");
        let server = id("storefront").parse().map_err(|error| SetupError::Other(format!("{error}")))?;
        let claimed = id("dev").parse().map_err(|error| SetupError::Other(format!("{error}")))?;
        let forged = match attacks::impostor(&claimed, &url, server, bundle) {
            Ok(channel) => attacks::order(channel).await,
            Err(error) => Err(error),
        };
        // An allowed call beside them, so that an outage is not taken for a refusal. Its service may have been killed
        // on purpose at this moment; then the audit of the books shows that it works.
        let allowed = auditor.ledger_totals().await;
        self.checks.note(
            "a call with the role it needs is allowed",
            allowed
                .map(|postings| format!("auditor asked the ledger: {postings} postings"))
                .map_err(|s| s.to_string()),
        );
        let mut refusals: Vec<Refusal> = Vec::new();
        let mut explained = None;
        for (caller, callee, what, expected, outcome) in [
            (
                "intern",
                "payments",
                "a valid certificate of the market, but no role",
                "ROLE_MISSING",
                forbidden,
            ),
            ("nobody", "payments", "no certificate", "CLIENT_CERT_MISSING", anonymous),
            (
                "impostor",
                "storefront",
                "the identity of dev, certified by another CA",
                "CERT_UNTRUSTED",
                forged,
            ),
        ] {
            let refusal = self.refusal(caller, callee, what, expected, outcome).await;
            if refusals.is_empty() {
                explained = self.explain(&refusal, &line).await;
            }
            refusals.push(refusal);
        }
        Ok((refusals, explained))
    }

    /// The attack list, as far as no time has to pass.
    pub(super) async fn attack_list(&self, own: &Own) -> Result<Vec<Attack>, SetupError> {
        self.console.progress("attacking");
        let attacks = AttackRun::on(self.market).at_once(&own.dev).await;
        attacks.map_err(|error| SetupError::Other(format!("the attacks can’t be made: {error}")))
    }

    /// Unauthorized calls, once every killed service has been restarted.
    pub(super) async fn attacks_on_every_rpc(&self) -> Result<Vec<Attack>, SetupError> {
        let attacks = AttackRun::on(self.market).on_every_rpc().await;
        attacks.map_err(|error| SetupError::Other(format!("the calls can’t be made: {error}")))
    }

    /// Attacks with identities that have expired.
    pub(super) async fn late_attacks(&self) -> Result<Vec<Attack>, SetupError> {
        let attack_run = AttackRun::on(self.market);
        let attacks = async { attack_run.after_expiry(&attack_run.put_to_sleep().await?).await };
        let attacks: Result<_, avouch_attacker::Error> = attacks.await;
        attacks.map_err(|error| SetupError::Other(format!("recoveries can’t be tried: {error}")))
    }

    /// The attacks as a table: one line for each kind.
    pub(super) fn note_attacks(&self, attacks: &[Attack]) {
        use AttackKind::{Call, Certificate, Handshake, Issuance, Server};
        for kind in [Handshake, Certificate, Server, Call, Issuance] {
            let (claim, seen) = verdict(kind, attacks);
            self.checks.note(&claim, seen);
        }
    }

    /// Looks the server's record up, and compares the reasons.
    async fn refusal(
        &self,
        caller: &str,
        callee: &str,
        what: &str,
        expected: &str,
        outcome: Result<Attempt, String>,
    ) -> Refusal {
        let claim = format!("{caller} ({what}) is refused by {callee}");
        let mut refusal = Refusal {
            caller: caller.to_owned(),
            callee: callee.to_owned(),
            attempt: what.to_owned(),
            expected: expected.to_owned(),
            answer: String::new(),
            caller_reason: None,
            server_reason: None,
            detail: String::new(),
            record: None,
        };
        let attempt = match outcome {
            Ok(attempt) => attempt,
            Err(error) => {
                self.checks.note(&claim, Err::<String, _>(&error));
                refusal.answer = error;
                return refusal;
            }
        };
        let log = self.market.paths.log(callee);
        let found = wait::until("the server's record", Duration::from_secs(5), async || {
            let (field, value) =
                attempt.record.as_ref().ok_or("the caller was told nothing to find it by")?;
            let records = records::read(&log);
            let record = records::refusal(&records, field, value);
            record.cloned().ok_or_else(|| format!("no record with {field} {value} in {}", log.display()))
        });
        match found.await {
            Ok(record) => {
                let text = |name| records::field(&record, name).map(str::to_owned);
                refusal.server_reason = text("reason");
                refusal.record = text("decision_id").or_else(|| text("connection_id"));
                let roles = || Some(format!("needs {}, has {}", text("need")?, nothing(text("have")?)));
                refusal.detail = text("detail").or_else(roles).unwrap_or_else(|| attempt.message.clone());
            }
            Err(error) => refusal.detail = error.to_string(),
        }
        refusal.answer = attempt.answer;
        refusal.caller_reason = attempt.reason;
        let told = refusal.caller_reason.as_deref().unwrap_or_default();
        let both = format!("{expected} (the caller: {})", [&refusal.answer, told].join(" ").trim_end());
        // Only the server knows the exact reason; the caller may be given a less specific one, but not a different one.
        let fits =
            told.is_empty() || told == expected || told == "HANDSHAKE_REFUSED" || told == "CERT_UNTRUSTED";
        let seen = if refusal.server_reason.as_deref() == Some(expected) && fits {
            Ok(both)
        } else {
            Err(format!(
                "{:?} in the server's record, {told} at the caller: {}",
                refusal.server_reason, refusal.detail
            ))
        };
        self.checks.note(&claim, seen);
        refusal
    }
}

/// What the attacks of one kind come to, as one line of the table.
fn verdict(kind: AttackKind, attacks: &[Attack]) -> (String, Result<String, String>) {
    let of_kind: Vec<&Attack> = attacks.iter().filter(|attack| attack.kind == kind).collect();
    let count = of_kind.len();
    let claim = match kind {
        AttackKind::Handshake => {
            format!("{count} peers without a certificate or a common protocol are refused")
        }
        AttackKind::Certificate => format!("{count} forged or revoked certificates are refused by a service"),
        AttackKind::Server => format!("{count} forged certificates of a server are refused by its client"),
        AttackKind::Call => format!("{count} calls without a right are refused, one to every RPC among them"),
        AttackKind::Issuance => format!("{count} attempts at somebody else’s certificate are refused"),
    };
    let failed: Vec<String> = of_kind
        .iter()
        .filter(|attack| !attack.held())
        .map(|attack| {
            let recorded = attack.recorded.as_deref().unwrap_or("no fitting record");
            format!(
                "{} at {}: {recorded} ({}) instead of {}; it saw: {}",
                attack.name, attack.target, attack.detail, attack.expected, attack.answer
            )
        })
        .collect();
    let mut reasons = BTreeMap::<&str, usize>::new();
    for attack in &of_kind {
        *reasons.entry(&attack.expected).or_default() += 1;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let reasons: Vec<_> = reasons.iter().map(|(reason, count)| format!("{reason} {count}×")).collect();
    match failed.is_empty() {
        true if count > 0 => (claim, Ok(reasons.join(", "))),
        true => (claim, Err("none was made".to_owned())),
        false => (claim, Err(failed.join("\n  "))),
    }
}

fn nothing(roles: String) -> String {
    if roles.is_empty() { "none".to_owned() } else { roles }
}

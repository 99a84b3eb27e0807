//! The verdict of a run: the audit after the last order, and checks of logs, certificate inventory and memory.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use super::jumps::Jumps;
use super::logs::{self, Failures};
use super::{SHOPPERS, Soak, books, serials};
use avouch_demo::audit::{Auditor, channel};
use avouch_demo::console::Mark;
use avouch_demo::facts::{Check, Outcome};
use avouch_demo::paths::SERVICES;
use avouch_demo::records;
use avouch_demo::setup::SetupError;

impl Soak<'_> {
    /// Audits, ends everything, and says what held.
    pub(super) async fn conclude(&self) -> Result<(), SetupError> {
        self.console.progress("comparing the books");
        self.note_books().await;
        self.note_certificates().await?;
        self.note_calls();
        self.note_jumps();
        self.note_vitals();
        self.console.progress("ending all processes");
        let bad = self.market.stop().await;
        let ended =
            if bad.is_empty() { Ok("SIGTERM, each within its drain time") } else { Err(bad.join(", ")) };
        self.checks.note("every process ended by itself when asked to", ended);
        self.summary();
        Ok(())
    }

    async fn note_books(&self) {
        let (placed, told, shoppers) = {
            let seen = self.load.seen();
            (books::placed(&seen), seen.told.clone(), seen.placed.clone())
        };
        let stock = self.market.paths.shipped("stock.toml");
        let compared = match Auditor::new(self.market, &self.auditor) {
            Ok(auditor) => books::compare(&auditor, &placed, &stock).await,
            Err(error) => Err(error),
        };
        let claim = "orders, stock, ledger and report agree";
        let books = match compared {
            Ok((books, said)) => {
                self.checks.note(claim, Ok::<_, String>(said));
                books
            }
            Err(error) => return self.checks.note(claim, Err::<String, _>(error)),
        };
        let kept = books::kept(&told, &books.ends);
        let kept = kept.map(|()| format!("{} acknowledged, {} placed", told.len(), placed.len()));
        self.checks.note("nothing acknowledged is lost or changed", kept);
        let charged = match channel(self.market, &self.auditor, "payments") {
            Ok(payments) => books::charged(payments, &books::owed(&shoppers, &books.ends)).await,
            Err(error) => Err(error),
        };
        self.checks.note("money was taken once, and for completed orders only", charged);
    }

    async fn note_certificates(&self) -> Result<(), SetupError> {
        let mut held = self.storm.held();
        held.extend(self.own.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        for name in ["issuer"].iter().chain(&SERVICES) {
            held.extend(serials::in_state(&self.market.paths.state(name)));
            held.extend(serials::in_log(&records::read(&self.market.paths.log(name))));
        }
        let list = self.market.admin.certificates().await;
        let action = || "list its certificates".to_owned();
        let inventory =
            list.map_err(|status| SetupError::Issuer { action: action(), status: Box::new(status) })?;
        let missing = serials::missing(&held, &inventory);
        let seen = if missing.is_empty() {
            Ok(format!("{} held, {} on record", held.len(), inventory.len()))
        } else {
            Err(format!("{} of {} are not: {}", missing.len(), held.len(), missing.join(", ")))
        };
        self.checks.note("every certificate that a workload held is in the issuer's store", seen);
        Ok(())
    }

    fn note_calls(&self) {
        let (mut failures, mut panics) = (Failures::default(), Vec::new());
        for name in ["issuer"].iter().chain(&SERVICES) {
            let log = self.market.paths.log(name);
            logs::add(name, &records::read(&log), self.jumps.is_some(), &mut failures);
            let text = std::fs::read(&log).unwrap_or_default();
            panics.extend(
                logs::panics(&String::from_utf8_lossy(&text))
                    .into_iter()
                    .map(|line| format!("{name}: {line}")),
            );
        }
        let seen = self.load.seen();
        let shoppers = if seen.violated == 0 {
            let jumps = if seen.at_jumps == 0 {
                String::new()
            } else {
                format!(", {} when the clock jumped", seen.at_jumps)
            };
            Ok(format!("{} calls, made again after {}{jumps}", seen.calls, counts(&seen.again)))
        } else {
            Err(format!("{} did: {}", seen.violated, seen.violations.join("; ")))
        };
        self.checks.note("no shopper's call failed that could not safely be retried", shoppers);
        let services = if failures.others.is_empty() {
            Ok(format!("made again after {}", counts(&failures.again)))
        } else {
            let some: Vec<_> = failures.others.iter().take(3).cloned().collect();
            Err(format!("{} did: {}", failures.others.len(), some.join("; ")))
        };
        self.checks.note("no call between services did", services);
        let calm = if seen.in_calm == 0 { Ok("") } else { Err(format!("{} did", seen.in_calm)) };
        // A run without a time ends with the kills and has no calm.
        if self.load.is_calm() {
            self.checks.note("no call failed while nothing was killed", calm);
        }
        let nobody = if panics.is_empty() { Ok("") } else { Err(panics.join("; ")) };
        self.checks.note("nobody panicked", nobody);
    }

    fn note_jumps(&self) {
        let Some(jumps) = self.jumps else { return };
        self.checks.note("everybody serves again after each jump of the clock", jumps.served());
        self.checks
            .note("no connection lives on beyond its certificates when the clock jumps", jumps.ended());
        let mut alarms = Vec::new();
        for name in ["issuer"].iter().chain(&SERVICES) {
            let records = records::read(&self.market.paths.log(name));
            alarms.extend(logs::alarms(&records).map(|alarm| format!("{name}: {alarm}")));
        }
        let none = if alarms.is_empty() {
            Ok("")
        } else {
            let some: Vec<_> = alarms.iter().take(3).cloned().collect();
            Err(format!("{} were: {}", alarms.len(), some.join("; ")))
        };
        self.checks.note("nobody is taken for an attacker", none);
    }

    fn note_vitals(&self) {
        let judged = self.vitals.borrow().judged();
        let growing: Vec<_> = judged.iter().filter(|life| !life.is_flat()).map(ToString::to_string).collect();
        let claim = "memory and descriptors stay flat";
        let services = judged.iter().filter(|life| life.name != SHOPPERS).count();
        if services == 0 && growing.is_empty() {
            let detail = "no service lived long enough to be judged".to_owned();
            return self.checks.add(Check { claim: claim.to_owned(), outcome: Outcome::Skipped, detail });
        }
        let most = judged.iter().max_by_key(|life| life.growth_kib()).map(ToString::to_string);
        let seen = if growing.is_empty() {
            Ok(format!("{services} long lives, most growth: {}", most.unwrap_or_default()))
        } else {
            Err(growing.join("; "))
        };
        self.checks.note(claim, seen);
    }

    fn summary(&self) {
        let seen = self.load.seen();
        let lasted = Duration::from_millis(self.watch.ms()).as_secs();
        let line = format!(
            "{} orders, {} calls, {} kills and {} jumps of the clock in {lasted} s; slowest order {:.1} s",
            seen.placed.len(),
            seen.calls,
            self.storm.count(),
            self.jumps.map_or(0, Jumps::count),
            seen.slowest.as_secs_f64()
        );
        self.console.line(Mark::Bold, &line);
        self.console.line(Mark::Plain, &format!("  kills: {}", self.storm.summary()));
    }
}

fn counts(by_status: &BTreeMap<String, u64>) -> String {
    if by_status.is_empty() {
        return "nothing".to_owned();
    }
    let counts: Vec<_> = by_status.iter().map(|(status, count)| format!("{count} {status}")).collect();
    counts.join(", ")
}

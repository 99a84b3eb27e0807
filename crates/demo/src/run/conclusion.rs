//! The end of a run: what its spans, logs and inventory say, as checks and as facts.

use std::path::PathBuf;

use super::trace::FirstTrace;
use super::{Evidence, Run};
use crate::facts::{Facts, Totals};
use crate::paths::{SERVICES, TRUST_DOMAIN, id};
use crate::setup::{SVID_LIFE, SetupError};
use crate::{collect, thief, traces};

impl Run<'_> {
    /// Draws the facts from what is left behind.
    pub(super) async fn facts(&self, evidence: Evidence, trace: &FirstTrace) -> Result<Facts, SetupError> {
        self.console.progress("drawing the report");
        let Evidence { mut kills, hostile, books, stream, certificates, counted } = evidence;
        let paths = &self.market.paths;
        trace.end(self.collector);
        let spans = self.collector.spans();
        let contracts = [&market_api::CONTRACT, &avouch_api::CONTRACT];
        let streams: Vec<&str> = contracts
            .iter()
            .flat_map(|contract| contract.methods)
            .filter(|method| method.server_streaming)
            .map(|method| method.path)
            .collect();
        let made = traces::calls(&spans);
        let calls = collect::calls(&made, &streams, &mut kills, &self.watch);
        let untold = counted.iter().find_map(|life| {
            let missing =
                life.calls.checked_sub(life.traced(&made, &self.watch)).filter(|missing| *missing > 0)?;
            Some(format!("{} counted {} calls, {missing} of them left no span", life.name, life.calls))
        });
        let seen = match calls.failed {
            0 if untold.is_some() => Err(untold.unwrap_or_default()),
            0 if calls.all > 0 => {
                Ok(format!("{} calls, {} failed while a process was dead", calls.all, calls.excused))
            }
            0 => Err("no call was seen at all".to_owned()),
            failed => Err(format!("{failed} of {}: {}", calls.all, calls.examples.join("; "))),
        };
        self.checks.note("no call failed outside the kill windows", seen);

        let tree = traces::tree(&spans, &trace.trace_id);
        let expected: Vec<&str> =
            SERVICES.iter().copied().filter(|name| *name != "reports").chain(["issuer"]).collect();
        let seen = match &tree {
            Ok(tree) => {
                match expected.iter().find(|name| !tree.services.iter().any(|service| service == *name)) {
                    Some(missing) => Err(format!("{missing} is not in the trace")),
                    None => Ok(format!("{} spans of {} processes", tree.spans.len(), tree.services.len())),
                }
            }
            Err(error) => Err(error.clone()),
        };
        // Reports follows the ledger on its own account: no order waits for it.
        self.checks
            .note("one order is one connected trace over every process it passes, the issuer included", seen);

        let matrix = collect::matrix(&paths.shipped("policy.toml"), &contracts).map_err(SetupError::Other)?;
        let edges = collect::edges(&spans, paths, &hostile.refusals);
        let thieves =
            self.stolen.get().map(|stolen| thief::thieves(stolen, &certificates)).unwrap_or_default();
        let certificates = collect::certificates(&certificates, &self.watch);
        let count = |origin: &str| {
            let services: Vec<String> = SERVICES.iter().map(|name| id(name)).collect();
            let own = certificates.iter().filter(|c| c.origin == origin && services.contains(&c.spiffe_id));
            u64::try_from(own.filter(|c| !thieves.contains(&c.serial)).count()).unwrap_or(u64::MAX)
        };
        let books = books.unwrap_or_default();
        let totals = Totals {
            lines: stream.lines,
            malformed: stream.malformed,
            orders: books.orders,
            completed: books.completed,
            rejected: books.rejected.clone(),
            calls: calls.all,
            failed_calls: calls.failed,
            failed_in_kill_windows: calls.excused,
            renewals: count("renew"),
            recoveries: count("recover"),
            sales: books.sales.clone(),
            postings: books.postings,
            pieces: books.pieces,
        };
        self.search_for_secrets();
        Ok(Facts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.watch.started(),
            lasted_ms: self.watch.ms(),
            trust_domain: TRUST_DOMAIN.to_owned(),
            svid_seconds: SVID_LIFE.as_secs(),
            checks: Vec::new(),
            parties: collect::parties(&matrix),
            edges,
            certificates,
            kills,
            refusals: hostile.refusals,
            explained: hostile.explained,
            attacks: hostile.attacks,
            theft: hostile.theft,
            matrix,
            trace: tree.ok(),
            totals,
            problems: stream.problems,
            next: crate::next_commands(crate::up::INGRESS_PORT),
        })
    }

    fn search_for_secrets(&self) {
        self.market.note_keys();
        let paths = &self.market.paths;
        let logs: Vec<PathBuf> =
            SERVICES.iter().copied().chain(["issuer"]).map(|name| paths.log(name)).collect();
        let secrets = self.market.secrets.borrow();
        let (mut leaks, mut bytes) = (Vec::new(), 0);
        for log in &logs {
            let text = std::fs::read(log).unwrap_or_default();
            bytes += text.len();
            leaks.extend(secrets.leaks(&text).into_iter().map(|leak| (log, leak)));
        }
        let seen = match leaks.first() {
            None => Ok(format!("{} pieces looked for in {} kB", secrets.len(), bytes / 1024)),
            Some((log, leak)) => Err(format!(
                "{} leaks, the first in {} line {}, as {}",
                leaks.len(),
                log.display(),
                leak.line,
                leak.form
            )),
        };
        self.checks.note("no key and no token is in any log", seen);
    }
}

//! The handshake alone: both ends in one thread.

use std::time::Duration;

use super::openssl::OpenSsl;
use crate::bench::{Bench, Build};
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::groups::servers::CALLER_CORE;
use crate::peers::OPENSSL;
use crate::roles::handshake::{self, Done, Kind, Options, Ready, Work};
use crate::rounds::{Variant, interleave};
use crate::run::progress;
use crate::table::{Column, Table, Unit, column};

const COLUMNS: &[Column] = &[column("CPU of both ends", Unit::Microseconds)];

/// The longest time beyond that of the work until it is answered.
const ANSWER: Duration = Duration::from_secs(10);

/// The baseline.
const STOCK: &str = "stock rustls";

/// Measures handshakes with both key exchanges; in a quick run with the one that is preferred.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Table>, Error> {
    let groups: &[bool] = bench.by_extent(&[false], &[false, true]);
    groups.iter().map(|x25519_only| handshakes(bench, *x25519_only)).collect()
}

fn handshakes(bench: &Bench, x25519_only: bool) -> Result<Table, Error> {
    let group = if x25519_only { "X25519" } else { "X25519MLKEM768" };
    let title = format!("handshake of mutual TLS 1.3, leaf and intermediate on P-256, {group}");
    progress(&title);
    let mut table = Table::new(title, COLUMNS).baseline(STOCK);
    table.note(
        "both ends in one thread, their records passed on in memory, unless a row says otherwise; no HTTP/2",
    );
    let today = bench.today()?;
    let start = |build: &Build, name: &str, kind, sockets| {
        Shaking::start(
            bench,
            build,
            name,
            Options { kind, pki: bench.pki.clone(), x25519_only, sockets, revocations: 0 },
        )
    };
    let mut pairs = vec![
        start(today, STOCK, Kind::Stock, false)?,
        start(today, "stock rustls, resumed by ticket", Kind::Resumed, false)?,
    ];
    if x25519_only {
        table.note("avouch is left out: its ends always agree on X25519MLKEM768");
    } else {
        for build in &bench.builds {
            pairs.push(start(build, "avouch", Kind::Avouch, false)?);
        }
    }
    pairs.push(start(today, "primitives", Kind::Primitives, false)?);
    pairs.push(start(today, "stock rustls, over TCP", Kind::Stock, true)?);
    if let Some(wrong) = pairs.iter().find(|pair| pair.group != group) {
        let Shaking { name, group: agreed, .. } = wrong;
        return Err(Error::other(format!("{name}: agreed on {agreed} instead of {group}")));
    }
    table.note(
        "primitives: the key exchange at both ends, two signatures and six checks of signatures, by aws-lc-rs: \
         the least that a full handshake takes",
    );
    let peer = openssl(bench, group, &mut table)?;
    let time = Duration::from_millis(bench.by_extent(100, 250));
    let mut variants: Vec<_> =
        pairs.iter_mut().map(|pair| Variant::new(pair.name.clone(), move || pair.measure(time))).collect();
    if let Some(peer) = &peer {
        variants.push(Variant::new(peer.name(), || peer.measure()));
    }
    interleave(&mut table, variants, bench.by_extent(5, 9))?;
    Ok(table)
}

fn openssl(bench: &Bench, group: &str, table: &mut Table) -> Result<Option<OpenSsl>, Error> {
    let installed = match OPENSSL.find(&bench.root, "OpenSSL") {
        Ok(installed) => installed,
        Err(skipped) => {
            table.note(skipped);
            return Ok(None);
        }
    };
    match OpenSsl::start(bench, installed, group)? {
        Ok(peer) => {
            table.note(format!(
                "{}: openssl s_server and s_time, a core each, over TCP; with the start of s_time, about 2 %",
                peer.name()
            ));
            Ok(Some(peer))
        }
        Err(skipped) => {
            table.note(skipped);
            Ok(None)
        }
    }
}

/// A process that shakes hands with itself.
struct Shaking {
    name: String,
    child: Child,
    group: String,
}

impl Shaking {
    fn start(bench: &Bench, build: &Build, name: &str, options: Options) -> Result<Self, Error> {
        let name = build.variant(name);
        let launch = Launch::role(&build.program("avouch-bench"), handshake::NAME, &options);
        let mut child = launch.named(name.clone()).core(CALLER_CORE).start(&bench.dir)?;
        let Ready { group } = child.ready()?;
        Ok(Self { name, child, group })
    }

    fn measure(&mut self, time: Duration) -> Result<Vec<f64>, Error> {
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let done: Done = self.child.ask(&Work { milliseconds }, time + ANSWER)?;
        Ok(vec![done.cpu / f64::from(u32::try_from(done.handshakes).unwrap_or(u32::MAX))])
    }
}

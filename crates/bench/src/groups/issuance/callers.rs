//! Certificates as fast as they can be had, by the number of callers.

use std::time::Duration;

use super::bao::Bao;
use super::workloads::Workloads;
use crate::bench::{Bench, Build};
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::roles::load::Work;
use crate::roles::{renew, sign};
use crate::rounds::{Variant, interleave};
use crate::run::progress;
use crate::table::{Column, Table, Unit, column};

/// The core of what is measured on one.
const CORE: usize = 0;

/// The variant that the others are compared with.
const LIMIT: &str = "verify + sign, one core";

/// The columns of a table.
const COLUMNS: &[Column] = &[
    column("certificates", Unit::PerSecond),
    column("p50", Unit::Milliseconds),
    column("p99", Unit::Milliseconds),
    column("CPU per certificate", Unit::Microseconds),
];

/// What a table has to say about the variants.
const NOTES: &[&str] = &[
    "verify + sign: one ECDSA P-256 signature verified and one made, in a loop. Issuance crate: from the bytes of a request \
     to a certificate that was parsed and compared again. Both on one core, without a network and a store",
    "avouch-issuer: the program as it is shipped, on all cores together with the callers; each caller has an identity and a \
     connection of its own (mutual TLS), requests are made beforehand, the reply comes when the record is on disk, and \
     certificates on record = replies. Its rate limits are raised, since callers renew more often than once in an hour; they \
     are applied all the same. CPU: of the issuer alone",
];

/// A variant on one core.
struct Signer {
    name: String,
    kind: sign::Kind,
    process: Child,
}

impl Signer {
    fn start(bench: &Bench, build: &Build, name: &str, kind: sign::Kind) -> Result<Self, Error> {
        let name = build.variant(name);
        let launch = Launch::role(&build.program("avouch-bench"), sign::NAME, &sign::Options {});
        let mut process = launch.named(name.clone()).core(CORE).start(&bench.dir)?;
        let sign::Ready {} = process.ready()?;
        Ok(Self { name, kind, process })
    }

    fn measure(&mut self, time: Duration) -> Result<Vec<f64>, Error> {
        let cpu = self.process.cpu();
        let work = sign::Work { kind: self.kind, milliseconds: milliseconds(time) };
        let done: sign::Done = self.process.ask(&work, time + Duration::from_secs(30))?;
        let (issued, cpu) = (f64::from(done.issued), self.process.cpu().saturating_sub(cpu));
        Ok(vec![issued / done.seconds, f64::NAN, f64::NAN, cpu.as_secs_f64() * 1e6 / issued])
    }
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Measures all numbers of callers.
pub(super) fn measure(
    bench: &Bench,
    workloads: &mut [Workloads],
    bao: &mut Result<Bao, String>,
) -> Result<Vec<Table>, Error> {
    let mut signers = vec![Signer::start(bench, bench.today()?, LIMIT, sign::Kind::Primitives)?];
    for build in &bench.builds {
        signers.push(Signer::start(bench, build, "issuance crate, one core", sign::Kind::Crate)?);
    }
    let counts: &[usize] = bench.by_extent(&[64], &[1, 16, 64, 256]);
    let mut tables = Vec::new();
    for callers in counts {
        tables.push(table(bench, *callers, &mut signers, workloads, bao)?);
    }
    Ok(tables)
}

fn table(
    bench: &Bench,
    callers: usize,
    signers: &mut [Signer],
    workloads: &mut [Workloads],
    bao: &mut Result<Bao, String>,
) -> Result<Table, Error> {
    let title = format!("certificates issued, {callers} {}", if callers == 1 { "caller" } else { "callers" });
    progress(&title);
    let mut table = Table::new(title, COLUMNS).baseline(LIMIT);
    let time = Duration::from_millis(bench.by_extent(400, 700));
    let work = Work { callers, milliseconds: milliseconds(time) };
    let mut variants = Vec::new();
    for signer in signers {
        variants.push(Variant::new(signer.name.clone(), || signer.measure(time / 2)));
    }
    for workloads in workloads {
        let name = format!("avouch-issuer{}", workloads.suffix);
        variants.push(Variant::new(name, move || {
            let (done, cpu, ()) = workloads.renew(renew::Command::Callers(work), time, || Ok(()))?;
            Ok(vec![done.count() / done.seconds, done.p50, done.p99, cpu])
        }));
    }
    NOTES.iter().for_each(|note| table.note(*note));
    match bao {
        Ok(bao) if callers <= Bao::CALLERS => {
            table.note(Bao::NOTE);
            variants.push(Variant::new(bao.name.clone(), move || bao.measure(work)));
        }
        Ok(_) => {}
        Err(skipped) => table.note(skipped.clone()),
    }
    interleave(&mut table, variants, bench.by_extent(3, 5))?;
    Ok(table)
}

//! Idle programs: resident memory after the start, and after some calls.

use std::net::SocketAddr;
use std::time::Duration;

use avouch_api::admin::v1::GetBundleRequest;

use crate::bench::{Bench, Build};
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::issuer::{Issuer, Start};
use crate::program;
use crate::roles::client::Kind;
use crate::roles::{call, serve};
use crate::rounds::{Variant, interleave};
use crate::run::progress;
use crate::table::{Table, Unit, column};

/// For how long calls are made: some thousand.
const CALLS: Duration = Duration::from_millis(300);

/// Calls of the administration.
const ADMIN_CALLS: usize = 1_000;

/// Bytes of a call's message.
const PAYLOAD: usize = 128;

const BARE: &str = "tonic mTLS";

/// Measures programs with nothing to do.
pub(super) fn measure(bench: &Bench) -> Result<Table, Error> {
    progress("memory of idle programs");
    let columns = [column("RSS, fresh", Unit::Kibibytes), column("RSS after calls", Unit::Kibibytes)];
    let mut table = Table::new("idle programs, resident memory", &columns).baseline(BARE);
    let today = bench.today()?;
    let mut variants =
        vec![Variant::new(BARE, move || role(bench, today, BARE, (serve::Kind::Tonic, Kind::Tonic)))];
    for build in &bench.builds {
        let library = build.variant("avouch");
        variants.push(Variant::new(library.clone(), move || {
            role(bench, build, &library, (serve::Kind::Avouch, Kind::Avouch))
        }));
        let shipped = build.variant("avouch program");
        variants.push(Variant::new(shipped.clone(), move || self::shipped(bench, build, &shipped)));
        let name = build.variant("avouch-issuer");
        variants.push(Variant::new(name.clone(), move || issuer(bench, build, &name)));
    }
    interleave(&mut table, variants, bench.by_extent(3, 5))?;
    table.note(format!(
        "calls: unary, {PAYLOAD} B, 16 in flight on 4 connections for {CALLS:?}; of the issuer {ADMIN_CALLS} of its \
         administration; a process of its own each time"
    ));
    table.note("tonic and avouch are roles of one program that links everything; the others are as shipped");
    Ok(table)
}

fn role(
    bench: &Bench,
    build: &Build,
    name: &str,
    (server, caller): (serve::Kind, Kind),
) -> Result<Vec<f64>, Error> {
    let options = serve::Options::new(server, &bench.pki);
    let launch = Launch::role(&build.program("avouch-bench"), serve::NAME, &options);
    let mut server = launch.named(format!("memory {name}")).start(&bench.dir)?;
    let serve::Ready { address } = server.ready()?;
    before_and_after(bench, build, server, (caller, address))
}

fn shipped(bench: &Bench, build: &Build, name: &str) -> Result<Vec<f64>, Error> {
    let dir = bench.dir.join("memory");
    let settings = program::identity_and_policy(&bench.pki, &dir)?;
    let launch = Launch::new(format!("memory {name}"), build.program("avouch-bench-service"));
    let (server, addresses) = program::start(launch, &dir, &settings, &bench.dir)?;
    before_and_after(bench, build, server, (Kind::Avouch, addresses.grpc))
}

fn before_and_after(
    bench: &Bench,
    build: &Build,
    server: Child,
    (kind, address): (Kind, SocketAddr),
) -> Result<Vec<f64>, Error> {
    let fresh = resident(&server);
    let options = call::Options { kind, pki: bench.pki.clone(), address, connections: 4, denied: false };
    let launch = Launch::role(&build.program("avouch-bench"), call::NAME, &options);
    let mut caller = launch.named("memory caller").start(&bench.dir)?;
    let call::Ready {} = caller.ready()?;
    let milliseconds = u64::try_from(CALLS.as_millis()).unwrap_or(u64::MAX);
    let work = call::Work { milliseconds, in_flight: 16, payload: PAYLOAD, messages: None, per_second: None };
    let done: call::Done = caller.ask(&work, CALLS + Duration::from_secs(30))?;
    if done.failed > 0 {
        return Err(Error::other(format!("{} of {} calls failed", done.failed, done.calls)));
    }
    caller.end()?;
    let after = resident(&server);
    server.end()?;
    Ok(vec![fresh, after])
}

fn issuer(bench: &Bench, build: &Build, name: &str) -> Result<Vec<f64>, Error> {
    let data = bench.dir.join("memory").join(name.replace(['/', ' '], "-"));
    std::fs::create_dir_all(bench.dir.join("memory")).map_err(Error::system("make a directory"))?;
    let name = format!("memory {name}");
    let issuer = Issuer::start(bench, build, &Start { name: &name, data: &data, settings: &[], core: None })?;
    let fresh = resident(&issuer.child);
    issuer.admin().call(async |mut admin| {
        for _ in 0..ADMIN_CALLS {
            admin.get_bundle(GetBundleRequest {}).await?;
        }
        Ok(())
    })?;
    let after = resident(&issuer.child);
    issuer.end()?;
    Ok(vec![fresh, after])
}

fn resident(child: &Child) -> f64 {
    f64::from(u32::try_from(child.resident_kib(false)).unwrap_or(u32::MAX))
}

//! Starts: from the start of a process to the first call that it answers, authorized.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use avouch_files::write_secret;
use avouch_testkit::ca::id;

use crate::bench::{Bench, Build};
use crate::child::{Child, Launch};
use crate::clock::monotonic;
use crate::error::Error;
use crate::groups::servers::{CALLER_CORE, free_address};
use crate::issuer::{Issuer, Start};
use crate::pki::{CALLER, SERVER};
use crate::program::{self, set};
use crate::roles::client::Kind;
use crate::roles::{first, serve};
use crate::rounds::{Variant, interleave};
use crate::run::progress;
use crate::table::{Table, Unit, column};

/// The longest time until the first call is answered.
const LONGEST: Duration = Duration::from_secs(20);

/// What every variant is compared with.
const BARE: &str = "tonic mTLS";

/// Prepares the start of a server that is going to listen at an address.
type Starter<'a> = Box<dyn FnMut(SocketAddr) -> Result<Launch, Error> + 'a>;

/// Measures all kinds of starts.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Table>, Error> {
    progress("starts");
    let columns =
        [column("to the first call", Unit::Milliseconds), column("CPU of the process", Unit::Milliseconds)];
    let mut table = Table::new("start of a process to its first authorized call", &columns).baseline(BARE);
    let data = bench.dir.join("start/issuer");
    let start = Start { name: "start issuer", data: &data, settings: &[], core: None };
    let issuer = Issuer::start(bench, bench.today()?, &start)?;
    issuer.admin().register([id(&format!("/{CALLER}")), id(&format!("/{SERVER}"))])?;
    let callers = Callers::start(bench, &issuer)?;
    let mut variants =
        vec![(BARE.to_owned(), &callers.tonic, role(bench, bench.today()?, serve::Kind::Tonic, BARE))];
    for build in &bench.builds {
        let library = build.variant("avouch");
        variants.push((library.clone(), &callers.files, role(bench, build, serve::Kind::Avouch, &library)));
        for (name, identity) in [
            ("avouch program, identity from files", From::Files),
            ("avouch program, SVID by a join token", From::Token),
            ("avouch program, SVID from its state directory", From::State),
        ] {
            let name = build.variant(name);
            let caller = if identity == From::Files { &callers.files } else { &callers.issuer };
            let starter = shipped(bench, build, &issuer, &name, identity)?;
            variants.push((name, caller, starter));
        }
    }
    let variants = variants.into_iter().map(|(name, caller, mut starter)| {
        Variant::new(name.clone(), move || time(bench, &name, &mut caller.borrow_mut(), &mut starter))
    });
    interleave(&mut table, variants.collect(), bench.by_extent(3, 9))?;
    table.note(
        "each time includes that of the run's own launcher, a few milliseconds; nobody renews or calls the issuer \
         otherwise; the first call opens its connection",
    );
    Ok(vec![table])
}

/// The callers, which run before anything is started.
struct Callers {
    tonic: std::cell::RefCell<Child>,
    files: std::cell::RefCell<Child>,
    issuer: std::cell::RefCell<Child>,
}

impl Callers {
    fn start(bench: &Bench, issuer: &Issuer) -> Result<Self, Error> {
        let start = |name: &str, source: first::Source| {
            let program = bench.today()?.program("avouch-bench");
            let launch = Launch::role(&program, first::NAME, &first::Options { source });
            let mut child =
                launch.named(format!("start caller {name}")).core(CALLER_CORE).start(&bench.dir)?;
            let first::Ready {} = child.ready()?;
            Ok(std::cell::RefCell::new(child))
        };
        let files = |kind| first::Source::Files(kind, bench.pki.clone());
        let token = token(issuer, CALLER, &bench.dir.join("start/caller.token"))?;
        Ok(Self {
            tonic: start("tonic", files(Kind::Tonic))?,
            files: start("files", files(Kind::Avouch))?,
            issuer: start("issuer", first::Source::Issuer { address: issuer.address, token })?,
        })
    }
}

/// A join token in a file.
fn token(issuer: &Issuer, name: &str, path: &Path) -> Result<PathBuf, Error> {
    let tokens = issuer.admin().tokens([id(&format!("/{name}"))])?;
    let _ = std::fs::remove_file(path);
    write_secret(path, tokens.concat().as_bytes())
        .map_err(Error::system(format!("write {}", path.display())))?;
    Ok(path.to_owned())
}

/// Starts a server, and gives the milliseconds until its first answer, and those of its CPU time.
fn time(bench: &Bench, name: &str, caller: &mut Child, starter: &mut Starter<'_>) -> Result<Vec<f64>, Error> {
    let address = free_address()?;
    let launch = starter(address)?;
    let milliseconds = u64::try_from(LONGEST.as_millis()).unwrap_or(u64::MAX);
    caller.tell(&first::Work { address, milliseconds })?;
    let began = monotonic();
    let server = launch.start(&bench.dir)?;
    let done: first::Done = caller.answer(LONGEST + Duration::from_secs(5))?;
    let cpu = server.cpu();
    if done.failed > 0 {
        return Err(Error::other(format!("{name}: {} calls failed before the first answer", done.failed)));
    }
    server.end()?;
    let took = Duration::from_nanos(done.at).saturating_sub(began);
    Ok(vec![took.as_secs_f64() * 1e3, cpu.as_secs_f64() * 1e3])
}

fn role<'a>(bench: &'a Bench, build: &'a Build, kind: serve::Kind, name: &str) -> Starter<'a> {
    let name = format!("start {name}");
    Box::new(move |address| {
        let options = serve::Options { listen: Some(address), ..serve::Options::new(kind, &bench.pki) };
        let launch = Launch::role(&build.program("avouch-bench"), serve::NAME, &options);
        Ok(launch.named(name.clone()))
    })
}

/// Where a program's identity comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Files,
    Token,
    State,
}

/// A program on the service shell, with everything as it is shipped.
fn shipped<'a>(
    bench: &'a Bench,
    build: &'a Build,
    issuer: &'a Issuer,
    name: &str,
    from: From,
) -> Result<Starter<'a>, Error> {
    let name = format!("start {name}");
    let dir = bench.dir.join("start").join(name.replace(['/', ' '], "-"));
    let (state, file) = (dir.join("state"), dir.join("token"));
    let policy = program::policy(&dir)?;
    Ok(Box::new(move |address| {
        let mut settings =
            vec![format!("service.listen={address}"), "health.listen=127.0.0.1:0".to_owned(), policy.clone()];
        if from == From::Files {
            settings.extend(program::identity(&bench.pki));
        } else {
            if from == From::Token && state.exists() {
                std::fs::remove_dir_all(&state).map_err(Error::system("empty a state directory"))?;
            }
            // Read only where there is no state: the turn that is not counted makes what later ones start from.
            if !state.exists() {
                token(issuer, SERVER, &file)?;
            }
            settings.extend([
                "identity.source=issuer".to_owned(),
                format!("identity.address={}", issuer.address),
                set("identity.join_token_file", &file),
                set("identity.state_dir", &state),
            ]);
        }
        let launch = Launch::new(name.clone(), build.program("avouch-bench-service"));
        Ok(program::with(launch, &settings))
    }))
}

//! A shipped issuer, and the process of the workloads that it has enrolled.

use std::time::Duration;

use avouch_api::admin::v1::GetStatusRequest;
use avouch_testkit::ca::id;

use crate::bench::{Bench, Build};
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::issuer::{Issuer, Start, WITHOUT_RATE_LIMITS};
use crate::roles::load::Done;
use crate::roles::renew;

/// Workloads of a whole run: those of the storm.
pub(super) const MANY: usize = 10_000;

/// Workloads of a quick run.
const FEW: usize = 1_000;

/// The longest time beyond what a command asks for.
pub(super) const GRACE: Duration = Duration::from_secs(60);

/// An issuer with workloads that renew.
pub(super) struct Workloads {
    /// The suffix of its build.
    pub(super) suffix: String,
    issuer: Issuer,
    process: Child,
}

impl Workloads {
    /// Starts the issuer of a build, and enrolls workloads. They are processes of today's build in any case, so that only
    /// the issuers differ.
    pub(super) fn enroll(bench: &Bench, build: &Build) -> Result<Self, Error> {
        let name = build.variant("issuer");
        let data = bench.dir.join(format!("{} data", name).replace(['/', ' '], "-"));
        let start = Start { name: &name, data: &data, settings: &WITHOUT_RATE_LIMITS, core: None };
        let issuer = Issuer::start(bench, build, &start)?;
        let ids = || (0..bench.by_extent(FEW, MANY)).map(|number| id(&format!("/workload/{number}")));
        issuer.admin().register(ids())?;
        let tokens = bench.dir.join(format!("{name} tokens").replace(['/', ' '], "-"));
        let lines = issuer.admin().tokens(ids())?.join("\n");
        std::fs::write(&tokens, lines).map_err(Error::system(format!("write {}", tokens.display())))?;
        let options = renew::Options { address: issuer.address, tokens };
        let launch = Launch::role(&bench.today()?.program("avouch-bench"), renew::NAME, &options);
        let mut process = launch.named(build.variant("workloads")).start(&bench.dir)?;
        let renew::Ready {} = process.answer(GRACE)?;
        Ok(Self { suffix: build.suffix.clone(), issuer, process })
    }

    /// Lets workloads renew: what became of that, and the CPU time of the issuer for each certificate in microseconds.
    /// `meanwhile` is done after the command has been given.
    pub(super) fn renew<T>(
        &mut self,
        command: renew::Command,
        time: Duration,
        meanwhile: impl FnOnce() -> Result<T, Error>,
    ) -> Result<(Done, f64, T), Error> {
        let (before, cpu) = (self.on_record()?, self.issuer.child.cpu());
        self.process.tell(&command)?;
        let meanwhile = meanwhile()?;
        let mut done: Done = self.process.answer(time + GRACE)?;
        let cpu = self.issuer.child.cpu().saturating_sub(cpu);
        done.recorded = self.on_record()?.saturating_sub(before);
        done.check(&format!("avouch-issuer{}", self.suffix))?;
        let each = cpu.as_secs_f64() * 1e6 / done.count();
        Ok((done, each, meanwhile))
    }

    /// The certificates that the issuer has on record and that have not expired; none of a run does.
    fn on_record(&self) -> Result<u64, Error> {
        let status =
            async |mut client: avouch_fleet::AdminClient| client.get_status(GetStatusRequest {}).await;
        let status = self.issuer.admin().call(status)?.into_inner().issuer.unwrap_or_default();
        match status.store_problem.as_str() {
            "" => Ok(status.certificates),
            problem => Err(Error::other(format!("the issuer's store: {problem}"))),
        }
    }

    pub(super) fn end(self) -> Result<(), Error> {
        self.process.end()?;
        self.issuer.end()
    }
}

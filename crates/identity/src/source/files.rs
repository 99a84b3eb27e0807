//! An identity from files that somebody else keeps fresh (SPIRE's helper, cert-manager, a cron job).
//!
//! Certificate and key are one unit, the own bundle is another, and so is each bundle of another trust domain; each
//! keeps its own last good content ([`unit`]). Content comes into use after every check that an answer of the issuer
//! passes ([`choice`]), and is logged; content that fails is logged once and stays out. A federated bundle stops neither
//! the start nor the renewal of anything else. An identity other than the first one is rejected.
//!
//! Files are read on threads of their own, with limits on size and time: no content and no file system stops the process.

mod choice;
mod unit;

use std::future::{Future, poll_fn};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use avouch_files::{BUNDLE_LIMIT, Content, Reader, SECRET_LIMIT, key_is_private};
use avouch_spiffe::{Bundle, BundleSet, SpiffeId, TrustDomain, TrustState};
use tokio::sync::{Mutex, watch};

use self::choice::{InUse, Places, Roots};
use self::unit::{Fault, Print, Unit};
use super::context::SourceContext;
use super::error::IdentityError;
use super::event::IdentityEvent;
use super::pem;
use super::problem::SourceProblem;
use crate::config::FilesConfig;
use crate::identity::{Identity, Publisher, Snapshot};
use crate::svid::Svid;

/// How long a file system may take to hand over a file: far longer than a disk that is asleep or a network mount that
/// changes its server takes, and short enough that a start fails with the name of the file. A look that is
/// given up is taken up by the next one.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the files once, then watches them in the background.
pub(super) async fn start(config: FilesConfig, context: SourceContext) -> Result<Identity, IdentityError> {
    // Before anything is read, as far as the configuration tells.
    check_domains(&config, config.spiffe_id.as_ref().map(SpiffeId::trust_domain))?;
    let mut files = Files::first(config, &context).await?;
    context.issued("files", &files.svid);
    let snapshot = Snapshot::new(files.svid.clone(), files.trust());
    let (publisher, identity) = Identity::publisher_with_clock(snapshot, context.clock.clone());
    files.report = Some(identity.problems());
    if files.problems().next().is_some() {
        files.tell(&context);
    }
    let publisher = Arc::new(publisher);
    // Kept outside of the task, so that one that died can begin again where it was.
    let files = Arc::new(Mutex::new(files));
    let task =
        context.clone().keep_running(move || watch_files(files.clone(), publisher.clone(), context.clone()));
    Ok(identity.with_source(task))
}

async fn watch_files(files: Arc<Mutex<Files>>, publisher: Arc<Publisher>, context: SourceContext) {
    let mut files = files.lock().await;
    loop {
        // Programs that build their own configuration are not checked: the loop must not spin.
        tokio::time::sleep(files.config.poll_interval.max(FilesConfig::POLL_INTERVAL.least())).await;
        files.look(&publisher, &context).await;
    }
}

/// A bundle for the own trust domain among those of others, or two for one domain: the later would replace the earlier.
fn check_domains(config: &FilesConfig, own: Option<&TrustDomain>) -> Result<(), IdentityError> {
    for (at, federated) in config.federated.iter().enumerate() {
        let domain = &federated.trust_domain;
        if own == Some(domain) {
            return Err(IdentityError::FederatedOwn(domain.clone()));
        }
        if config.federated.iter().take(at).any(|earlier| earlier.trust_domain == *domain) {
            return Err(IdentityError::FederatedTwice(domain.clone()));
        }
    }
    Ok(())
}

/// The files of an identity, what is in use of them, and what stands in the way of the rest.
struct Files {
    config: FilesConfig,
    id: SpiffeId,
    readers: Readers,
    svid: Svid,
    roots: Roots,
    /// The federated bundles in use, in the order of the configuration; `None` where none has been good yet.
    federated: Vec<Option<Bundle>>,
    svid_unit: Unit<Svid>,
    roots_unit: Unit<Roots>,
    federated_units: Vec<Unit<Bundle>>,
    report: Option<Arc<watch::Sender<Vec<SourceProblem>>>>,
    /// The end of the SVID whose expiry has been logged.
    told_end: Option<SystemTime>,
}

/// The readers, one for each file.
struct Readers {
    certificate: Reader,
    key: Reader,
    bundle: Reader,
    federated: Vec<Reader>,
}

impl Readers {
    fn of(config: &FilesConfig) -> Self {
        let federated = config.federated.iter();
        Self {
            certificate: Reader::new(&config.certificate, SECRET_LIMIT),
            key: Reader::new(&config.key, SECRET_LIMIT),
            bundle: Reader::new(&config.bundle, BUNDLE_LIMIT),
            federated: federated.map(|federated| Reader::new(&federated.bundle, BUNDLE_LIMIT)).collect(),
        }
    }

    /// Reads all at the same time: one that is slow delays the others' turn, but not by the sum.
    async fn look(&mut self) -> Look {
        let federated = together(self.federated.iter_mut().map(|reader| reader.read(READ_TIMEOUT)));
        let (certificate, key, bundle, federated) = tokio::join!(
            self.certificate.read(READ_TIMEOUT),
            self.key.read(READ_TIMEOUT),
            self.bundle.read(READ_TIMEOUT),
            federated
        );
        Look { certificate, key, bundle, federated }
    }
}

/// The contents that one look at the files read.
struct Look {
    certificate: std::io::Result<Content>,
    key: std::io::Result<Content>,
    bundle: std::io::Result<Content>,
    federated: Vec<std::io::Result<Content>>,
}

impl Look {
    /// The digest of certificate and key. The key's mode counts, since `chmod` alone can mend a key that is open to
    /// others.
    fn svid_print(&self) -> Print {
        let open = self.key.as_ref().is_ok_and(|key| key_is_private(&key.metadata).is_err());
        Print::of(&[&self.certificate, &self.key], if open { "open" } else { "private" })
    }

    fn svid(&self, config: &FilesConfig, expected: Option<&SpiffeId>) -> Result<Svid, IdentityError> {
        let chain = pem::certificates(&config.certificate, content(&self.certificate, &config.certificate)?)?;
        let key = pem::private_key(&config.key, content(&self.key, &config.key)?)?;
        // Checked after the content, so that a file that holds no key is reported as that.
        if let Ok(file) = &self.key {
            key_is_private(&file.metadata)
                .map_err(|open| IdentityError::KeyOpen { path: config.key.clone(), open })?;
        }
        let svid = Svid::new(chain, &key).map_err(|source| IdentityError::Files {
            certificate: config.certificate.clone(),
            key: config.key.clone(),
            source,
        })?;
        match expected.filter(|expected| *expected != svid.spiffe_id()) {
            None => Ok(svid),
            Some(expected) => {
                let detail = format!("it is for {}, not for {expected}", svid.spiffe_id());
                Err(pem::content(&config.certificate, "a certificate of this workload", detail))
            }
        }
    }
}

fn content<'a>(read: &'a std::io::Result<Content>, path: &Path) -> Result<&'a [u8], IdentityError> {
    match read {
        Ok(content) => Ok(&content.bytes),
        Err(error) => Err(IdentityError::File {
            action: "read",
            path: path.to_owned(),
            source: std::io::Error::new(error.kind(), error.to_string()),
        }),
    }
}

fn bundle(
    read: &std::io::Result<Content>,
    path: &Path,
    domain: &TrustDomain,
) -> Result<Bundle, IdentityError> {
    pem::bundle(path, content(read, path)?, domain)
}

impl Files {
    /// The first look: without a usable SVID and own bundle there is no identity; another trust domain's bundle can come
    /// later.
    async fn first(config: FilesConfig, context: &SourceContext) -> Result<Self, IdentityError> {
        let mut readers = Readers::of(&config);
        let look = readers.look().await;
        let svid = look.svid(&config, config.spiffe_id.as_ref())?;
        let domain = svid.spiffe_id().trust_domain().clone();
        check_domains(&config, Some(&domain))?;
        let roots = Roots::new(bundle(&look.bundle, &config.bundle, &domain)?);
        let mut files = Self {
            id: svid.spiffe_id().clone(),
            readers,
            svid_unit: Unit::new("certificate", config.certificate.clone()),
            roots_unit: Unit::new("bundle", config.bundle.clone()),
            federated_units: Vec::new(),
            federated: vec![None; config.federated.len()],
            svid: svid.clone(),
            roots: roots.clone(),
            config,
            report: None,
            told_end: None,
        };
        let now = context.clock.now();
        // The start accepts an SVID that has expired: the process is not ready, reports why, and uses the next SVID
        // when it comes. Exiting instead would only lead to restarts until then.
        files.places().check(&svid, &roots, now.min(svid.not_after()))?;
        files.svid_unit.begin(look.svid_print(), Ok(svid));
        files.roots_unit.begin(Print::of(&[&look.bundle], ""), Ok(roots));
        files.take_svid();
        files.take_roots();
        for (of, read) in files.config.federated.iter().zip(&look.federated) {
            let mut unit = Unit::new(format!("bundle of {}", of.trust_domain), of.bundle.clone());
            unit.begin(Print::of(&[read], ""), bundle(read, &of.bundle, &of.trust_domain));
            files.federated_units.push(unit);
        }
        files.take_federated();
        files.settle(None, None, now);
        files.warn_of_expiry(now);
        Ok(files)
    }

    fn places(&self) -> Places<'_> {
        Places { certificate: &self.config.certificate, bundle: &self.config.bundle }
    }

    /// Looks at all files, and takes into use what is good.
    async fn look(&mut self, publisher: &Publisher, context: &SourceContext) {
        let look = self.readers.look().await;
        let (config, id) = (&self.config, &self.id);
        self.svid_unit.look(look.svid_print(), || look.svid(config, Some(id)));
        self.roots_unit.look(Print::of(&[&look.bundle], ""), || {
            bundle(&look.bundle, &config.bundle, id.trust_domain()).map(Roots::new)
        });
        let federated = self.federated_units.iter_mut().zip(&config.federated).zip(&look.federated);
        for ((unit, of), read) in federated {
            unit.look(Print::of(&[read], ""), || bundle(read, &of.bundle, &of.trust_domain));
        }
        let now = context.clock.now();
        let in_use = InUse { svid: &self.svid, roots: &self.roots };
        let (svid, roots) = (self.svid_unit.candidate(), self.roots_unit.candidate());
        let choice = self.places().choose(in_use, svid, roots, now);
        let new_svid = choice.svid && self.take_svid();
        let new_roots = choice.roots && self.take_roots();
        let new_federated = self.take_federated();
        if new_svid {
            context.issued("files", &self.svid);
        }
        if new_svid || new_roots || new_federated {
            publisher.update((self.svid.clone(), self.trust()));
        }
        if self.settle(choice.svid_fault, choice.roots_fault, now) {
            self.tell(context);
        }
        self.warn_of_expiry(now);
    }

    fn take_svid(&mut self) -> bool {
        let Some(svid) = self.svid_unit.take() else { return false };
        if let Some(order) = svid.better_order() {
            tracing::warn!(
                path = %self.config.certificate.display(),
                ?order,
                "the certificates of the file are out of order, which some peers refuse: they belong in this order, and \
                 what is not named does not belong there"
            );
        }
        self.svid = svid;
        true
    }

    fn take_roots(&mut self) -> bool {
        let Some(roots) = self.roots_unit.take() else { return false };
        say_bundle(&roots.bundle, &self.config.bundle);
        self.roots = roots;
        true
    }

    fn take_federated(&mut self) -> bool {
        let mut any = false;
        let units = self.federated_units.iter_mut().zip(&mut self.federated).zip(&self.config.federated);
        for ((unit, in_use), of) in units {
            if let Some(bundle) = unit.take() {
                say_bundle(&bundle, &of.bundle);
                *in_use = Some(bundle);
                any = true;
            }
        }
        any
    }

    /// The trust state that the files make: of no issuer's generation.
    fn trust(&self) -> TrustState {
        let bundles: BundleSet =
            self.federated.iter().flatten().chain([&self.roots.bundle]).cloned().collect();
        TrustState::from(bundles)
    }

    /// Settles what is said of each unit. True if there is news.
    fn settle(&mut self, svid: Option<IdentityError>, roots: Option<IdentityError>, now: SystemTime) -> bool {
        let fault = |error: IdentityError, path: &Path| Fault::of(&error, path.to_owned());
        let mut news = self.svid_unit.settle(svid.map(|error| fault(error, &self.config.certificate)), now);
        news |= self.roots_unit.settle(roots.map(|error| fault(error, &self.config.bundle)), now);
        for unit in &mut self.federated_units {
            news |= unit.settle(None, now);
        }
        news
    }

    fn problems(&self) -> impl Iterator<Item = &SourceProblem> {
        let own = [self.svid_unit.problem(), self.roots_unit.problem()];
        own.into_iter().chain(self.federated_units.iter().map(Unit::problem)).flatten()
    }

    fn tell(&self, context: &SourceContext) {
        let problems: Vec<_> = self.problems().cloned().collect();
        if let Some(report) = &self.report {
            report.send_if_modified(|told| {
                let news = *told != problems;
                told.clone_from(&problems);
                news
            });
        }
        context.tell(&IdentityEvent::Files { problems });
    }

    /// Logs once that the SVID in use has expired.
    fn warn_of_expiry(&mut self, now: SystemTime) {
        let not_after = self.svid.not_after();
        if now > not_after && self.told_end != Some(not_after) {
            self.told_end = Some(not_after);
            tracing::error!(
                path = %self.config.certificate.display(),
                serial = self.svid.leaf().serial(),
                "the SVID in use has expired and the files hold no other that can be used; peers refuse this workload"
            );
        }
    }
}

/// Logs a bundle that comes into use, and warns of roots with a SPIFFE ID of another trust domain: that is allowed
/// (X509-SVID §3.1), but mostly it is the wrong file.
fn say_bundle(bundle: &Bundle, path: &Path) {
    let (domain, roots) = (bundle.trust_domain(), bundle.authorities());
    tracing::info!(trust_domain = %domain, roots = roots.len(), path = %path.display(), "bundle in use");
    for root in roots {
        if let Some(id) = root.spiffe_id().filter(|id| id.trust_domain() != domain) {
            tracing::warn!(
                trust_domain = %domain,
                path = %path.display(),
                subject = root.subject(),
                "a root of this bundle says that it is of {}: is it the right file?", id.trust_domain()
            );
        }
    }
}

/// Awaits all at the same time.
async fn together<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    let all = poll_fn(|context| {
        let mut pending = false;
        for (future, output) in running.iter_mut().filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(context) {
                Poll::Ready(ready) => *output = Some(ready),
                Poll::Pending => pending = true,
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    });
    pin!(all).await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}

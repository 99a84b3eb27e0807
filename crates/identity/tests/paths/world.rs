//! What the cases are made of: certificates by the attacker's forge, and who is asked about them.

use std::path::Path;
use std::process::Command;

use avouch_attacker::Error;
use avouch_attacker::der;
use avouch_attacker::forge::{Authority, Credentials, Draft, Extension, Key};
use avouch_attacker::grpc::{Call, attempt};
use avouch_attacker::impostor::Impostor;
use avouch_attacker::tls::Approach;
use avouch_identity::spiffe::{Bundle, BundleSet};
use avouch_identity::{Identity, Publisher, ServerOptions, Svid, Verdict as Recorded, reason};

use crate::support::{Ca, DOMAIN, Running, check, domain, id, serve};

pub(crate) const ID: &str = "spiffe://market.example/payments";
const CHECK: Call<'static> = Call { path: "/grpc.health.v1.Health/Check", message: Vec::new(), headers: &[] };

/// A case of the table.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) make: fn(&World) -> Result<Shown, Error>,
    /// The verdict on a client that shows it.
    pub(crate) verdict: Verdict,
    /// The verdict on a server that shows it, where that is another.
    pub(crate) as_server: Option<Verdict>,
    /// Why openssl says something else.
    pub(crate) openssl_differs: Option<&'static str>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Verdict {
    Taken,
    /// The reason, and what the detail names.
    Refused(&'static str, &'static str),
    /// The root makes no bundle, and why.
    NoBundle(&'static str),
}

/// Taken.
pub(crate) const fn taken(name: &'static str, make: fn(&World) -> Result<Shown, Error>) -> Case {
    Case { name, make, verdict: Verdict::Taken, as_server: None, openssl_differs: None }
}

/// Refused for a reason, with a detail that names something.
pub(crate) const fn refused(
    name: &'static str,
    reason: &'static str,
    names: &'static str,
    make: fn(&World) -> Result<Shown, Error>,
) -> Case {
    let verdict = Verdict::Refused(reason, names);
    Case { name, make, verdict, as_server: None, openssl_differs: None }
}

impl Case {
    pub(crate) const fn openssl_differs(self, why: &'static str) -> Self {
        Self { openssl_differs: Some(why), ..self }
    }

    pub(crate) const fn as_server(self, verdict: Verdict) -> Self {
        Self { as_server: Some(verdict), ..self }
    }
}

/// A chain with its key, and the roots it is judged by.
pub(crate) struct Shown {
    /// Leaf first.
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: Key,
    pub(crate) roots: Vec<Vec<u8>>,
}

impl Shown {
    pub(crate) fn trusting(self, roots: &[&Authority]) -> Self {
        Self { roots: roots.iter().map(|root| root.der.clone()).collect(), ..self }
    }
}

/// A root with an authority below it, both right.
pub(crate) struct World {
    pub(crate) now: i64,
    pub(crate) root: Authority,
    pub(crate) signing: Authority,
}

pub(crate) fn nothing(_: &mut Draft) {}

impl World {
    pub(crate) fn new() -> Result<Self, Error> {
        let now = avouch_attacker::now();
        let root = root_with(now, "the root", nothing)?;
        let signing = below_with(now, &root, "the signing authority", nothing)?;
        Ok(Self { now, root, signing })
    }

    pub(crate) fn root(&self, name: &str, change: impl FnOnce(&mut Draft)) -> Result<Authority, Error> {
        root_with(self.now, name, change)
    }

    /// An authority below the root.
    pub(crate) fn authority(&self, change: impl FnOnce(&mut Draft)) -> Result<Authority, Error> {
        self.below(&self.root, "an authority", change)
    }

    pub(crate) fn below(
        &self,
        issuer: &Authority,
        name: &str,
        change: impl FnOnce(&mut Draft),
    ) -> Result<Authority, Error> {
        below_with(self.now, issuer, name, change)
    }

    /// Another certificate for an authority that has one, by another issuer.
    pub(crate) fn cross(
        &self,
        issuer: &Authority,
        subject: &Authority,
        change: impl FnOnce(&mut Draft),
    ) -> Result<Vec<u8>, Error> {
        let mut draft = Draft::authority("", &subject.key, self.now);
        draft.subject.clone_from(&subject.name);
        draft.set(Extension::subject_key(&subject.key));
        draft.set(Extension::authority_key(&issuer.key));
        change(&mut draft);
        draft.signed_by(issuer)
    }

    /// A leaf, presented with the certificates of `above`.
    pub(crate) fn leaf(
        &self,
        issuer: &Authority,
        above: &[&[u8]],
        change: impl FnOnce(&mut Draft),
    ) -> Result<Shown, Error> {
        let key = Key::generate()?;
        let mut draft = Draft::svid(ID, &key, self.now);
        draft.set(Extension::authority_key(&issuer.key));
        change(&mut draft);
        let mut chain = vec![draft.signed_by(issuer)?];
        chain.extend(above.iter().map(|der| der.to_vec()));
        Ok(Shown { chain, key, roots: vec![self.root.der.clone()] })
    }

    /// A leaf below authorities that are below one another, the nearest last.
    pub(crate) fn under(&self, authorities: &[&Authority]) -> Result<Shown, Error> {
        let above: Vec<&[u8]> = authorities.iter().rev().map(|it| it.der.as_slice()).collect();
        self.leaf(authorities.last().copied().unwrap_or(&self.root), &above, nothing)
    }

    /// A leaf below the signing authority, with something changed.
    pub(crate) fn changed(&self, change: impl FnOnce(&mut Draft)) -> Result<Shown, Error> {
        self.leaf(&self.signing, &[&self.signing.der], change)
    }

    /// A right leaf below an authority of its own, in which something is changed.
    pub(crate) fn below_changed(&self, change: impl FnOnce(&mut Draft)) -> Result<Shown, Error> {
        self.under(&[&self.authority(change)?])
    }

    /// A right chain below a root of its own, in which something is changed.
    pub(crate) fn root_changed(&self, change: impl FnOnce(&mut Draft)) -> Result<Shown, Error> {
        let root = self.root("another root", change)?;
        let authority = self.below(&root, "an authority", nothing)?;
        Ok(self.under(&[&authority])?.trusting(&[&root]))
    }
}

fn root_with(now: i64, name: &str, change: impl FnOnce(&mut Draft)) -> Result<Authority, Error> {
    let key = Key::generate()?;
    let mut draft = Draft::authority(name, &key, now);
    draft.set(Extension::subject_key(&key));
    change(&mut draft);
    let der = draft.signed_as(&draft.subject, &key)?;
    Ok(Authority { name: draft.subject, key, der })
}

fn below_with(
    now: i64,
    issuer: &Authority,
    name: &str,
    change: impl FnOnce(&mut Draft),
) -> Result<Authority, Error> {
    let key = Key::generate()?;
    let mut draft = Draft::authority(name, &key, now);
    draft.set(Extension::subject_key(&key));
    draft.set(Extension::authority_key(&issuer.key));
    change(&mut draft);
    let der = draft.signed_by(issuer)?;
    Ok(Authority { name: draft.subject, key, der })
}

/// A certificate with one bit of its signature turned over.
pub(crate) fn tampered(der: &[u8]) -> Vec<u8> {
    let mut der = der.to_vec();
    if let Some(last) = der.last_mut() {
        *last ^= 1;
    }
    der
}

/// Two times as they are written.
pub(crate) fn validity(not_before: (u8, &str), not_after: (u8, &str)) -> Option<Vec<u8>> {
    let time = |(tag, text): (u8, &str)| der::tlv(tag, text.as_bytes());
    Some(der::sequence(&[time(not_before), time(not_after)]))
}

/// Asks a server of this library, a client of it, and openssl about every case.
pub(crate) async fn judge(cases: &[Case]) {
    let world = World::new().expect("a world");
    let ca = Ca::new();
    let (server_publisher, server) = ca.identity("/server");
    let running = serve(server, ServerOptions::default()).await;
    let (client_publisher, client) = ca.identity("/client");
    let openssl = Openssl::find();
    let mut wrong = Vec::new();
    for case in cases {
        let shown = (case.make)(&world).expect(case.name);
        let bundle = Bundle::from_ders(domain(), &shown.roots, 1);
        let said = match &bundle {
            Err(error) => Verdict::no_bundle(case, &error.to_string()),
            Ok(bundle) => {
                for publisher in [&server_publisher, &client_publisher] {
                    publisher.update([bundle.clone()].into_iter().collect::<BundleSet>());
                }
                let as_client = by_server(&running, &shown).await;
                let as_server = by_client(&ca, &client, &shown, case).await;
                [case.verdict.against(as_client), case.as_server.unwrap_or(case.verdict).against(as_server)]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
            }
        };
        wrong.extend(said.into_iter().map(|said| format!("{}: {said}", case.name)));
        let ours = matches!(case.verdict, Verdict::Taken);
        let theirs = openssl.as_ref().map(|openssl| openssl.verify(&shown));
        match (theirs, case.openssl_differs) {
            (Some(Err(said)), None) if ours => wrong.push(format!("{}: openssl: {said}", case.name)),
            (Some(Ok(())), None) if !ours => wrong.push(format!("{}: openssl takes it", case.name)),
            (Some(theirs), Some(_)) if theirs.is_ok() == ours => {
                wrong.push(format!("{}: openssl agrees: {theirs:?}", case.name));
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

type Said = Result<(), (String, String)>;

impl Verdict {
    fn against(self, said: Said) -> Option<String> {
        match (self, said) {
            (Self::Taken, Ok(())) => None,
            (Self::Refused(reason, names), Err((said, detail)))
                if reason == said && detail.contains(names) =>
            {
                None
            }
            (wanted, said) => Some(format!("{wanted:?}, but {said:?}")),
        }
    }

    fn no_bundle(case: &Case, error: &str) -> Vec<String> {
        match case.verdict {
            Self::NoBundle(names) if error.contains(names) => Vec::new(),
            wanted => vec![format!("{wanted:?}, but {error}")],
        }
    }
}

fn credentials(shown: &Shown) -> Credentials {
    Credentials::new(shown.chain.clone(), &shown.key).expect("credentials")
}

async fn by_server(running: &Running, shown: &Shown) -> Said {
    let credentials = credentials(shown);
    let attempt =
        attempt(running.address, Approach::showing(Some(&credentials)), &CHECK).await.expect("an attempt");
    let record = running.records.wait(|record| record.peer_addr == attempt.local).await;
    match record.verdict {
        Recorded::Accepted => {
            assert!(attempt.outcome.got_through(), "{attempt:?}");
            Ok(())
        }
        Recorded::Refused => {
            assert!(!attempt.outcome.got_through(), "{attempt:?}");
            let reason = record.reason.map(|reason| reason.to_string()).unwrap_or_default();
            Err((reason, record.detail.unwrap_or_default()))
        }
    }
}

/// Shown by an impostor where it has to be refused, by a whole server where it has to be taken.
async fn by_client(ca: &Ca, client: &Identity, shown: &Shown, case: &Case) -> Said {
    let credentials = credentials(shown);
    let (address, _server) = match case.as_server.unwrap_or(case.verdict) {
        Verdict::Taken => {
            let svid = Svid::new(credentials.chain, &credentials.key).expect(case.name);
            let snapshot = avouch_identity::Snapshot::new(svid, ca.bundles());
            let (publisher, identity) = Identity::publisher(snapshot);
            let running = serve(identity, ServerOptions::default()).await;
            (running.address, Served::Whole(running, publisher))
        }
        _ => {
            let impostor = Impostor::showing(&credentials).await.expect(case.name);
            (impostor.address, Served::Impostor(impostor))
        }
    };
    let channel = client.channel(&format!("https://{address}"), id("/payments")).build().expect("a channel");
    match check(&channel).await {
        Ok(()) => Ok(()),
        Err(status) => {
            let reason = reason(&status).map(|reason| reason.to_string()).unwrap_or_default();
            Err((reason, status.message().to_owned()))
        }
    }
}

#[allow(dead_code, reason = "kept alive while it is asked")]
enum Served {
    Whole(Running, Publisher),
    Impostor(Impostor),
}

/// `openssl verify`, where there is one of the version whose differences are known.
struct Openssl {
    dir: tempfile::TempDir,
}

impl Openssl {
    fn find() -> Option<Self> {
        let version = Command::new("openssl").arg("version").output().ok()?;
        let is_known = String::from_utf8_lossy(&version.stdout).starts_with("OpenSSL 3.0.");
        is_known.then(|| Self { dir: tempfile::tempdir().expect("a directory") })
    }

    fn verify(&self, shown: &Shown) -> Result<(), String> {
        let file = |name: &str, ders: &[Vec<u8>]| {
            let path = self.dir.path().join(name);
            std::fs::write(&path, ders.iter().map(|der| pem(der)).collect::<String>()).expect("written");
            path
        };
        let (leaf, above) = shown.chain.split_at(1);
        let leaf = file("leaf.pem", leaf);
        let run = |extra: &[&Path]| {
            let mut command = Command::new("openssl");
            command.args(["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile"]);
            command.arg(file("roots.pem", &shown.roots)).args(extra).arg(&leaf).output().expect("openssl")
        };
        let output = if above.is_empty() {
            run(&[])
        } else {
            run(&[Path::new("-untrusted"), &file("above.pem", above)])
        };
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).lines().collect::<Vec<_>>().join(" | "))
    }
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> =
        body.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[test]
fn the_world_is_of_the_trust_domain_of_the_tests() {
    assert!(ID.starts_with(&format!("spiffe://{DOMAIN}/")));
}

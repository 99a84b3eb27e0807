//! Issuance with a store that can be told to fail.

use super::*;
use crate::attest::JoinTokenAttestor;
use crate::entries::create_token;
use crate::store::sqlite::SqliteStore;
use crate::store::{By, CertificateFilter, NewEntry, Page};
use avouch_files::PrivateDir;
use avouch_issuance::{Profiles, SystemEntropy};
use avouch_spiffe::{JoinToken, Reason};
use avouch_time::clock::{Clock, ManualClock, SystemClock};
use zeroize::Zeroizing;

fn by(at: SystemTime) -> By {
    By::new("uid 0", at)
}

/// Where requests come from.
fn here() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9))
}

pub(crate) struct Bench {
    pub(crate) issuance: Issuance,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) clock: ManualClock,
    _temp: tempfile::TempDir,
}

pub(crate) async fn bench() -> Bench {
    let temp = tempfile::tempdir().unwrap();
    let dir = Arc::new(PrivateDir::open(&temp.path().join("d"), "lock").unwrap());
    let clock = ManualClock::new(SystemClock.now());
    let domain = "market.example".parse().unwrap();
    let profiles = Profiles::embedded().unwrap();
    let authorities =
        Authorities::open(dir, &domain, profiles, Arc::new(SystemEntropy), clock.now(), false).unwrap();
    let store = Arc::new(SqliteStore::temporary());
    let roots = vec![authorities.root().clone()];
    let trust = crate::trust::tests::start(store.clone(), roots, clock.shared()).await;
    let issuance = Issuance {
        authorities,
        attestor: Arc::new(JoinTokenAttestor::new(store.clone())),
        store: store.clone(),
        trust,
        clock: clock.shared(),
        metrics: Metrics::new().unwrap(),
        svid_ttl: Duration::from_secs(20),
        recovery_window: Duration::from_secs(3_600),
    };
    Bench { issuance, store, clock, _temp: temp }
}

impl Bench {
    async fn token(&self) -> JoinToken {
        let id: avouch_spiffe::SpiffeId = "spiffe://market.example/orders".parse().unwrap();
        let entry = NewEntry {
            spiffe_id: id.clone(),
            svid_ttl: None,
            recovery_window: None,
            dns_names: vec!["localhost".to_owned()],
            created_at: self.clock.now(),
            revokes_forks: false,
            recovery_limit: None,
        };
        self.store.create_entry(entry, by(self.clock.now())).await.unwrap();
        let entry = self.store.entry(&id).await.unwrap().unwrap();
        let issuer = "spiffe://market.example/avouch/issuer".parse().unwrap();
        let bundle = self.issuance.trust.current();
        let made = create_token(&*self.store, &entry, None, &issuer, &bundle, by(self.clock.now())).await;
        made.unwrap().unwrap().0
    }

    async fn enroll(&self, token: &JoinToken, csr: &[u8]) -> Result<Grant, IssueError> {
        self.issuance
            .enroll(&Evidence::JoinToken(Zeroizing::new(token.secret().to_owned())), csr, here())
            .await
    }
}

fn csr() -> Vec<u8> {
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertificateParams::default().serialize_request(&key).unwrap().der().to_vec()
}

#[tokio::test]
async fn while_the_store_cannot_commit_nothing_is_handed_out_or_spent_and_afterwards_it_works() {
    let bench = bench().await;
    let (token, csr) = (bench.token().await, csr());
    bench.store.fail(true);
    for _ in 0..3 {
        let error = bench.enroll(&token, &csr).await.unwrap_err();
        assert_eq!(error.reason(), Reason::StoreUnavailable);
    }
    bench.store.fail(false);
    assert!(bench.store.certificates(CertificateFilter::default(), Page::all()).await.unwrap().is_empty());
    let grant = bench.enroll(&token, &csr).await.unwrap();
    let rows = bench.store.certificates(CertificateFilter::default(), Page::all()).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].serial, grant.issued.serial());
    assert_eq!(grant.issued.leaf().dns_names(), ["localhost"]);
}

#[tokio::test]
async fn an_svid_never_outlives_the_signing_authority() {
    let bench = bench().await;
    let token = bench.token().await;
    let end = bench.issuance.authorities.signing().not_after();
    bench.clock.set(end - Duration::from_secs(7));
    // The token has ended in the meantime; a new one is needed, as is a new key.
    let entry = bench.store.entries(Page::all()).await.unwrap().remove(0);
    let bundle = bench.issuance.trust.current();
    let now = bench.clock.now();
    let made = create_token(&*bench.store, &entry, None, token.issuer(), &bundle, by(now)).await;
    let token = made.unwrap().unwrap().0;
    let grant = bench.enroll(&token, &csr()).await.unwrap();
    assert!(grant.issued.not_after() <= end);
    bench.clock.set(end + Duration::from_secs(1));
    assert_eq!(bench.enroll(&token, &csr()).await.unwrap_err().reason(), Reason::JoinTokenAlreadyUsed);
    let made =
        create_token(&*bench.store, &entry, None, token.issuer(), &bundle, by(bench.clock.now())).await;
    let late = bench.enroll(&made.unwrap().unwrap().0, &csr()).await.unwrap_err();
    assert_eq!(late.reason(), Reason::NotReady, "{late}");
}

#[tokio::test]
async fn the_issuers_own_certificate_is_on_record_and_carries_the_root() {
    let bench = bench().await;
    let id = "market.example".parse::<avouch_spiffe::TrustDomain>().unwrap().issuer_id();
    let svid = crate::self_issue::issue(&bench.issuance, &id).await.unwrap();
    assert_eq!(svid.chain().len(), 3);
    assert_eq!(svid.chain()[2].as_ref(), bench.issuance.authorities.root().der());
    let rows = bench.store.certificates(CertificateFilter::default(), Page::all()).await.unwrap();
    assert_eq!((rows[0].origin, rows[0].entry, &rows[0].spiffe_id), (Origin::SelfIssued, None, &id));
}

/// Three certificates, the last two of which a restored backup does not know; the clock is at the restore.
async fn restored(bench: &Bench) -> [PeerIdentity; 3] {
    let token = bench.token().await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        bench.clock.advance(Duration::from_millis(1_000));
        let grant = match peers.last() {
            None => bench.enroll(&token, &csr()).await,
            Some(peer) => bench.issuance.renew(peer, &csr(), here()).await,
        };
        let leaf = grant.unwrap().issued.leaf().clone();
        peers.push(PeerIdentity::from_leaf(&leaf, b""));
    }
    for lost in peers.iter().skip(1) {
        bench.store.forget(lost.serial()).await;
    }
    peers.try_into().unwrap()
}

#[tokio::test]
async fn who_got_a_certificate_after_the_backup_renews_at_the_restored_issuer() {
    let bench = bench().await;
    let [kept, lost, newest] = restored(&bench).await;
    for peer in [&lost, &newest] {
        let refused = bench.issuance.renew(peer, &csr(), here()).await.unwrap_err();
        assert_eq!(refused.reason(), Reason::NoMatchingEntry, "no start says that anything may be lost");
    }
    bench.clock.advance(Duration::from_secs(1));
    bench.store.record_startup(bench.clock.now()).await.unwrap();
    for peer in [&kept, &lost, &newest] {
        let grant = bench.issuance.renew(peer, &csr(), here()).await.unwrap();
        assert!(bench.store.certificate(grant.issued.serial()).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_on_record_and_of_no_time_that_is_lost_is_refused() {
    let bench = bench().await;
    let [_, lost, _] = restored(&bench).await;
    bench.store.record_startup(bench.clock.now()).await.unwrap();
    bench.clock.advance(Duration::from_secs(5));
    // Made after the start: by whoever has stolen the key, since ours are all on record.
    let forged = unrecorded(&bench, &lost);
    let refused = bench.issuance.renew(&forged, &csr(), here()).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::NoMatchingEntry);
    // And for an identity that is no longer registered nothing is issued, lost or not.
    bench.store.delete_entry(lost.spiffe_id(), by(bench.clock.now())).await.unwrap();
    let refused = bench.issuance.renew(&lost, &csr(), here()).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::NoMatchingEntry);
}

/// A certificate of the same identity, signed now and never recorded.
fn unrecorded(bench: &Bench, like: &PeerIdentity) -> PeerIdentity {
    let request = Request::for_csr(&Csr::parse(&csr()).unwrap(), like.spiffe_id().clone()).unwrap();
    let issued = bench.issuance.sign(request.lifetime(Duration::from_secs(20)), bench.clock.now()).unwrap();
    PeerIdentity::from_leaf(issued.leaf(), b"")
}

/// An enrolled peer, as a connection keeps it that was opened with its certificate.
async fn connected(bench: &Bench) -> PeerIdentity {
    let token = bench.token().await;
    let grant = bench.enroll(&token, &csr()).await.unwrap();
    PeerIdentity::from_leaf(grant.issued.leaf(), b"")
}

#[tokio::test]
async fn over_a_connection_that_has_outlived_its_certificate_nothing_is_renewed() {
    let bench = bench().await;
    let peer = connected(&bench).await;
    bench.clock.set(peer.not_after() + Duration::from_millis(999));
    bench.issuance.renew(&peer, &csr(), here()).await.expect("the last second counts");
    let issued = bench.store.certificates(CertificateFilter::default(), Page::all()).await.unwrap().len();
    for late in [Duration::from_secs(1), Duration::from_secs(3_000), Duration::from_secs(30 * 86_400)] {
        bench.clock.set(peer.not_after() + late);
        let refused = bench.issuance.renew(&peer, &csr(), here()).await.unwrap_err();
        assert_eq!(refused.reason(), Reason::CertExpired, "{late:?}");
        assert!(refused.to_string().ends_with("its holder has to recover"), "{refused}");
    }
    assert_eq!(
        bench.store.certificates(CertificateFilter::default(), Page::all()).await.unwrap().len(),
        issued
    );
}

#[tokio::test]
async fn a_certificate_that_a_clock_put_back_makes_not_yet_valid_renews_nothing_until_it_is() {
    let bench = bench().await;
    let peer = connected(&bench).await;
    bench.clock.set(peer.not_before() - Duration::from_secs(1));
    let refused = bench.issuance.renew(&peer, &csr(), here()).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::CertNotYetValid);
    bench.clock.set(peer.not_before());
    bench.issuance.renew(&peer, &csr(), here()).await.unwrap();
}

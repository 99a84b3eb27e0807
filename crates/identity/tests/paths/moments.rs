//! The first and the last second of a certificate, at a clock that stands still.

use std::time::{Duration, SystemTime};

use avouch_identity::spiffe::{Bundle, BundleSet, Reason};
use avouch_identity::{Rejection, TrustStore};
use rustls::pki_types::CertificateDer;

use crate::support::domain;
use crate::world::{Shown, World, nothing};

const HOUR: u64 = 3600;

fn at(world: &World, offset: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs((world.now + offset).unsigned_abs())
}

fn verdict(shown: &Shown, now: SystemTime) -> Result<(), Rejection> {
    let bundle = Bundle::from_ders(domain(), &shown.roots, 1).expect("a bundle");
    let store = TrustStore::new([bundle].into_iter().collect::<BundleSet>());
    let chain: Vec<_> = shown.chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    store.verify(&chain, None, now).map(|_| ())
}

#[test]
fn a_chain_holds_from_the_first_second_of_its_youngest_to_the_last_of_its_oldest() {
    let world = World::new().expect("a world");
    let hour = i64::try_from(HOUR).expect("an hour");
    let short: [fn(&World) -> Shown; 3] = [
        |w| w.changed(|leaf| (leaf.not_before, leaf.not_after) = (w.now - 10, w.now + 10)).expect("a leaf"),
        |w| {
            w.below_changed(|ca| (ca.not_before, ca.not_after) = (w.now - 10, w.now + 10))
                .expect("an authority")
        },
        |w| {
            w.root_changed(|root| (root.not_before, root.not_after) = (w.now - 10, w.now + 10))
                .expect("a root")
        },
    ];
    for make in short {
        let shown = make(&world);
        for offset in [-10, 0, 10] {
            verdict(&shown, at(&world, offset)).expect("within its dates");
        }
        for (offset, reason) in [
            (-hour, Reason::CertNotYetValid),
            (-11, Reason::CertNotYetValid),
            (11, Reason::CertExpired),
            (hour, Reason::CertExpired),
        ] {
            let refused = verdict(&shown, at(&world, offset)).expect_err("outside its dates");
            assert_eq!(refused.reason(), reason, "{offset}: {refused}");
            assert!(refused.detail().ends_with("by this machine's clock"), "{offset}: {refused}");
        }
    }
    verdict(&world.changed(nothing).expect("a leaf"), at(&world, 0)).expect("right");
}

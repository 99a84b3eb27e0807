//! Verifies the chain of a client, on one thread and without any connection, under bundles of growing size.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, SystemTime};

use avouch_identity::TrustStore;
use avouch_spiffe::{Bundle, BundleSet};
use avouch_testkit::ca::{Ca, ca_params, domain, id, leaf_params, year};
use avouch_time::clock;
use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::{Commands, say};
use crate::clock::thread_cpu;
use crate::error::Error;

/// The name of the role.
pub const NAME: &str = "verify";

/// What the other roots of the bundle are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Names {
    /// Each has a subject of its own.
    Different,
    /// All have the subject of the chain's own root, so that only the signature tells which it is.
    Same,
}

/// A command: to verify a chain.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Work {
    /// Roots in the bundle; the chain's own is the last.
    pub roots: usize,
    /// What the others are called.
    pub names: Names,
    /// For how long, in milliseconds of CPU time.
    pub milliseconds: u64,
}

/// What it took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Done {
    /// Microseconds of CPU time to verify a chain.
    pub microseconds: f64,
}

/// The role has no options.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Options {}

/// Verifies as it is told until the input ends.
///
/// # Errors
/// When the chain is rejected, or a command is none.
pub async fn run(_: Options) -> Result<(), Error> {
    let ca = Ca::new();
    let (chain, _) = ca.sign(&leaf_params(id("/client").as_str(), year()));
    let now = clock::system().now();
    let mut stores = HashMap::new();
    let mut commands = Commands::default();
    while let Some(work) = commands.next::<Work>().await? {
        let store = match stores.entry((work.roots, work.names)) {
            std::collections::hash_map::Entry::Occupied(there) => there.into_mut(),
            std::collections::hash_map::Entry::Vacant(free) => free.insert(store(&ca, work)?),
        };
        say(&Done { microseconds: time(store, &chain, now, Duration::from_millis(work.milliseconds))? })?;
    }
    Ok(())
}

/// A bundle of so many roots, of which the CA's is the last.
fn store(ca: &Ca, work: Work) -> Result<TrustStore, Error> {
    let root = |number| {
        let name = match work.names {
            Names::Different => format!("test root {number}"),
            Names::Same => "test root".to_owned(),
        };
        let root = KeyPair::generate().and_then(|key| ca_params(&name, year()).self_signed(&key));
        root.map(|root| root.der().to_vec()).map_err(|error| Error::other(error.to_string()))
    };
    let others: Result<Vec<_>, _> = (1..work.roots).map(root).collect();
    let roots: Vec<_> = others?.into_iter().chain([ca.root.to_vec()]).collect();
    let bundle = Bundle::from_ders(domain(), &roots, 1).map_err(|error| Error::other(error.to_string()))?;
    let mut bundles = BundleSet::new();
    bundles.insert(bundle);
    Ok(TrustStore::new(bundles))
}

fn time(
    store: &TrustStore,
    chain: &[CertificateDer<'_>],
    now: SystemTime,
    time: Duration,
) -> Result<f64, Error> {
    let domain = domain();
    let verify = || {
        let verified = black_box(store).verify(black_box(chain), Some(&domain), now);
        verified.map(drop).map_err(|rejection| Error::other(format!("rejected: {}", rejection.detail())))
    };
    verify()?;
    let (began, mut verified) = (thread_cpu(), 0_u32);
    loop {
        verify()?;
        verified = verified.saturating_add(1);
        let spent = thread_cpu().saturating_sub(began);
        if spent >= time {
            return Ok(spent.as_secs_f64() * 1e6 / f64::from(verified));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_accepted_whatever_the_other_roots_are_called() {
        let ca = Ca::new();
        let (chain, _) = ca.sign(&leaf_params(id("/client").as_str(), year()));
        for names in [Names::Different, Names::Same] {
            let store = store(&ca, Work { roots: 3, names, milliseconds: 0 }).unwrap();
            assert_eq!(store.bundles().iter().next().unwrap().authorities().len(), 3);
            assert!(time(&store, &chain, clock::system().now(), Duration::ZERO).unwrap() > 0.0);
        }
    }
}

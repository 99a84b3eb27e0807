//! Trust bundles, as the JSON of the SPIFFE format and as a bare certificate inside of it. What is taken survives being
//! written, and holds nothing that may not sign.

use avouch_identity::TrustStore;
use avouch_spiffe::{Bundle, BundleSet};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Outcome;
use crate::oracle::Certificate;
use crate::world;

pub(super) const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "null",
    "\"keys\"",
    "\"use\"",
    "\"x509-svid\"",
    "\"jwt-svid\"",
    "\"kty\"",
    "\"EC\"",
    "\"RSA\"",
    "\"OKP\"",
    "\"x5c\"",
    "\"spiffe_sequence\"",
    "\"spiffe_refresh_hint\"",
    "18446744073709551615",
    "18446744073709551616",
    "-1",
    "0",
    "1.5",
    "1e99",
    "MII",
    "=",
    "\\u0000",
];

pub(super) fn run(data: &[u8]) -> Outcome {
    let x5c = STANDARD.encode(data);
    let wrapped = format!(r#"{{"keys":[{{"use":"x509-svid","kty":"EC","x5c":["{x5c}"]}}]}}"#);
    judge(wrapped.as_bytes());
    judge(data)
}

fn judge(json: &[u8]) -> Outcome {
    let parsed = Bundle::from_json(world::domain(), json);
    if let Ok(bundle) = &parsed {
        assert_eq!(*bundle.trust_domain(), world::domain());
        let written = bundle.to_json();
        assert_eq!(Bundle::from_json(world::domain(), written.as_bytes()).as_ref(), Ok(bundle), "{written}");
        for authority in bundle.authorities() {
            let read = Certificate::read(authority.der());
            let broken = read.as_ref().map(|read| read.no_authority(0, authority.not_before()));
            // A trust anchor is trusted by its key and name: its serial number and own signature are nobody's business.
            let forgiven =
                ["serial number not positive", "serial number too long", "two signature algorithms"];
            let broken = broken.flatten().filter(|broken| !forgiven.contains(broken));
            assert_eq!(broken, None);
        }
        let mut bundles = BundleSet::new();
        bundles.insert(bundle.clone());
        let refused = TrustStore::new(bundles).verify(&[], None, world::now());
        assert!(refused.is_err());
    }
    Outcome::from(&parsed)
}

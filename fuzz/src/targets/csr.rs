//! A certificate signing request → a certificate. The input is one PKCS#10 request.
//!
//! It is read as it is, and again with its content carrying and signed by a live key. Of what is accepted only the
//! public key may reach the certificate, and the certificate must be the SVID that the entry says.

use std::sync::OnceLock;

use avouch_issuance::{
    Csr, PrivateKey, Profiles, Request, Root, SigningAuthority, SvidProfile, SystemEntropy,
};
use avouch_spiffe::SpiffeId;
use aws_lc_rs::signature::{self, UnparsedPublicKey};

use super::Outcome;
use crate::der::{self, Tlv};
use crate::oracle::{Certificate, SUBJECT_ALT_NAME, curve_and_point, uris};
use crate::world::{self, Key, now};

/// Whom every request would be issued to.
const ENTITLED: &str = "spiffe://market.example/orders";
/// `extensionRequest`.
const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e];

pub(super) fn run(data: &[u8]) -> Outcome {
    if let Some(again) = signed_again(data) {
        judge(&again);
    }
    judge(data)
}

fn requester() -> &'static Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(Key::new)
}

/// The request's content with the live key in the place of its own, signed by it.
fn signed_again(data: &[u8]) -> Option<Vec<u8>> {
    let (outer, _) = der::first(data)?;
    let (info, _) = der::first(outer.value)?;
    let parts = der::inside(info.raw, der::SEQUENCE)?;
    let key = requester();
    let raw = |(at, part): (usize, &Tlv<'_>)| if at == 2 { key.spki.clone() } else { part.raw.to_vec() };
    let parts: Vec<u8> = parts.iter().enumerate().flat_map(raw).collect();
    Some(key.signed(&der::tlv(der::SEQUENCE, &parts), &world::ecdsa_sha256()))
}

fn judge(data: &[u8]) -> Outcome {
    let parsed = Csr::parse(data);
    if let Ok(csr) = &parsed {
        let read = Reading::of(data);
        assert!(read.is_some(), "a request that a second reading cannot read");
        if let Some(read) = read {
            assert_eq!(csr.spki_der(), read.spki, "another public key");
            assert!(read.is_signed_by_its_key(), "no proof of possession");
            let named: Vec<&[u8]> = csr.spiffe_id().iter().map(|id| id.as_str().as_bytes()).collect();
            assert!(read.uris.is_none_or(|uris| uris == named), "another identity than {named:?}");
        }
        issue(csr);
    }
    Outcome::from(&parsed)
}

/// A request, read a second time.
struct Reading<'a> {
    info: &'a [u8],
    spki: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    /// The URIs that it asks for; `None` where its attributes are not quite what they should be. Then it is enough that
    /// nothing but the key is used.
    uris: Option<Vec<&'a [u8]>>,
}

impl<'a> Reading<'a> {
    fn of(data: &'a [u8]) -> Option<Self> {
        let [info, algorithm, signature] = der::inside(data, der::SEQUENCE)?.try_into().ok()?;
        let [version, _subject, spki, attributes @ ..] = &der::inside(info.raw, der::SEQUENCE)?[..] else {
            return None;
        };
        let [0, signature @ ..] = der::only(signature.raw, der::BIT_STRING)?.value else { return None };
        let attributes =
            attributes.first().map_or(Some(Vec::new()), |attributes| der::all(attributes.value))?;
        let uris = attributes.iter().map(requested_names).collect::<Option<Vec<_>>>();
        let uris = uris.map(|uris| uris.concat());
        let (spki, algorithm) = (spki.raw, algorithm.raw);
        (version.value == [0]).then_some(Self { info: info.raw, spki, algorithm, signature, uris })
    }

    fn is_signed_by_its_key(&self) -> bool {
        let Some((_, point)) = curve_and_point(self.spki) else { return false };
        let named = der::inside(self.algorithm, der::SEQUENCE).unwrap_or_default();
        let hash = named.first().and_then(|oid| oid.value.last());
        let algorithm = match (point.len(), hash) {
            (65, Some(2)) => &signature::ECDSA_P256_SHA256_ASN1,
            (65, Some(3)) => &signature::ECDSA_P256_SHA384_ASN1,
            (65, Some(4)) => &signature::ECDSA_P256_SHA512_ASN1,
            (97, Some(2)) => &signature::ECDSA_P384_SHA256_ASN1,
            (97, Some(3)) => &signature::ECDSA_P384_SHA384_ASN1,
            (97, Some(4)) => &signature::ECDSA_P384_SHA512_ASN1,
            _ => return false,
        };
        UnparsedPublicKey::new(algorithm, point).verify(self.info, self.signature).is_ok()
    }
}

/// The URIs that one attribute asks for.
fn requested_names<'a>(attribute: &Tlv<'a>) -> Option<Vec<&'a [u8]>> {
    let [kind, values] = der::inside(attribute.raw, der::SEQUENCE)?.try_into().ok()?;
    if kind.value != EXTENSION_REQUEST {
        return Some(Vec::new());
    }
    let [extensions] = der::inside(values.raw, der::SET)?.try_into().ok()?;
    let mut found = Vec::new();
    for extension in der::inside(extensions.raw, der::SEQUENCE)? {
        let parts = der::inside(extension.raw, der::SEQUENCE)?;
        let (oid, value) = match parts.as_slice() {
            [oid, value] => (oid, value),
            [oid, critical, value] if critical.tag == der::BOOLEAN => (oid, value),
            _ => return None,
        };
        if oid.value == SUBJECT_ALT_NAME {
            found.extend(uris(value.value)?);
        }
    }
    Some(found)
}

struct Ca {
    profile: SvidProfile,
    authority: SigningAuthority,
}

#[expect(clippy::expect_used, reason = "nothing can be tested without an authority")]
fn ca() -> &'static Ca {
    static CA: OnceLock<Ca> = OnceLock::new();
    CA.get_or_init(|| {
        let profiles = Profiles::embedded().expect("profiles");
        let key = || PrivateKey::generate().expect("a key");
        let root =
            Root::create(&world::domain(), &profiles.root, key(), now(), &SystemEntropy).expect("a root");
        let authority =
            SigningAuthority::create(&root, &profiles.signing_authority, key(), now(), &SystemEntropy)
                .expect("an authority");
        Ca { profile: profiles.svid, authority }
    })
}

/// Issues to whoever [`ENTITLED`] is, and looks at what came out.
#[expect(clippy::expect_used, reason = "a property: what was parsed and fits its entry can be issued")]
fn issue(csr: &Csr) {
    let ca = ca();
    let entitled: SpiffeId = ENTITLED.parse().expect("an ID");
    let somebody_else = csr.spiffe_id().is_some_and(|id| *id != entitled);
    let request = Request::for_csr(csr, entitled);
    assert_eq!(request.is_err(), somebody_else, "{request:?}");
    let Ok(request) = request else { return };
    let checked = request.check(&ca.profile, &ca.authority, now(), &SystemEntropy).expect("checked");
    let issued = checked.sign(&ca.authority).expect("issued");
    let leaf = issued.chain().first().and_then(|der| Certificate::read(der)).expect("a certificate");
    assert_eq!(leaf.no_svid_of(ENTITLED, now()), None);
    assert_eq!(leaf.spki, csr.spki_der());
    assert!(leaf.is_signed_by(ca.authority.certificate().spki_der()));
    assert!(issued.leaf().dns_names().is_empty() && issued.leaf().subject().is_empty());
}

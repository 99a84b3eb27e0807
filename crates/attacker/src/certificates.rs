//! The certificates that must be rejected, each with a name and the reason that it must be rejected for.
//!
//! All but a few are signed by the authority that the other side trusts. Each has exactly one fault, and
//! [`Workshop::right`] shows that a certificate without it is accepted.

use std::path::Path;

use crate::Error;
use crate::der;
use crate::forge::{Authority, Credentials, Draft, Extension, Key, ce, ecdsa_sha1, purpose, rsa_spki, usage};

/// The material for forgeries: the authorities that the other side trusts, and the identity that a forgery claims.
#[derive(Debug)]
pub struct Workshop {
    /// The root of the bundle.
    pub root: Authority,
    /// The authority below it that signs workloads.
    pub signing: Authority,
    /// The trust domain.
    pub trust_domain: String,
    /// The path of the identity that is claimed, with its slash.
    pub path: String,
    /// The attacker's clock.
    pub now: i64,
}

/// A certificate, or the lack of one, that must be rejected.
#[derive(Clone, Copy)]
pub struct Attack {
    /// Its name.
    pub name: &'static str,
    /// The reason in the record of the side that refuses.
    pub reason: &'static str,
    /// What the record's detail has to name.
    pub names: &'static str,
    /// Makes what is shown.
    pub forge: fn(&Workshop) -> Result<Credentials, Error>,
}

impl std::fmt::Debug for Attack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attack")
            .field("name", &self.name)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

const HOUR: i64 = 3600;

impl Workshop {
    /// A workshop with newly made authorities, which nobody trusts yet.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn new(trust_domain: &str, path: &str) -> Result<Self, Error> {
        let now = crate::now();
        let root = Authority::root("a root of the attacker's tests", now)?;
        let signing = root.below("an authority of the attacker's tests", now, |_| ())?;
        Ok(Self { root, signing, trust_domain: trust_domain.to_owned(), path: path.to_owned(), now })
    }

    /// A workshop with the authorities of an issuer whose data directory can be read.
    ///
    /// # Errors
    /// When it can't, or holds something else.
    pub fn stolen(data: &Path, trust_domain: &str, path: &str) -> Result<Self, Error> {
        let read = |name: &str| {
            std::fs::read_to_string(data.join(name)).map_err(|error| format!("the issuer's {name}: {error}"))
        };
        let signing = read("signing.pem")?;
        Ok(Self {
            root: Authority::stolen(&read("root.crt")?, &read("root.key")?)?,
            signing: Authority::stolen(&signing, &signing)?,
            trust_domain: trust_domain.to_owned(),
            path: path.to_owned(),
            now: crate::now(),
        })
    }

    /// The SPIFFE ID that is claimed.
    #[must_use]
    pub fn claimed(&self) -> String {
        format!("spiffe://{}{}", self.trust_domain, self.path)
    }

    /// Credentials without fault.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn right(&self) -> Result<Credentials, Error> {
        self.leaf(|_| ())
    }

    /// Credentials signed by the trusted authority, with one thing changed in the leaf.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn leaf(&self, change: impl FnOnce(&mut Draft)) -> Result<Credentials, Error> {
        self.leaf_below(&self.signing, &[&self.signing], change)
    }

    /// Credentials signed by `issuer`, presented with the certificates of `chain` above the leaf.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn leaf_below(
        &self,
        issuer: &Authority,
        chain: &[&Authority],
        change: impl FnOnce(&mut Draft),
    ) -> Result<Credentials, Error> {
        let key = Key::generate()?;
        let mut draft = Draft::svid(&self.claimed(), &key, self.now);
        change(&mut draft);
        let leaf = draft.signed_by(issuer)?;
        Credentials::new(
            chain.iter().fold(vec![leaf], |chain, above| [chain, vec![above.der.clone()]].concat()),
            &key,
        )
    }

    fn uris(&self, uris: &[&str]) -> Result<Credentials, Error> {
        self.leaf(|leaf| leaf.set(Extension::uris(uris)))
    }

    fn usage(&self, octet: u8) -> Result<Credentials, Error> {
        self.leaf(|leaf| leaf.set(Extension::key_usage(octet)))
    }

    fn purposes(&self, purposes: &[u8]) -> Result<Credentials, Error> {
        self.leaf(|leaf| leaf.set(Extension::purposes(purposes)))
    }

    /// A leaf below an intermediate of its own, which is below the root, with one thing changed in it.
    fn below(&self, change: impl FnOnce(&mut Draft)) -> Result<Credentials, Error> {
        let intermediate = self.root.below("an intermediate", self.now, change)?;
        self.leaf_below(&intermediate, &[&intermediate], |_| ())
    }

    /// A chain of authorities below the trusted one, and a leaf below the last.
    fn deep(&self, authorities: usize) -> Result<Credentials, Error> {
        let mut chain: Vec<Authority> = Vec::new();
        for at in 0..authorities {
            let above = chain.last().unwrap_or(&self.root);
            let next = above.below(&format!("authority {at}"), self.now, |_| ())?;
            chain.push(next);
        }
        let last = chain.last().unwrap_or(&self.root);
        let presented: Vec<&Authority> = chain.iter().rev().collect();
        self.leaf_below(last, &presented, |_| ())
    }
}

/// The other CA has the same names all the way up, and keys of its own.
fn namesake(it: &Workshop) -> Result<Credentials, Error> {
    let mut root = Authority::root("", it.now)?;
    root.name.clone_from(&it.root.name);
    let signing = root.below("", it.now, |draft| draft.subject.clone_from(&it.signing.name))?;
    it.leaf_below(&signing, &[&signing], |_| ())
}

fn self_signed(it: &Workshop) -> Result<Credentials, Error> {
    let key = Key::generate()?;
    let mut draft = Draft::svid(&it.claimed(), &key, it.now);
    draft.subject = der::name("self-made");
    let leaf = draft.signed_as(&der::name("self-made"), &key)?;
    Credentials::new(vec![leaf], &key)
}

fn another_ca(it: &Workshop) -> Result<Credentials, Error> {
    let root = Authority::root("somebody else's root", it.now)?;
    it.leaf_below(&root, &[&root], |_| ())
}

/// A leaf, signed by the key of another leaf that is a good one.
fn signed_by_a_leaf(it: &Workshop) -> Result<Credentials, Error> {
    let key = Key::generate()?;
    let mut middle = Draft::svid(&it.claimed(), &key, it.now);
    middle.subject = der::name("a workload that plays the CA");
    let der = middle.signed_by(&it.signing)?;
    let middle = Authority { name: middle.subject, key, der };
    it.leaf_below(&middle, &[&middle, &it.signing], |_| ())
}

fn path_too_long(it: &Workshop) -> Result<Credentials, Error> {
    let bounded = it
        .root
        .below("an authority for leaves only", it.now, |ca| ca.set(Extension::constraints(true, Some(0))))?;
    let below = bounded.below("an authority too many", it.now, |_| ())?;
    it.leaf_below(&below, &[&below, &bounded], |_| ())
}

/// The signing certificate itself, which never authenticates; the attacker has its key.
fn signing_certificate(it: &Workshop) -> Result<Credentials, Error> {
    Credentials::new(vec![it.signing.der.clone()], &it.signing.key)
}

/// A good certificate, without its key.
fn without_its_key(it: &Workshop) -> Result<Credentials, Error> {
    let stolen = it.right()?;
    Ok(Credentials { key: Key::generate()?.private()?, ..stolen })
}

fn mangled(it: &Workshop) -> Result<Credentials, Error> {
    let mut right = it.right()?;
    if let Some(leaf) = right.chain.first_mut() {
        let cut = leaf.len() - 7;
        *leaf = leaf.get(..cut).unwrap_or_default().to_vec().into();
    }
    Ok(right)
}

fn bare(it: &Workshop) -> Result<Credentials, Error> {
    it.leaf_below(&it.signing, &[], |_| ())
}

macro_rules! attacks {
    ($($name:literal $reason:literal $names:literal $forge:expr;)*) => {
        &[$(Attack { name: $name, reason: $reason, names: $names, forge: $forge },)*]
    };
}

/// All forged certificates.
pub const ATTACKS: &[Attack] = attacks! {
    // Faults of the chain and its signatures.
    "self-signed" "CERT_UNTRUSTED" "signed itself" self_signed;
    "another CA" "CERT_UNTRUSTED" "not a trust anchor" another_ca;
    "another CA with the same names" "CERT_UNTRUSTED" "was not signed by the trusted" namesake;
    "missing intermediate" "CHAIN_INCOMPLETE" "was not presented" bare;
    "signed by a leaf" "CERT_UNTRUSTED" "that is no CA signed another" signed_by_a_leaf;
    "path length exceeded" "CERT_UNTRUSTED" "path length" path_too_long;
    "an authority for other names" "CERT_UNTRUSTED" "permits only the URI" |it| {
        it.below(|ca| ca.set(Extension::permitted_uris("elsewhere.example")))
    };
    "stolen, without its key" "CERT_SIGNATURE_INVALID" "" without_its_key;
    "the signing certificate itself" "SVID_INVALID" "4.1" signing_certificate;
    // Faults of the validity period.
    "expired" "CERT_EXPIRED" "leaf certificate" |it| it.leaf(|leaf| {
        leaf.not_before = it.now - 2 * HOUR;
        leaf.not_after = it.now - 60;
    });
    "not yet valid" "CERT_NOT_YET_VALID" "leaf certificate" |it| it.leaf(|leaf| leaf.not_before = it.now + HOUR / 2);
    "expired intermediate" "CERT_EXPIRED" "intermediate certificate 1" |it| it.below(|ca| {
        ca.not_before = it.now - 2 * HOUR;
        ca.not_after = it.now - 60;
    });
    // Faults of the identity.
    "foreign trust domain" "TRUST_DOMAIN_UNKNOWN" "evil.example" |it| it.uris(&["spiffe://evil.example/payments"]);
    "a trust domain that begins alike" "TRUST_DOMAIN_UNKNOWN" ".evil" |it| {
        it.uris(&[&format!("spiffe://{}.evil{}", it.trust_domain, it.path)])
    };
    "two URI SANs" "SVID_INVALID" "2 URIs" |it| it.uris(&[&it.claimed(), "spiffe://evil.example/x"]);
    "the same URI SAN twice" "SVID_INVALID" "2 URIs" |it| it.uris(&[&it.claimed(), &it.claimed()]);
    "a URI SAN that is not SPIFFE" "SVID_INVALID" "not a SPIFFE ID" |it| {
        it.uris(&[&format!("https://{}{}", it.trust_domain, it.path)])
    };
    "no SPIFFE ID" "SVID_INVALID" "no URI" |it| it.leaf(|leaf| leaf.set(Extension::dns("payments.market.example")));
    "no alternative name at all" "SVID_INVALID" "no URI" |it| it.leaf(|leaf| leaf.remove(ce::SAN));
    "an ID without a path" "SVID_INVALID" "no path" |it| it.uris(&[&format!("spiffe://{}", it.trust_domain)]);
    "an upper-case trust domain" "SVID_INVALID" "lower case" |it| {
        it.uris(&[&format!("spiffe://{}{}", it.trust_domain.to_uppercase(), it.path)])
    };
    "an ID with a dot segment" "SVID_INVALID" "not a SPIFFE ID" |it| {
        it.uris(&[&format!("spiffe://{}/x/..{}", it.trust_domain, it.path)])
    };
    // Faults of the permitted uses.
    "a CA as a leaf" "SVID_INVALID" "4.1" |it| it.leaf(|leaf| leaf.set(Extension::constraints(true, None)));
    "a leaf with keyCertSign" "SVID_INVALID" "sign certificates" |it| {
        it.usage(usage::DIGITAL_SIGNATURE | usage::KEY_CERT_SIGN)
    };
    "a leaf with cRLSign" "SVID_INVALID" "revocation lists" |it| it.usage(usage::DIGITAL_SIGNATURE | usage::CRL_SIGN);
    "no digitalSignature" "SVID_INVALID" "digitalSignature" |it| it.usage(usage::KEY_AGREEMENT);
    "no key usage" "SVID_INVALID" "no key usage" |it| it.leaf(|leaf| leaf.remove(ce::KEY_USAGE));
    "for code signing" "CERT_PURPOSE_INVALID" "4.4" |it| it.purposes(&[purpose::CODE_SIGNING]);
    "for clients only" "CERT_PURPOSE_INVALID" "4.4" |it| it.purposes(&[purpose::CLIENT_AUTH]);
    "for servers only" "CERT_PURPOSE_INVALID" "4.4" |it| it.purposes(&[purpose::SERVER_AUTH]);
    "for any purpose" "CERT_PURPOSE_INVALID" "4.4" |it| it.leaf(|leaf| {
        let any = der::sequence(&[der::oid(&[0x55, 0x1d, 0x25, 0])]);
        leaf.set(Extension::ce(ce::EXTENDED_KEY_USAGE, false, any));
    });
    "no extended key usage" "CERT_PURPOSE_INVALID" "4.4" |it| it.leaf(|leaf| leaf.remove(ce::EXTENDED_KEY_USAGE));
    // Faults of extensions, algorithms and encoding.
    "unknown critical extension in the leaf" "SVID_INVALID" "leaf certificate: unknown critical extension 1.3.6.1.4.1.99999.7"
        |it| it.leaf(|leaf| leaf.set(Extension::unheard_of(true, 1)));
    "unknown critical extension in the intermediate" "CERT_UNTRUSTED"
        "intermediate certificate 1: unknown critical extension 1.3.6.1.4.1.99999.7"
        |it| it.below(|ca| ca.set(Extension::unheard_of(true, 1)));
    "weak RSA" "CERT_ALGORITHM_REFUSED" "RSA 1024" |it| it.leaf(|leaf| leaf.spki = rsa_spki(1024));
    "a weak RSA authority" "CERT_ALGORITHM_REFUSED" "intermediate certificate 1" |it| {
        it.below(|ca| ca.spki = rsa_spki(1024))
    };
    "an RSA key of 16384 bits" "CERT_ALGORITHM_REFUSED" "RSA 16384" |it| it.leaf(|leaf| leaf.spki = rsa_spki(16_384));
    "signed with SHA-1" "CERT_ALGORITHM_REFUSED" "" |it| it.leaf(|leaf| {
        leaf.inner_algorithm = ecdsa_sha1();
        leaf.outer_algorithm = ecdsa_sha1();
    });
    "serial number zero" "SVID_INVALID" "serial number" |it| it.leaf(|leaf| leaf.serial = vec![0]);
    "a negative serial number" "SVID_INVALID" "serial number" |it| it.leaf(|leaf| leaf.serial = vec![0x80, 1]);
    "a serial number of 21 octets" "SVID_INVALID" "20 octets" |it| it.leaf(|leaf| leaf.serial = vec![0x11; 21]);
    "an alternative name that is not critical" "SVID_INVALID" "not critical" |it| it.leaf(|leaf| {
        if let Some(san) = leaf.extensions.first_mut() {
            san.critical = false;
        }
    });
    "chain too deep" "CERT_CHAIN_TOO_DEEP" "6 certificates" |it| it.deep(5);
    "certificate too large" "CERT_TOO_LARGE" "bytes presented" |it| {
        it.leaf(|leaf| leaf.set(Extension::unheard_of(false, 17_000)))
    };
    "cut off" "CERT_MALFORMED" "" mangled;
    "version 1" "CERT_MALFORMED" "" |it| it.leaf(|leaf| leaf.version = 1);
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_attack_has_a_name_of_its_own_and_can_be_made() {
        let workshop = Workshop::new("market.example", "/payments").unwrap();
        let names: BTreeSet<_> = ATTACKS.iter().map(|attack| attack.name).collect();
        assert_eq!(names.len(), ATTACKS.len());
        for attack in ATTACKS {
            let made = (attack.forge)(&workshop).unwrap();
            assert!(!made.chain.is_empty(), "{attack:?}");
        }
    }

    #[test]
    fn what_was_stolen_signs_under_the_name_of_its_certificate() {
        let workshop = Workshop::new("market.example", "/payments").unwrap();
        assert_eq!(der::subject(&workshop.signing.der).unwrap(), workshop.signing.name);
    }
}

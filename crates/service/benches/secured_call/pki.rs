//! Certificates for both cases: a root, an authority, two SVIDs; P-256 throughout.

use avouch_identity::spiffe::{Bundle, BundleSet};
use avouch_identity::{Identity, Publisher, Snapshot, Svid};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub(crate) struct Pki {
    pub(crate) root: CertificateDer<'static>,
    authority: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let root_key = KeyPair::generate().expect("a key");
        let root_params = authority("root");
        let root = root_params.self_signed(&root_key).expect("a root").der().clone();
        let root_issuer = Issuer::new(root_params, root_key);
        let key = KeyPair::generate().expect("a key");
        let params = authority("authority");
        let signed = params.signed_by(&key, &root_issuer).expect("an authority").der().clone();
        Self { root, authority: signed, issuer: Issuer::new(params, key) }
    }

    /// A chain and key for a workload, with `localhost` beside its SPIFFE ID.
    pub(crate) fn credentials(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let id = format!("spiffe://bench.example/{name}");
        params.subject_alt_names = vec![
            SanType::URI(id.try_into().expect("ascii")),
            SanType::DnsName("localhost".try_into().expect("ascii")),
        ];
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &self.issuer).expect("a leaf");
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        (vec![leaf.der().clone(), self.authority.clone()], key)
    }

    pub(crate) fn identity(&self, name: &str) -> (Publisher, Identity) {
        let (chain, key) = self.credentials(name);
        let mut bundles = BundleSet::new();
        let domain = "bench.example".parse().expect("a trust domain");
        bundles.insert(Bundle::from_ders(domain, &[self.root.to_vec()], 1).expect("a bundle"));
        Identity::publisher(Snapshot::new(Svid::new(chain, &key).expect("an SVID"), bundles))
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

//! What the hostile caller shows: certificates of a CA it made up, or a real one it enrolled for.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::Error;

/// A chain and its key.
pub(crate) struct Credentials {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Credentials {
    /// Flawless but for one thing: nobody trusts the CA that signed it.
    pub(crate) fn forged(spiffe_id: &str) -> Result<Self, Error> {
        let mut root = CertificateParams::default();
        root.distinguished_name.push(DnType::CommonName, "avouch root");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate()?)?;

        let mut leaf = CertificateParams::default();
        leaf.subject_alt_names = vec![SanType::URI(spiffe_id.try_into()?)];
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        leaf.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = leaf.signed_by(&key, &root)?;
        Ok(Self { chain: vec![certificate.der().clone(), root.der().clone()], key: pkcs8(&key) })
    }
}

/// A certificate signing request and its key.
pub(crate) struct Request {
    pub(crate) csr: Vec<u8>,
    key: KeyPair,
}

/// A request that names nobody.
pub(crate) fn request() -> Result<Request, Error> {
    let key = KeyPair::generate()?;
    let csr = CertificateParams::default().serialize_request(&key)?.der().to_vec();
    Ok(Request { csr, key })
}

impl Request {
    /// The credentials that the request was answered with.
    pub(crate) fn granted(&self, chain: Vec<Vec<u8>>) -> Credentials {
        Credentials { chain: chain.into_iter().map(CertificateDer::from).collect(), key: pkcs8(&self.key) }
    }
}

fn pkcs8(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(key.serialize_der()).into()
}

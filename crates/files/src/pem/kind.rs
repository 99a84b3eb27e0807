//! The kinds of PEM blocks (RFC 7468), by their labels.

/// The kind of a block, by its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A certificate (RFC 7468 §5), `X509 CERTIFICATE` and `CERTIFICATE` alike.
    Certificate,
    /// A certificate with OpenSSL's own trust settings behind it.
    TrustedCertificate,
    /// A certificate signing request (RFC 7468 §7), `NEW CERTIFICATE REQUEST` too.
    Request,
    /// A certificate revocation list (RFC 7468 §6).
    Crl,
    /// A set of certificates in a PKCS#7 or CMS structure (RFC 7468 §8, §9).
    Pkcs7,
    /// A private key in PKCS#8 (RFC 7468 §10).
    Pkcs8Key,
    /// A private key of an elliptic curve in SEC 1 (RFC 5915).
    Sec1Key,
    /// A private key of RSA in PKCS#1.
    Pkcs1Key,
    /// A private key that is encrypted (RFC 7468 §11).
    EncryptedKey,
    /// A private key in OpenSSH's form.
    OpenSshKey,
    /// A private key of another kind, such as DSA.
    OtherKey,
    /// A public key (RFC 7468 §13).
    PublicKey,
    /// Anything else: parameters of a curve, an OpenPGP message.
    Other,
}

impl Kind {
    pub(super) fn of(label: &[u8]) -> Self {
        match label {
            b"CERTIFICATE" | b"X509 CERTIFICATE" => Self::Certificate,
            b"TRUSTED CERTIFICATE" => Self::TrustedCertificate,
            b"CERTIFICATE REQUEST" | b"NEW CERTIFICATE REQUEST" => Self::Request,
            b"X509 CRL" => Self::Crl,
            b"PKCS7" | b"CMS" | b"PKCS #7 SIGNED DATA" => Self::Pkcs7,
            b"PRIVATE KEY" => Self::Pkcs8Key,
            b"EC PRIVATE KEY" => Self::Sec1Key,
            b"RSA PRIVATE KEY" => Self::Pkcs1Key,
            b"ENCRYPTED PRIVATE KEY" => Self::EncryptedKey,
            b"OPENSSH PRIVATE KEY" => Self::OpenSshKey,
            b"PUBLIC KEY" | b"RSA PUBLIC KEY" => Self::PublicKey,
            _ if label.ends_with(b"PRIVATE KEY") => Self::OtherKey,
            _ => Self::Other,
        }
    }

    /// The label that the decoder knows the kind by; none: it is not decoded here.
    pub(super) fn canonical(self) -> Option<&'static str> {
        match self {
            Self::Certificate => Some("CERTIFICATE"),
            Self::Request => Some("CERTIFICATE REQUEST"),
            Self::Crl => Some("X509 CRL"),
            Self::Pkcs8Key => Some("PRIVATE KEY"),
            Self::Sec1Key => Some("EC PRIVATE KEY"),
            Self::Pkcs1Key => Some("RSA PRIVATE KEY"),
            _ => None,
        }
    }

    /// Whether a block of this kind is decoded.
    #[must_use]
    pub fn is_decoded(self) -> bool {
        self.canonical().is_some()
    }

    /// Whether it is a private key, in whatever form.
    #[must_use]
    pub fn is_private_key(self) -> bool {
        matches!(
            self,
            Self::Pkcs8Key
                | Self::Sec1Key
                | Self::Pkcs1Key
                | Self::EncryptedKey
                | Self::OpenSshKey
                | Self::OtherKey
        )
    }

    /// The kind in words, with its article.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Certificate => "a certificate",
            Self::TrustedCertificate => "a TRUSTED CERTIFICATE",
            Self::Request => "a certificate signing request",
            Self::Crl => "a revocation list",
            Self::Pkcs7 => "a PKCS#7 structure",
            Self::Pkcs8Key | Self::Sec1Key | Self::Pkcs1Key => "a private key",
            Self::EncryptedKey => "an encrypted private key",
            Self::OpenSshKey => "a private key in OpenSSH's form",
            Self::OtherKey => "a private key of a kind that is not used here",
            Self::PublicKey => "a public key",
            Self::Other => "a block of another kind",
        }
    }
}

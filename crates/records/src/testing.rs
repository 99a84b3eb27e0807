//! What tests need: peers, calls, a policy.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use avouch_authz::{Caller, Methods, Permit, Policy, decide};
use avouch_spiffe::x509::Leaf;
use avouch_spiffe::{PeerIdentity, Reason};

use crate::entry::{Caller as Who, Refused, Why};

pub(crate) const STATUS: &str = "/avouch.observe.v1.Observe/GetStatus";

pub(crate) fn methods() -> Methods {
    Methods::new(&[crate::contract()]).unwrap()
}

/// A real certificate's identity: there is no other way to make one.
pub(crate) fn peer(name: &str) -> Arc<PeerIdentity> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let id = format!("spiffe://shop.example/{name}");
    params.subject_alt_names = vec![rcgen::SanType::URI(id.try_into().unwrap())];
    params.is_ca = rcgen::IsCa::ExplicitNoCa;
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth, rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    params.serial_number = Some(vec![1_u8; 16].into());
    params.use_authority_key_identifier_extension = true;
    let key = rcgen::KeyPair::generate().unwrap();
    let der = params.self_signed(&key).unwrap();
    Arc::new(PeerIdentity::from_leaf(&Leaf::parse(der.der()).unwrap(), der.der()))
}

pub(crate) fn permit(peer: &PeerIdentity) -> Permit {
    let text = format!("[roles]\noperator = [\"{}\"]\n", peer.spiffe_id());
    let policy = Policy::parse("policy.toml", &text, &methods()).unwrap();
    decide(&policy, Caller::from(peer), STATUS).unwrap()
}

/// A refusal that names itself by a number.
pub(crate) fn refused(number: usize) -> Refused {
    Refused {
        id: None,
        at: SystemTime::UNIX_EPOCH + Duration::from_secs(number as u64),
        audited: false,
        caller: Who::Anonymous,
        via: None,
        trace: None,
        why: Why::Service {
            method: "/avouch.issuer.v1.Issuer/Enroll".to_owned(),
            reason: Reason::NoMatchingEntry,
            detail: format!("number {number}"),
        },
        suppressed: 0,
    }
}

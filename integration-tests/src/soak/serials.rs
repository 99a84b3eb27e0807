//! Which certificates workloads held: by their own logs, by the logs of those they connected to, and by the files they
//! keep. The issuer's store is not asked: it is what is being checked.

use std::collections::BTreeSet;
use std::path::Path;

use avouch_api::admin::v1::Certificate;
use avouch_files::{SECRET_LIMIT, pem};
use avouch_identity::Identity;
use avouch_spiffe::x509::Leaf;
use serde_json::Value;

use avouch_demo::records::field;

/// The serials in a log: of the certificates its process used, and of those that were shown to it.
pub(super) fn in_log(records: &[Value]) -> BTreeSet<String> {
    let told =
        |record: &&Value| matches!(field(record, "message"), Some("SVID in use" | "connection accepted"));
    let serial = |record: &Value| field(record, "serial").map(str::to_owned);
    records.iter().filter(told).filter_map(serial).collect()
}

/// The serial of the certificate in an identity's state; `None` when there is none that is whole.
pub(super) fn in_state(state: &Path) -> Option<String> {
    let stored = avouch_files::read(&state.join("svid.pem"), SECRET_LIMIT).ok()?;
    let chain = pem::certificates(&stored).ok()?;
    Leaf::parse(chain.first()?).ok().map(|leaf| leaf.serial().to_owned())
}

/// Notes each certificate that an identity of the demo's own comes to use, until dropped.
pub(super) async fn watch(identity: Identity, note: impl Fn(String)) {
    let mut states = identity.subscribe();
    loop {
        let serial = states.borrow_and_update().svid.leaf().serial().to_owned();
        note(serial);
        if states.changed().await.is_err() {
            return;
        }
    }
}

/// Those that were held and are not on record.
pub(super) fn missing(held: &BTreeSet<String>, inventory: &[Certificate]) -> Vec<String> {
    let on_record: BTreeSet<_> = inventory.iter().map(|certificate| certificate.serial.as_str()).collect();
    held.iter().filter(|serial| !on_record.contains(serial.as_str())).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn held(serials: &[&str]) -> BTreeSet<String> {
        serials.iter().map(|serial| (*serial).to_owned()).collect()
    }

    #[test]
    fn serials_come_from_identities_and_connections_and_from_nothing_else() {
        let records = [
            json!({"message": "SVID in use", "serial": "01"}),
            json!({"message": "connection accepted", "serial": "02"}),
            json!({"message": "connection accepted"}),
            json!({"message": "certificate issued", "serial": "03"}),
            json!({"message": "connection refused", "serial": "04"}),
        ];
        assert_eq!(in_log(&records), held(&["01", "02"]));
    }

    #[test]
    fn a_certificate_that_is_not_on_record_is_missing() {
        let row = |serial: &str| Certificate { serial: serial.to_owned(), ..Certificate::default() };
        let inventory = [row("01"), row("03")];
        assert!(missing(&held(&["01", "03"]), &inventory).is_empty());
        assert_eq!(missing(&held(&["01", "02"]), &inventory), ["02"]);
        assert_eq!(missing(&held(&["01"]), &[]), ["01"]);
    }

    #[test]
    fn a_state_without_a_whole_certificate_holds_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(in_state(dir.path()), None);
        for text in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(dir.path().join("svid.pem"), text).unwrap();
            assert_eq!(in_state(dir.path()), None);
        }
    }
}

//! A small contract and policy that the crate's tests share.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use avouch_spiffe::SpiffeId;
use avouch_spiffe::contract::{Contract, MethodRule, Rule};

use crate::methods::Methods;
use crate::policy::Policy;

const fn rpc(path: &'static str, rule: Rule) -> MethodRule {
    MethodRule { path, rule, client_streaming: false, server_streaming: false }
}

pub(crate) const CONTRACT: Contract = Contract {
    name: "shop",
    methods: &[
        rpc("/shop.v1.Ledger/Post", Rule::Roles(&["ledger-writer"])),
        rpc("/shop.v1.Ledger/Read", Rule::Roles(&["auditor", "staff"])),
        rpc("/shop.v1.Shop/Look", Rule::AnyIdentity),
        rpc("/shop.v1.Shop/Knock", Rule::Unauthenticated),
        rpc("/shop.v1.Admin/Close", Rule::LocalAdmin),
    ],
};

pub(crate) const POLICY: &str = r#"[roles]
ledger-writer = ["spiffe://shop.example/payments", "spiffe://shop.example/staff/mallory"]
staff = ["spiffe://shop.example/staff/*"]
auditor = ["spiffe://audit.example/*"]
debug = ["spiffe://shop.example/staff/olga"]

[[deny]]
caller = "spiffe://shop.example/staff/mallory"
methods = ["/shop.v1.Ledger/*"]

[[deny]]
caller = "spiffe://shop.example/old/*"
"#;

pub(crate) fn methods() -> Methods {
    Methods::new(&[&CONTRACT]).unwrap()
}

pub(crate) fn policy(text: &str) -> Policy {
    Policy::load("policy.toml", text, &methods()).unwrap()
}

pub(crate) fn id(text: &str) -> SpiffeId {
    text.parse().unwrap()
}

/// Writes a file under another name, and renames it to its own when it has long been finished.
pub(crate) fn rename_into_place(path: &Path, text: &str) {
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap()).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    age(file.as_file());
    file.persist(path).unwrap();
}

/// Lets a file look as if it had last been written long ago.
pub(crate) fn age(file: &File) {
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
}

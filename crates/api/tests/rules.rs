//! Who may call what of avouch's own API is one reviewed table: `proto/avouch/rules.txt`.
//!
//! It fails on an RPC that is missing there and on one that is there and no longer true. After a change was reviewed:
//! `UPDATE_GOLDEN=1 cargo test -p avouch-api --test rules`.

use avouch_spiffe::contract::Rule;

const REVIEWED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto/avouch/rules.txt");

#[test]
fn the_reviewed_table_is_the_contract() {
    let rows = avouch_api::CONTRACT.methods.iter().map(|method| {
        let rule = match method.rule {
            Rule::Roles(roles) => format!("roles {}", roles.join(" ")),
            Rule::AnyIdentity => "any identity".to_owned(),
            Rule::Unauthenticated => "unauthenticated".to_owned(),
            Rule::LocalAdmin => "local administrator".to_owned(),
        };
        format!("{:45} {rule}\n", method.path)
    });
    let actual = std::iter::once(
        "# Who may call what; written and checked by crates/api/tests/rules.rs.\n\n".to_owned(),
    )
    .chain(rows)
    .collect::<String>();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(REVIEWED, &actual).unwrap();
    }
    assert_eq!(std::fs::read_to_string(REVIEWED).unwrap_or_default(), actual);
}

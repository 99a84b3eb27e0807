//! Differences as a reviewer reads them, then against sampled callers.

use avouch_spiffe::SpiffeId;
use proptest::prelude::*;

use super::*;
use crate::testing::{POLICY, id, methods, policy};
use crate::{CallerPattern, Certificate};

const POST: &str = "/shop.v1.Ledger/Post";

fn lines(before: &str, after: &str) -> Vec<String> {
    let changes = diff(&policy(before), &policy(after)).unwrap();
    let line = |change: &Change| {
        let certificates = change.certificates.join(" | ");
        let certificates = if certificates.is_empty() { certificates } else { format!(" [{certificates}]") };
        format!("{}{certificates} {}: {} -> {}", change.caller, change.method, change.before, change.after)
    };
    changes.iter().map(line).collect()
}

#[test]
fn a_policy_differs_from_itself_in_nothing() {
    assert_eq!(lines(POLICY, POLICY), [""; 0]);
    assert_eq!(lines(POLICY, &format!("# a remark\n{POLICY}")), [""; 0]);
}

#[test]
fn a_wider_caller_is_shown_with_everybody_whom_it_lets_in() {
    let narrow = "[roles]\nledger-writer = [\"spiffe://a.example/pay/x\"]\n";
    let wide = "[roles]\nledger-writer = [\"spiffe://a.example/pay/*\"]\n";
    let allowed = "/shop.v1.Ledger/Post: refused (ROLE_MISSING) -> allowed";
    assert_eq!(
        lines(narrow, wide),
        [format!("spiffe://a.example/pay/* (everybody else below it) {allowed}")]
    );
    let whole = "[roles]\nledger-writer = [\"spiffe://a.example/*\"]\n";
    assert_eq!(lines(narrow, whole), [format!("spiffe://a.example/* (everybody else below it) {allowed}")]);
}

#[test]
fn a_new_deny_rule_is_shown_where_it_takes_something_away_and_nowhere_else() {
    let with_deny = format!(
        "{POLICY}[[deny]]\ncaller = \"spiffe://shop.example/payments\"\nmethods = [\"/shop.v1.Ledger/*\"]\n"
    );
    assert_eq!(
        lines(POLICY, &with_deny),
        ["spiffe://shop.example/payments /shop.v1.Ledger/Post: allowed -> refused (DENY_RULE_MATCHED)"]
    );
}

#[test]
fn audit_mode_is_shown_as_what_it_newly_lets_through() {
    let before = "[roles]\nledger-writer = [\"spiffe://a.example/x\"]\n";
    let found = lines(before, &format!("mode = \"audit\"\n{before}"));
    assert!(found.contains(
        &"(any other trust domain) /shop.v1.Ledger/Post: refused (ROLE_MISSING) -> audited (ROLE_MISSING)".to_owned()
    ));
    assert!(found.iter().all(|line| !line.starts_with("(anonymous)") && !line.starts_with("(local admin)")));
    assert!(found.iter().all(|line| !line.contains("spiffe://a.example/x /shop.v1.Ledger/Post")));
}

#[test]
fn a_new_condition_is_shown_with_the_certificates_that_no_longer_do() {
    let before = "[roles]\nledger-writer = [\"spiffe://a.example/x\"]\n";
    let after =
        "[roles]\nledger-writer = [{ caller = \"spiffe://a.example/x\", max_certificate_age = \"1h\" }]\n";
    assert_eq!(
        lines(before, after),
        [
            "spiffe://a.example/x [more than 1h old | of unknown age] /shop.v1.Ledger/Post: allowed -> refused \
          (ROLE_MISSING)"
        ]
    );
}

#[test]
fn a_longer_age_is_shown_with_the_ages_between() {
    let aged = |age| {
        format!(
            "[roles]\nledger-writer = [{{ caller = \"spiffe://a.example/x\", max_certificate_age = {age:?} }}]\n"
        )
    };
    assert_eq!(
        lines(&aged("1h"), &aged("2h")),
        [
            "spiffe://a.example/x [more than 1h, at most 2h old] /shop.v1.Ledger/Post: refused (ROLE_MISSING) -> allowed"
        ]
    );
}

#[test]
fn conditions_that_multiply_beyond_measure_are_refused_rather_than_sampled() {
    let pins = |from: usize| {
        let pins: Vec<_> = (0..70).map(|n| format!("{:064x}", from + n)).collect();
        format!("{pins:?}")
    };
    let text = format!(
        "[roles]\nledger-writer = [{{ caller = \"spiffe://a.example/x\", spki_sha256 = {}, cert_sha256 = {} }}]\n",
        pins(0),
        pins(1000)
    );
    let error = diff(&policy(&text), &policy("[roles]\nstaff = []\n")).unwrap_err();
    assert!(error.to_string().contains("spiffe://a.example/x"), "{error}");
}

#[test]
fn the_table_of_everybody_has_a_row_for_each_class_and_kind() {
    let text = "[roles]\nledger-writer = [{ caller = \"spiffe://a.example/x\", max_certificate_age = \"1h\" }]\n\
                staff = [\"spiffe://a.example/staff/*\"]\n";
    let table = caller_matrix(&policy(text)).unwrap();
    let rows: Vec<_> =
        table.rows.iter().map(|row| format!("{} {}", row.caller, row.certificates.join(" | "))).collect();
    assert_eq!(
        rows,
        [
            "(anonymous) ",
            "(local admin) ",
            "spiffe://a.example/x at most 1h old",
            "spiffe://a.example/x more than 1h old | of unknown age",
            "spiffe://a.example/staff/* (everybody else below it) ",
            "(anybody else of a.example) ",
            "(any other trust domain) ",
        ]
    );
    let post = table.methods.iter().position(|method| *method == POST).unwrap();
    assert_eq!(table.rows[2].outcomes[post], CallOutcome::Allowed);
    assert_eq!(table.rows[3].outcomes[post], CallOutcome::Denied(Reason::RoleMissing));
}

#[test]
fn a_prefix_with_no_room_for_another_name_below_it_still_has_its_short_names() {
    // One octet is left after the slash; two of the names that fit are taken.
    let parent = format!("spiffe://a.example/{}", "x".repeat(2048 - "spiffe://a.example/".len() - 2));
    let text = format!("[roles]\nstaff = [\"{parent}/*\", \"{parent}/a\", \"{parent}/b\"]\n");
    let table = caller_matrix(&policy(&text)).unwrap();
    assert!(table.rows.iter().any(|row| matches!(&row.caller, CallerClass::Below(_))));
}

fn ids() -> impl Strategy<Value = SpiffeId> {
    let domain = prop::sample::select(vec!["a.example", "a.example.b", "c.example"]);
    let segment = prop::sample::select(vec!["pay", "payments", "somebody-else", "a", "staff"]);
    (domain, prop::collection::vec(segment, 1..4))
        .prop_map(|(domain, path)| id(&format!("spiffe://{domain}/{}", path.join("/"))))
}

fn patterns() -> impl Strategy<Value = String> {
    (ids(), 0_usize..5).prop_map(|(id, cut)| {
        let segments: Vec<_> = id.as_str().split('/').collect();
        match cut {
            0 => id.to_string(),
            cut => format!("{}/*", segments[..segments.len().min(cut + 2)].join("/")),
        }
    })
}

const CONDITIONS: [&str; 5] = [
    "",
    "max_certificate_age = \"1h\"",
    "max_certificate_age = \"2h\"",
    "spki_sha256 = \"P\"",
    "issuer_key_id = \"I\"",
];
const DENY_CONDITIONS: [&str; 4] =
    ["", "certificate_older_than = \"90m\"", "spki_sha256 = \"P\"", "mode = \"audit\""];

fn pin_of(text: &str) -> String {
    text.replace("\"P\"", &format!("{:?}", "aa".repeat(32))).replace("\"I\"", "\"0011223344556677\"")
}

type Bound = (usize, String, usize);
type Denied = (String, Option<usize>, usize);

prop_compose! {
    fn policies()(
        roles in prop::collection::vec((0_usize..4, patterns(), 0_usize..CONDITIONS.len()), 0..6),
        denies in prop::collection::vec(
            (patterns(), prop::option::of(0_usize..5), 0_usize..DENY_CONDITIONS.len()), 0..4),
        audit in prop::option::of(prop::option::of(patterns())),
    ) -> String {
        text(&roles, &denies, audit)
    }
}

fn text(roles: &[Bound], denies: &[Denied], audit: Option<Option<String>>) -> String {
    let methods = methods();
    let mut text = String::from("[roles]\n");
    for (bit, name) in methods.roles().iter().enumerate() {
        let mut callers: Vec<_> = roles
            .iter()
            .filter(|(of, ..)| *of == bit)
            .map(|(_, caller, condition)| match CONDITIONS[*condition] {
                "" => format!("{caller:?}"),
                condition => format!("{{ caller = {caller:?}, {condition} }}"),
            })
            .collect();
        callers.sort();
        callers.dedup();
        text += &format!("{name} = [{}]\n", callers.join(", "));
    }
    for (caller, method, condition) in denies {
        text += &format!("[[deny]]\ncaller = {caller:?}\n{}\n", DENY_CONDITIONS[*condition]);
        if let Some(method) = method {
            text += &format!("methods = [{:?}]\n", methods.iter().nth(*method).unwrap().path);
        }
    }
    match audit {
        None => {}
        Some(None) => text += "[[audit]]\nmethods = [\"/shop.v1.Ledger/*\"]\n",
        Some(Some(caller)) => text += &format!("[[audit]]\ncaller = {caller:?}\n"),
    }
    pin_of(&text)
}

/// The class that an ID belongs to, found the plain way.
fn class_of<'a>(classes: &'a [Class], id: &SpiffeId) -> &'a Class {
    let exact = classes.iter().find(|class| class.class == CallerClass::Exact(id.clone()));
    let deepest = || {
        let below = classes.iter().filter(|class| match &class.class {
            CallerClass::Below(parent) => CallerPattern::Below(parent.clone()).matches(id),
            _ => false,
        });
        below.max_by_key(|class| class.class.to_string().split('/').count())
    };
    let domain =
        || classes.iter().find(|class| class.class == CallerClass::Domain(id.trust_domain().clone()));
    let foreign = || classes.iter().find(|class| class.class == CallerClass::Foreign);
    exact.or_else(deepest).or_else(domain).or_else(foreign).unwrap()
}

/// Certificates on all sides of all conditions above, and beyond.
fn certificates() -> Vec<(u64, String, Option<&'static str>)> {
    let mut all = Vec::new();
    for minutes in [0, 59, 60, 61, 90, 91, 119, 120, 121, 10_000] {
        for spki in ["aa", "bb"] {
            for issuer in [None, Some("0011223344556677"), Some("ffffffffffffffff")] {
                all.push((minutes, spki.repeat(32), issuer));
            }
        }
    }
    all
}

proptest! {
    // Each case asks some thousand times.
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// For every caller and certificate, some caller of the same class, with one of the kinds of certificates, gets the
    /// same answer from both policies on every method. So nothing that is not among the classes can differ.
    #[test]
    fn everybody_is_answered_like_a_representative(
        before in policies(),
        after in policies(),
        callers in prop::collection::vec(ids(), 1..6),
    ) {
        let (a, b) = (policy(&before), policy(&after));
        let classes = classes(&[&a, &b]).unwrap();
        let paths: Vec<_> = a.methods().iter().map(|method| method.path).collect();
        let answers = |caller: Caller<'_>| -> Vec<_> {
            let of = |policy| paths.iter().map(|path| CallOutcome::of(policy, caller, path)).collect::<Vec<_>>();
            vec![of(&a), of(&b)]
        };
        for id in &callers {
            let class = class_of(&classes, id);
            let expected: Vec<_> = class.certificates.iter().map(|kind| answers(class.caller(kind))).collect();
            for (minutes, spki, issuer) in certificates() {
                let not_before = std::time::SystemTime::UNIX_EPOCH;
                let certificate = Certificate {
                    not_before: Some(not_before),
                    now: Some(not_before + std::time::Duration::from_secs(60 * minutes)),
                    spki_sha256: Some(&spki),
                    issuer_key_id: issuer,
                    ..Certificate::default()
                };
                let found = answers(Caller::Certified(id, certificate));
                prop_assert!(expected.contains(&found), "{} {:?}\n{}\n---\n{}", id, certificate, before, after);
            }
        }
    }

    /// What changes for a sampled caller is among the changes of its class, and the other way about.
    #[test]
    fn a_change_for_anybody_is_among_the_changes(
        before in policies(),
        after in policies(),
        id in ids(),
    ) {
        let (a, b) = (policy(&before), policy(&after));
        let changes = diff(&a, &b).unwrap();
        let classes = classes(&[&a, &b]).unwrap();
        let class = &class_of(&classes, &id).class;
        for method in a.methods().iter() {
            let mut changed = BTreeSet::new();
            for (minutes, spki, issuer) in certificates() {
                let not_before = std::time::SystemTime::UNIX_EPOCH;
                let caller = Caller::Certified(&id, Certificate {
                    not_before: Some(not_before),
                    now: Some(not_before + std::time::Duration::from_secs(60 * minutes)),
                    spki_sha256: Some(&spki),
                    issuer_key_id: issuer,
                    ..Certificate::default()
                });
                let of = |policy| CallOutcome::of(policy, caller, method.path);
                if of(&a).goes_through() != of(&b).goes_through() {
                    changed.insert((of(&a), of(&b)));
                }
            }
            for (from, to) in changed {
                let listed = changes.iter().any(|change| {
                    change.caller == *class && change.method == method.path
                        && (change.before, change.after) == (from, to)
                });
                prop_assert!(listed, "{} {} {} -> {}\n{}\n---\n{}", id, method.path, from, to, before, after);
            }
        }
    }
}

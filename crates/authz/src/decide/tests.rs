//! The decision, case by case, then against a naive model over random IDs and policies.

use avouch_spiffe::SpiffeId;
use avouch_spiffe::contract::MethodRule;
use proptest::prelude::*;

use super::*;
use crate::testing::{POLICY, id, methods, policy};

fn refused(policy: &Policy, caller: Caller<'_>, path: &str) -> Denial {
    decide(policy, caller, path).expect_err(path)
}

fn peer_refused(text: &str, path: &str) -> Denial {
    let id = id(text);
    refused(&policy(POLICY), Caller::Peer(&id), path)
}

#[test]
fn a_bound_caller_is_allowed_and_the_permit_names_the_role() {
    let payments = id("spiffe://shop.example/payments");
    let permit = decide(&policy(POLICY), Caller::Peer(&payments), "/shop.v1.Ledger/Post").unwrap();
    assert_eq!(permit.role(), Some("ledger-writer"));
    assert_eq!(permit.path(), "/shop.v1.Ledger/Post");
    assert_eq!(methods().index_of(permit.path()), Some(permit.method()));
}

#[test]
fn a_permit_that_needed_no_role_names_none() {
    let anybody = id("spiffe://shop.example/anybody");
    let permit = decide(&policy(POLICY), Caller::Peer(&anybody), "/shop.v1.Shop/Look").unwrap();
    assert_eq!(permit.role(), None);
}

#[test]
fn a_caller_without_the_role_is_refused_with_what_it_has_and_what_it_needs() {
    let denial = peer_refused("spiffe://shop.example/staff/olga", "/shop.v1.Ledger/Post");
    assert_eq!(denial.reason(), Reason::RoleMissing);
    assert_eq!(denial.need(), ["ledger-writer"]);
    assert_eq!(denial.have(), ["debug", "staff"]);
    assert_eq!(denial.location().unwrap().to_string(), "policy.toml:2");
    assert!(denial.holds_debug_role());
    assert!(
        denial.help().contains("avouch entry show spiffe://shop.example/staff/olga"),
        "{}",
        denial.help()
    );
    assert!(denial.help().contains("policy.toml:2"), "{}", denial.help());
}

#[test]
fn an_unknown_method_is_refused_to_everybody() {
    let policy = policy(POLICY);
    let payments = id("spiffe://shop.example/payments");
    for path in [
        "/shop.v1.Ledger/Posts",
        "/shop.v1.Ledger/Pos",
        "/shop.v1.Ledger/Post/",
        "shop.v1.Ledger/Post",
        "/SHOP.v1.Ledger/Post",
        "",
        "/",
        "*",
        "/shop.v1.Ledger/*",
    ] {
        for caller in [Caller::Peer(&payments), Caller::LocalAdmin, Caller::Anonymous] {
            let denial = refused(&policy, caller, path);
            assert_eq!(denial.reason(), Reason::NoAllowRule, "{path}");
            assert_eq!(denial.method(), None);
        }
    }
}

#[test]
fn a_deny_rule_wins_over_a_role() {
    let denial = peer_refused("spiffe://shop.example/staff/mallory", "/shop.v1.Ledger/Post");
    assert_eq!(denial.reason(), Reason::DenyRuleMatched);
    assert_eq!(denial.location().unwrap().to_string(), "policy.toml:7");
    let denial = peer_refused("spiffe://shop.example/staff/mallory", "/shop.v1.Ledger/Read");
    assert_eq!(denial.reason(), Reason::DenyRuleMatched);
}

#[test]
fn a_deny_rule_of_some_methods_leaves_the_others_alone() {
    let mallory = id("spiffe://shop.example/staff/mallory");
    assert!(decide(&policy(POLICY), Caller::Peer(&mallory), "/shop.v1.Shop/Look").is_ok());
}

#[test]
fn a_deny_rule_without_methods_denies_even_what_is_open_to_everybody() {
    for path in ["/shop.v1.Shop/Look", "/shop.v1.Shop/Knock", "/grpc.health.v1.Health/Check"] {
        let denial = peer_refused("spiffe://shop.example/old/till", path);
        assert_eq!(denial.reason(), Reason::DenyRuleMatched, "{path}");
    }
}

#[test]
fn a_local_admin_rule_admits_nobody_else() {
    let policy = policy(POLICY);
    let olga = id("spiffe://shop.example/staff/olga");
    assert!(decide(&policy, Caller::LocalAdmin, "/shop.v1.Admin/Close").is_ok());
    for caller in [Caller::Peer(&olga), Caller::Anonymous] {
        assert_eq!(refused(&policy, caller, "/shop.v1.Admin/Close").reason(), Reason::NoAllowRule);
    }
}

#[test]
fn callers_without_an_identity_get_only_what_is_unauthenticated() {
    let policy = policy(POLICY);
    for caller in [Caller::Anonymous, Caller::LocalAdmin] {
        assert!(decide(&policy, caller, "/shop.v1.Shop/Knock").is_ok());
        for path in ["/shop.v1.Shop/Look", "/shop.v1.Ledger/Post", "/grpc.health.v1.Health/Check"] {
            assert_eq!(refused(&policy, caller, path).reason(), Reason::NoPeerIdentity, "{path}");
        }
    }
}

#[test]
fn a_policy_without_roles_refuses_every_rpc_that_asks_for_one() {
    let policy = Policy::without_roles(&methods());
    let payments = id("spiffe://shop.example/payments");
    assert!(decide(&policy, Caller::Peer(&payments), "/shop.v1.Shop/Look").is_ok());
    assert_eq!(
        refused(&policy, Caller::Peer(&payments), "/shop.v1.Ledger/Post").reason(),
        Reason::RoleMissing
    );
}

#[test]
fn the_same_path_in_another_trust_domain_holds_nothing() {
    let denial = peer_refused("spiffe://shop.example.evil/payments", "/shop.v1.Ledger/Post");
    assert_eq!(denial.have(), [""; 0]);
    let denial = peer_refused("spiffe://evil.example/staff/olga", "/shop.v1.Ledger/Read");
    assert_eq!(denial.reason(), Reason::RoleMissing);
}

#[test]
fn a_very_long_path_of_a_refused_call_is_cut_short() {
    let denial = refused(&policy(POLICY), Caller::Anonymous, &"/x".repeat(5000));
    assert_eq!(denial.path().len(), 256);
}

#[test]
fn prefixes_deeper_than_the_depth_mask_still_match() {
    let deep = "/a".repeat(80);
    let text = format!("[roles]\nstaff = [\"spiffe://shop.example{deep}/*\"]\n");
    let policy = policy(&text);
    assert_eq!(policy.roles_of(&id(&format!("spiffe://shop.example{deep}/x"))), ["staff"]);
    assert_eq!(policy.roles_of(&id(&format!("spiffe://shop.example{deep}"))), [""; 0]);
    assert_eq!(policy.roles_of(&id(&format!("spiffe://shop.example{}/x", "/a".repeat(79)))), [""; 0]);
}

/// IDs from a small alphabet in which one segment is the beginning of another, so that near misses are common.
fn ids() -> impl Strategy<Value = SpiffeId> {
    let domain = prop::sample::select(vec!["a.example", "a.example.b", "b.example"]);
    let segment = prop::sample::select(vec!["pay", "payments", "p", "pay.x", "staff"]);
    (domain, prop::collection::vec(segment, 1..5))
        .prop_map(|(domain, path)| id(&format!("spiffe://{domain}/{}", path.join("/"))))
}

/// A pattern for an ID: itself, or below one of its ancestors, or below itself.
fn patterns() -> impl Strategy<Value = String> {
    (ids(), 0_usize..6).prop_map(|(id, cut)| {
        let segments: Vec<_> = id.as_str().split('/').collect();
        match cut {
            0 => id.to_string(),
            cut => format!("{}/*", segments[..segments.len().min(cut + 2)].join("/")),
        }
    })
}

/// What the documentation says, segment by segment.
fn means(pattern: &str, id: &SpiffeId) -> bool {
    let pattern: Vec<_> = pattern.split('/').collect();
    let id: Vec<_> = id.as_str().split('/').collect();
    match pattern.split_last() {
        Some((&"*", parent)) => id.len() > parent.len() && id[..parent.len()] == *parent,
        _ => id == pattern,
    }
}

proptest! {
    #[test]
    fn a_prefix_never_matches_across_a_segment_or_a_trust_domain(pattern in patterns(), id in ids()) {
        let policy = policy(&format!("[roles]\nstaff = [{pattern:?}]\n"));
        let holds = !policy.roles_of(&id).is_empty();
        prop_assert_eq!(holds, means(&pattern, &id), "{} {}", pattern, id);
        prop_assert_eq!(holds, pattern.parse::<crate::CallerPattern>().unwrap().matches(&id));
    }

    #[test]
    fn decisions_agree_with_a_naive_model(
        roles in prop::collection::vec((0_usize..4, patterns()), 0..12),
        denies in prop::collection::vec((patterns(), prop::option::of(0_usize..5)), 0..6),
        id in ids(),
    ) {
        let methods = methods();
        let names = methods.roles();
        let mut text = String::from("[roles]\n");
        for (bit, name) in names.iter().enumerate() {
            let mut callers: Vec<_> = roles.iter().filter(|(b, _)| *b == bit).map(|(_, p)| p).collect();
            callers.sort();
            callers.dedup();
            text += &format!("{name} = {callers:?}\n");
        }
        let rules: Vec<&MethodRule> = methods.iter().collect();
        for (caller, method) in &denies {
            text += &format!("[[deny]]\ncaller = {caller:?}\n");
            if let Some(method) = method {
                text += &format!("methods = [{:?}]\n", rules[*method].path);
            }
        }
        let policy = policy(&text);
        for rule in rules.iter() {
            let held = |name: &str| {
                roles.iter().any(|(bit, pattern)| names[*bit] == name && means(pattern, &id))
            };
            let denied = denies.iter().any(|(caller, method)| {
                means(caller, &id) && method.is_none_or(|method| rules[method].path == rule.path)
            });
            let allowed = match rule.rule {
                avouch_spiffe::contract::Rule::Roles(names) => names.iter().any(|name| held(name)),
                avouch_spiffe::contract::Rule::LocalAdmin => false,
                _ => true,
            };
            let decision = decide(&policy, Caller::Peer(&id), rule.path);
            prop_assert_eq!(decision.is_ok(), allowed && !denied, "{} {} under\n{}", id, rule.path, text);
            if let Err(denial) = decision {
                prop_assert_eq!(denial.reason() == Reason::DenyRuleMatched, denied);
            }
        }
    }

    #[test]
    fn what_is_no_method_is_never_allowed(path in "\\PC*") {
        prop_assume!(methods().index_of(&path).is_none());
        let policy = policy(POLICY);
        prop_assert!(decide(&policy, Caller::LocalAdmin, &path).is_err());
        prop_assert!(decide(&policy, Caller::Anonymous, &path).is_err());
    }
}

mod audit;
mod conditions;

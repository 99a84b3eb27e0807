//! The examples of the policy file's page are policies that load, and its tables name every key there is.

use super::*;

const PAGE: &str = include_str!("../../../../../docs/policy.md");

fn examples() -> Vec<&'static str> {
    let fenced = PAGE.split("```toml\n").skip(1);
    fenced.map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn every_example_loads() {
    assert!(examples().len() >= 6);
    for example in examples() {
        policy(example);
    }
}

#[test]
fn every_key_has_its_place_on_the_page() {
    for key in
        crate::condition::KEYS.iter().chain(&["mode", "methods", "caller", "expect", "reason", "method"])
    {
        assert!(PAGE.contains(&format!("`{key}`")), "{key}");
    }
    for section in ["[roles]", "[[deny]]", "[[audit]]", "[[test]]"] {
        assert!(PAGE.contains(section), "{section}");
    }
}

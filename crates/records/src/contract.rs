//! The rules of `avouch.observe.v1` alone: every process serves it, and nothing else of avouch's own protos.

use std::sync::LazyLock;

use avouch_spiffe::contract::{Contract, MethodRule};

const SERVICE: &str = "/avouch.observe.v1.Observe/";

static OBSERVE: LazyLock<Contract> = LazyLock::new(|| {
    let rules = avouch_api::CONTRACT.methods.iter().filter(|rule| rule.path.starts_with(SERVICE));
    let rules: Vec<MethodRule> = rules.copied().collect();
    Contract { name: "observe", methods: rules.leak() }
});

/// The contract of [`Observe`](crate::Observe), to be joined with those of the services beside it.
#[must_use]
pub fn contract() -> &'static Contract {
    &OBSERVE
}

#[cfg(test)]
mod tests {
    use avouch_spiffe::contract::Rule;

    use super::*;

    #[test]
    fn every_method_of_it_asks_for_debug_or_operator_and_nothing_else_is_in_it() {
        assert_eq!(contract().methods.len(), 5);
        for rule in contract().methods {
            assert!(rule.path.starts_with(SERVICE), "{}", rule.path);
            assert_eq!(rule.rule, Rule::Roles(&["debug", "operator"]), "{}", rule.path);
        }
    }
}

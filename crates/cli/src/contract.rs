//! The contract of a running process, made again from what it says of its methods, so that its policy can be evaluated
//! here.

use avouch_api::observe::v1::Method;
use avouch_authz::contract::{Contract, MethodRule, Rule};
use avouch_authz::{ContractError, Methods};
use std::sync::{Mutex, PoisonError};

/// The methods that a process told, and the contract made of them.
type Made = (Vec<Method>, Result<Methods, ContractError>);

/// The contracts that were made, each once.
static KNOWN: Mutex<Vec<Made>> = Mutex::new(Vec::new());

/// The methods that a process said it answers, with their rules.
///
/// A contract lives as long as the program: elsewhere it is a constant of generated code. The few kilobytes of each
/// different one are therefore never given back; the same one is made once, however often a fleet is asked.
///
/// # Errors
/// If no process of this release can have said it: see [`ContractError`].
pub(crate) fn methods(said: &[Method]) -> Result<Methods, ContractError> {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, methods)) = known.iter().find(|(seen, _)| seen == said) {
        return methods.clone();
    }
    let rules: Vec<MethodRule> = said.iter().map(rule).collect();
    let contract = Contract { name: "the asked process", methods: Vec::leak(rules) };
    let methods = Methods::new(&[&contract]);
    known.push((said.to_vec(), methods.clone()));
    methods
}

fn rule(method: &Method) -> MethodRule {
    let rule = match method {
        Method { any_identity: true, .. } => Rule::AnyIdentity,
        Method { unauthenticated: true, .. } => Rule::Unauthenticated,
        Method { local_admin: true, .. } => Rule::LocalAdmin,
        Method { roles, .. } => Rule::Roles(Vec::leak(roles.iter().map(|role| leak(role)).collect())),
    };
    // Nothing is served by it, so how messages flow does not matter.
    MethodRule { path: leak(&method.path), rule, client_streaming: false, server_streaming: false }
}

fn leak(text: &str) -> &'static str {
    String::leak(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method(path: &str) -> Method {
        Method { path: path.to_owned(), ..Method::default() }
    }

    #[test]
    fn what_a_process_says_becomes_the_rules_it_has() {
        let said = [
            Method { roles: vec!["writer".to_owned()], ..method("/p.S/A") },
            Method { any_identity: true, ..method("/p.S/B") },
            Method { unauthenticated: true, ..method("/p.S/C") },
            Method { local_admin: true, ..method("/p.S/D") },
        ];
        let methods = methods(&said).unwrap();
        let rule = |path| methods.rule(methods.index_of(path).unwrap()).unwrap().rule;
        assert_eq!(rule("/p.S/A"), Rule::Roles(&["writer"]));
        assert_eq!(rule("/p.S/B"), Rule::AnyIdentity);
        assert_eq!(rule("/p.S/C"), Rule::Unauthenticated);
        assert_eq!(rule("/p.S/D"), Rule::LocalAdmin);
    }

    #[test]
    fn a_method_without_any_rule_is_refused_rather_than_open() {
        assert!(matches!(methods(&[method("/p.S/Nobody")]), Err(ContractError::NoRoles { .. })));
    }

    #[test]
    fn the_same_contract_is_made_once() {
        let said = [Method { any_identity: true, ..method("/once.S/B") }];
        methods(&said).unwrap();
        methods(&said).unwrap();
        let known = KNOWN.lock().unwrap();
        assert_eq!(known.iter().filter(|(seen, _)| seen == &said).count(), 1);
    }
}

//! The rule of one RPC as it was declared, in a proto option or in a rules file: exactly one of four kinds.

use prost_reflect::{DynamicMessage, ExtensionDescriptor, MethodDescriptor, Value};

use crate::error::RuleFault;

/// The option that holds an RPC's rule.
pub(crate) const OPTION: &str = "avouch.authz.v1.rule";

/// The longest role name.
const MAX_ROLE_NAME: usize = 63;

/// Who may call an RPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A peer that holds at least one of these roles.
    Roles(Vec<String>),
    /// Any peer with a verified identity.
    AnyIdentity,
    /// Anybody, without an identity.
    Unauthenticated,
    /// The local administrator, over the admin socket only.
    LocalAdmin,
}

/// The four fields of `avouch.authz.v1.Rule`, before they are checked.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    pub(crate) roles: Vec<String>,
    pub(crate) any_identity: bool,
    pub(crate) unauthenticated: bool,
    pub(crate) local_admin: bool,
}

impl Rule {
    /// The rule that `method` carries as an option, if it carries one.
    pub(crate) fn of(
        method: &MethodDescriptor,
        option: &ExtensionDescriptor,
    ) -> Option<Result<Self, RuleFault>> {
        let options = method.options();
        if !options.has_extension(option) {
            return None;
        }
        let value = options.get_extension(option);
        Some(value.as_message().ok_or(RuleFault::Empty).and_then(|rule| Fields::read(rule).check()))
    }
}

impl Fields {
    fn read(rule: &DynamicMessage) -> Self {
        let flag =
            |name| rule.get_field_by_name(name).as_deref().and_then(Value::as_bool).unwrap_or_default();
        let roles = rule.get_field_by_name("roles");
        let roles = roles.as_deref().and_then(Value::as_list).unwrap_or_default();
        Self {
            roles: roles.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            any_identity: flag("any_identity"),
            unauthenticated: flag("unauthenticated"),
            local_admin: flag("local_admin"),
        }
    }

    /// Exactly one field, and well-formed roles.
    pub(crate) fn check(self) -> Result<Rule, RuleFault> {
        let mut set = Vec::new();
        if !self.roles.is_empty() {
            set.push(("roles", Rule::Roles(self.roles)));
        }
        for (yes, name, rule) in [
            (self.any_identity, "any_identity", Rule::AnyIdentity),
            (self.unauthenticated, "unauthenticated", Rule::Unauthenticated),
            (self.local_admin, "local_admin", Rule::LocalAdmin),
        ] {
            if yes {
                set.push((name, rule));
            }
        }
        if set.len() > 1 {
            return Err(RuleFault::Several(set.into_iter().map(|(name, _)| name).collect()));
        }
        let (_, rule) = set.pop().ok_or(RuleFault::Empty)?;
        if let Rule::Roles(roles) = &rule {
            check_roles(roles)?;
        }
        Ok(rule)
    }
}

fn check_roles(roles: &[String]) -> Result<(), RuleFault> {
    for (index, role) in roles.iter().enumerate() {
        if !is_role_name(role) {
            return Err(RuleFault::RoleName(role.clone()));
        }
        if roles.iter().take(index).any(|earlier| earlier == role) {
            return Err(RuleFault::RoleTwice(role.clone()));
        }
    }
    Ok(())
}

/// Lower-case words of letters and digits, joined by single hyphens; the first starts with a letter. The same grammar
/// is enforced once more when `avouch-authz` loads the contract.
fn is_role_name(name: &str) -> bool {
    name.len() <= MAX_ROLE_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.split('-').all(|word| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_names_are_lower_case_words_joined_by_hyphens() {
        for good in ["a", "ledger-writer", "tier2-support", &"r".repeat(63)] {
            assert!(is_role_name(good), "{good}");
        }
        let too_long = "r".repeat(64);
        for bad in ["", "-a", "a-", "a--b", "2a", "Ledger", "ledger_writer", "a b", "é", "a*", &too_long] {
            assert!(!is_role_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_rule_that_sets_nothing_is_refused() {
        assert_eq!(Fields::default().check(), Err(RuleFault::Empty));
    }

    #[test]
    fn a_rule_that_sets_two_fields_is_refused_by_name() {
        let fields = Fields { roles: vec!["a".into()], local_admin: true, ..Fields::default() };
        assert_eq!(fields.check(), Err(RuleFault::Several(vec!["roles", "local_admin"])));
    }

    #[test]
    fn a_role_listed_twice_is_refused() {
        let fields = Fields { roles: vec!["a".into(), "b".into(), "a".into()], ..Fields::default() };
        assert_eq!(fields.check(), Err(RuleFault::RoleTwice("a".into())));
    }
}

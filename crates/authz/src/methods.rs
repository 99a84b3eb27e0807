//! All RPCs that a process answers: the union of its contracts and a small table of protocols that are not ours.
//!
//! Roles become bits here: a process knows at most 64, so that "holds one of" is one machine instruction. An RPC that
//! two contracts rule differently, a malformed path or role, or a 65th role is refused at start.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use avouch_spiffe::contract::{Contract, MethodRule, Rule};
use rustc_hash::FxHashMap;

/// The role whose holders are told more about a denial of their calls, and may use server reflection.
pub const DEBUG_ROLE: &str = "debug";

/// The most roles: as many as a mask of 64 bits tells apart.
const MAX_ROLES: usize = 64;
const MAX_ROLE_NAME: usize = 63;

/// Protocols that come from libraries, reviewed one by one. Health: any caller that proves who it is (orchestrators
/// without a certificate use the plain health port). Reflection tells the whole API: for debugging only.
const BUILT_IN: Contract = Contract {
    name: "built-in",
    methods: &[
        built_in("/grpc.health.v1.Health/Check", Rule::AnyIdentity, false, false),
        built_in("/grpc.health.v1.Health/List", Rule::AnyIdentity, false, false),
        built_in("/grpc.health.v1.Health/Watch", Rule::AnyIdentity, false, true),
        built_in(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            Rule::Roles(&[DEBUG_ROLE]),
            true,
            true,
        ),
        built_in(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            Rule::Roles(&[DEBUG_ROLE]),
            true,
            true,
        ),
    ],
};

const fn built_in(path: &'static str, rule: Rule, client: bool, server: bool) -> MethodRule {
    MethodRule { path, rule, client_streaming: client, server_streaming: server }
}

/// A method's number in its [`Methods`], from 0 without gaps: an index for tables of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MethodIndex(u32);

impl MethodIndex {
    /// A number that no method has.
    pub(crate) const NONE: Self = Self(u32::MAX);

    /// The number.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The requirement of an RPC on its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Roles(u64),
    AnyIdentity,
    Unauthenticated,
    LocalAdmin,
}

impl Need {
    /// The mask of the roles of which one is required; 0 if none is.
    pub(crate) fn roles(self) -> u64 {
        match self {
            Self::Roles(mask) => mask,
            Self::AnyIdentity | Self::Unauthenticated | Self::LocalAdmin => 0,
        }
    }
}

/// One entry of the look-up table: everything that a decision needs to know of a method.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Method {
    pub(crate) path: &'static str,
    pub(crate) index: MethodIndex,
    pub(crate) need: Need,
}

/// Why contracts cannot be served together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContractError {
    /// A path is not `/package.Service/Method`.
    #[error("contract {contract:?}: {path:?} is not the path of an RPC (/package.Service/Method)")]
    Path {
        /// The contract's name.
        contract: &'static str,
        /// The path as written.
        path: &'static str,
    },
    /// A rule asks for one of no roles at all.
    #[error("contract {contract:?}: the rule of {path} lists no role, so nobody could ever call it")]
    NoRoles {
        /// The contract's name.
        contract: &'static str,
        /// The RPC.
        path: &'static str,
    },
    /// A role name is not lower-case words joined by single hyphens.
    #[error("contract {contract:?}: {role:?}, in the rule of {path}, is not a role name")]
    RoleName {
        /// The contract's name.
        contract: &'static str,
        /// The RPC.
        path: &'static str,
        /// The role as written.
        role: &'static str,
    },
    /// Two contracts rule the same RPC differently.
    #[error("{path} has one rule in contract {first:?} and another in {second:?}")]
    Conflict {
        /// The RPC.
        path: &'static str,
        /// One contract's name.
        first: &'static str,
        /// The other's.
        second: &'static str,
    },
    /// More roles than a mask has bits.
    #[error(
        "the contracts use {0} roles together (the role {DEBUG_ROLE:?} included); at most {MAX_ROLES} are possible"
    )]
    TooManyRoles(usize),
}

/// All RPCs that a process answers, with their rules. Cheap to clone.
#[derive(Clone)]
pub struct Methods(Arc<Inner>);

struct Inner {
    by_path: FxHashMap<&'static str, Method>,
    rules: Box<[MethodRule]>,
    /// By bit.
    roles: Box<[&'static str]>,
}

impl Methods {
    /// The union of `contracts` and the built-in table (`grpc.health.v1`, `grpc.reflection`).
    ///
    /// # Errors
    /// See [`ContractError`].
    pub fn new(contracts: &[&Contract]) -> Result<Self, ContractError> {
        let mut rules: BTreeMap<&'static str, (MethodRule, &'static str)> = BTreeMap::new();
        let mut roles = BTreeSet::from([DEBUG_ROLE]);
        for contract in contracts.iter().copied().chain([&BUILT_IN]) {
            for rule in contract.methods {
                roles.extend(check(contract.name, rule)?);
                if let Some((earlier, first)) = rules.insert(rule.path, (*rule, contract.name))
                    && earlier.rule != rule.rule
                {
                    return Err(ContractError::Conflict { path: rule.path, first, second: contract.name });
                }
            }
        }
        if roles.len() > MAX_ROLES {
            return Err(ContractError::TooManyRoles(roles.len()));
        }
        let roles: Box<[_]> = roles.into_iter().collect();
        let rules: Box<[_]> = rules.into_values().map(|(rule, _)| rule).collect();
        let methods = (0..).zip(&rules).map(|(index, MethodRule { path, rule, .. })| {
            let need = match rule {
                Rule::Roles(names) => Need::Roles(names.iter().filter_map(|name| mask(&roles, name)).sum()),
                Rule::AnyIdentity => Need::AnyIdentity,
                Rule::Unauthenticated => Need::Unauthenticated,
                Rule::LocalAdmin => Need::LocalAdmin,
            };
            (*path, Method { path, index: MethodIndex(index), need })
        });
        Ok(Self(Arc::new(Inner { by_path: methods.collect(), rules, roles })))
    }

    /// How many methods there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.rules.len()
    }

    /// Always false: the built-in table is never left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.rules.is_empty()
    }

    /// All methods, sorted by path, in the order of their [`MethodIndex`].
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &MethodRule> {
        self.0.rules.iter()
    }

    /// The number of the method with this path.
    #[must_use]
    pub fn index_of(&self, path: &str) -> Option<MethodIndex> {
        self.find(path).map(|method| method.index)
    }

    /// The rule of the method with this number, if there is one.
    #[must_use]
    pub fn rule(&self, index: MethodIndex) -> Option<&MethodRule> {
        self.0.rules.get(index.index())
    }

    /// All roles that the methods' rules name, and [`DEBUG_ROLE`]; sorted.
    #[must_use]
    pub fn roles(&self) -> &[&'static str] {
        &self.0.roles
    }

    #[inline]
    pub(crate) fn find(&self, path: &str) -> Option<&Method> {
        self.0.by_path.get(path)
    }

    /// The requirement of each method, in the order of their numbers.
    pub(crate) fn needs(&self) -> impl Iterator<Item = Need> {
        self.0.rules.iter().filter_map(|rule| self.find(rule.path)).map(|method| method.need)
    }

    /// The bit of a role; 0 if there is no such role.
    pub(crate) fn mask_of(&self, role: &str) -> u64 {
        mask(&self.0.roles, role).unwrap_or_default()
    }

    /// The names of the roles in a mask.
    pub(crate) fn role_names(&self, mask: u64) -> Vec<&'static str> {
        (0..).zip(&self.0.roles).filter(|(bit, _)| mask & (1 << bit) != 0).map(|(_, role)| *role).collect()
    }

    /// The first role of a mask.
    #[inline]
    pub(crate) fn first_role(&self, mask: u64) -> Option<&'static str> {
        self.0.roles.get(mask.trailing_zeros() as usize).copied()
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Methods").field("methods", &self.len()).field("roles", &self.roles()).finish()
    }
}

fn mask(roles: &[&'static str], role: &str) -> Option<u64> {
    roles.binary_search(&role).ok().map(|bit| 1 << bit)
}

/// The roles that `rule` names, once its form is checked.
fn check(contract: &'static str, rule: &MethodRule) -> Result<&'static [&'static str], ContractError> {
    let path = rule.path;
    let parts: Vec<_> = path.split('/').collect();
    if !matches!(parts.as_slice(), ["", service, method] if !service.is_empty() && !method.is_empty()) {
        return Err(ContractError::Path { contract, path });
    }
    let Rule::Roles(roles) = rule.rule else { return Ok(&[]) };
    if roles.is_empty() {
        return Err(ContractError::NoRoles { contract, path });
    }
    match roles.iter().find(|role| !is_role_name(role)) {
        Some(role) => Err(ContractError::RoleName { contract, path, role }),
        None => Ok(roles),
    }
}

/// Lower-case words of letters and digits, joined by single hyphens; the first starts with a letter.
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

    const fn contract(name: &'static str, methods: &'static [MethodRule]) -> Contract {
        Contract { name, methods }
    }

    const fn roles(path: &'static str, roles: &'static [&'static str]) -> MethodRule {
        built_in(path, Rule::Roles(roles), false, false)
    }

    #[test]
    fn methods_are_numbered_in_the_order_of_their_paths() {
        const A: Contract = contract("a", &[roles("/z.Z/Z", &["r"]), roles("/a.A/A", &["s"])]);
        let methods = Methods::new(&[&A]).unwrap();
        let paths: Vec<_> = methods.iter().map(|method| method.path).collect();
        assert!(paths.is_sorted());
        for path in paths {
            let index = methods.index_of(path).unwrap();
            assert_eq!(methods.rule(index).unwrap().path, path);
        }
        assert_eq!(methods.roles(), ["debug", "r", "s"]);
    }

    #[test]
    fn health_and_reflection_are_always_there_and_never_open_to_callers_without_identity() {
        let methods = Methods::new(&[]).unwrap();
        assert_eq!(methods.len(), 5);
        assert!(methods.iter().all(|method| method.rule != Rule::Unauthenticated));
    }

    #[test]
    fn the_same_rule_twice_is_fine_and_a_different_one_is_a_conflict() {
        const A: Contract = contract("a", &[roles("/p.S/M", &["r"])]);
        const B: Contract = contract("b", &[roles("/p.S/M", &["other"])]);
        assert!(Methods::new(&[&A, &A]).is_ok());
        assert_eq!(
            Methods::new(&[&A, &B]).unwrap_err(),
            ContractError::Conflict { path: "/p.S/M", first: "a", second: "b" }
        );
    }

    #[test]
    fn a_contract_cannot_loosen_the_built_in_table() {
        const OPEN: Contract =
            contract("a", &[built_in("/grpc.health.v1.Health/Check", Rule::Unauthenticated, false, false)]);
        assert!(matches!(Methods::new(&[&OPEN]), Err(ContractError::Conflict { .. })));
    }

    #[test]
    fn malformed_paths_are_refused() {
        for path in ["", "/", "p.S/M", "/p.S", "/p.S/", "//M", "/p.S/M/N"] {
            let methods = Box::leak(Box::new([roles(path, &["r"])]));
            let error = Methods::new(&[&contract("a", methods)]).unwrap_err();
            assert_eq!(error, ContractError::Path { contract: "a", path });
        }
    }

    #[test]
    fn malformed_and_missing_roles_are_refused() {
        const NONE: Contract = contract("a", &[roles("/p.S/M", &[])]);
        const BAD: Contract = contract("a", &[roles("/p.S/M", &["Writer"])]);
        assert!(matches!(Methods::new(&[&NONE]), Err(ContractError::NoRoles { .. })));
        assert!(matches!(Methods::new(&[&BAD]), Err(ContractError::RoleName { role: "Writer", .. })));
    }

    #[test]
    fn sixty_four_roles_are_possible_and_one_more_is_refused() {
        let names = |count: usize| -> &'static [&'static str] {
            (0..count).map(|i| &*format!("r{i}").leak()).collect::<Vec<_>>().leak()
        };
        let with = |count| {
            let methods = Box::leak(Box::new([roles("/p.S/M", names(count))]));
            Methods::new(&[&contract("a", methods)])
        };
        let methods = with(63).unwrap();
        assert_eq!(methods.roles().len(), 64);
        assert_eq!(methods.role_names(u64::MAX).len(), 64);
        assert_eq!(with(64).unwrap_err(), ContractError::TooManyRoles(65));
    }
}

//! The whole policy as one table, role × RPC, for a reviewed golden file and for reports.
//!
//! Each cell is answered by the function that answers calls, so the table cannot say something else than the server
//! does. Deny rules name callers rather than roles and stand beside the table.

use std::fmt;

use serde::Serialize;

use crate::decide::{CallerKind, judge};
use crate::methods::Need;
use crate::policy::Policy;

/// The callers that a row is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A caller without an identity.
    Anonymous,
    /// A peer that holds no role.
    AnyIdentity,
    /// The local administrator.
    LocalAdmin,
    /// A peer that holds this role and no other.
    Role(&'static str),
}

/// The RPCs that one subject may call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MatrixRow {
    /// The callers that the row is about.
    pub subject: Subject,
    /// For a role: the callers that the policy binds to it, as written.
    pub callers: Vec<String>,
    /// By RPC, in the order of [`Matrix::methods`].
    pub allowed: Vec<bool>,
}

/// A deny rule of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MatrixDeny {
    /// The denied caller, as written.
    pub caller: String,
    /// The denied methods, as written; absent: all.
    pub methods: Option<Vec<String>>,
    /// The rule's location, `file:line`.
    pub place: String,
}

/// The policy as a table, role × RPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matrix {
    /// The RPCs, sorted by path.
    pub methods: Vec<&'static str>,
    /// Anonymous, any identity, local admin, then the roles by name.
    pub rows: Vec<MatrixRow>,
    /// The deny rules.
    pub denies: Vec<MatrixDeny>,
}

/// The table of `policy` over all methods that it was checked against.
#[must_use]
pub fn matrix(policy: &Policy) -> Matrix {
    let methods: Vec<_> = policy.methods().iter().map(|method| method.path).collect();
    let needs: Vec<Need> =
        methods.iter().filter_map(|path| policy.methods().find(path)).map(|method| method.need).collect();
    let row = |subject, callers, kind| MatrixRow {
        subject,
        callers,
        allowed: needs.iter().map(|need| judge(*need, kind).is_ok()).collect(),
    };
    let mut rows = vec![
        row(Subject::Anonymous, Vec::new(), CallerKind::Anonymous),
        row(Subject::AnyIdentity, Vec::new(), CallerKind::Peer { roles: 0 }),
        row(Subject::LocalAdmin, Vec::new(), CallerKind::LocalAdmin),
    ];
    for ((bit, role), binding) in (0..).zip(policy.methods().roles()).zip(policy.role_bindings()) {
        let callers = binding.callers.iter().map(ToString::to_string).collect();
        rows.push(row(Subject::Role(role), callers, CallerKind::Peer { roles: 1 << bit }));
    }
    let denies = policy
        .deny_rules()
        .iter()
        .map(|rule| MatrixDeny {
            caller: rule.caller.to_string(),
            methods: rule.methods.clone(),
            place: policy.location(Some(rule.line)).to_string(),
        })
        .collect();
    Matrix { methods, rows, denies }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Anonymous => "(anonymous)",
            Self::AnyIdentity => "(any identity)",
            Self::LocalAdmin => "(local admin)",
            Self::Role(role) => role,
        })
    }
}

impl fmt::Display for Matrix {
    /// One line per RPC with the subjects that may call it, then the denies: made to be read in a diff.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.methods.iter().map(|path| path.len()).max().unwrap_or_default();
        for (column, path) in self.methods.iter().enumerate() {
            let may = self.rows.iter().filter(|row| row.allowed.get(column) == Some(&true));
            let names: Vec<_> = may.map(|row| row.subject.to_string()).collect();
            writeln!(f, "{path:width$}  {}", names.join(" "))?;
        }
        for deny in &self.denies {
            let methods =
                deny.methods.as_ref().map_or_else(|| "everything".to_owned(), |list| list.join(" "));
            writeln!(f, "deny {} {methods}", deny.caller)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{POLICY, methods};

    #[test]
    fn the_table_of_a_policy_reads_as_reviewed() {
        let policy = Policy::load("policy.toml", POLICY, &methods()).unwrap();
        let expected = "\
/grpc.health.v1.Health/Check                                    (any identity) auditor debug ledger-writer staff
/grpc.health.v1.Health/List                                     (any identity) auditor debug ledger-writer staff
/grpc.health.v1.Health/Watch                                    (any identity) auditor debug ledger-writer staff
/grpc.reflection.v1.ServerReflection/ServerReflectionInfo       debug
/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo  debug
/shop.v1.Admin/Close                                            (local admin)
/shop.v1.Ledger/Post                                            ledger-writer
/shop.v1.Ledger/Read                                            auditor staff
/shop.v1.Shop/Knock                                             (anonymous) (any identity) (local admin) auditor debug \
            ledger-writer staff
/shop.v1.Shop/Look                                              (any identity) auditor debug ledger-writer staff
deny spiffe://shop.example/staff/mallory /shop.v1.Ledger/*
deny spiffe://shop.example/old/* everything
";
        assert_eq!(matrix(&policy).to_string(), expected);
    }

    #[test]
    fn a_row_names_the_callers_that_are_bound_to_its_role() {
        let policy = Policy::load("policy.toml", POLICY, &methods()).unwrap();
        let matrix = matrix(&policy);
        let staff = matrix.rows.iter().find(|row| row.subject == Subject::Role("staff")).unwrap();
        assert_eq!(staff.callers, ["spiffe://shop.example/staff/*"]);
        assert_eq!(matrix.denies[0].place, "policy.toml:7");
    }
}

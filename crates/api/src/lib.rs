//! Generated code and contract of avouch's own protos (`proto/avouch`): how a workload gets, renews and recovers its
//! identity, how an issuer is administered, and how the status and records of a process are queried.
//!
//! Nothing is written by hand here but this page and the tests; the rules in [`CONTRACT`] come from the protos, and the
//! build fails for an RPC without one.

/// The issuer: enrolment, renewal, recovery, trust.
pub mod issuer {
    /// Version 1 of the API.
    #[allow(missing_docs, clippy::allow_attributes_without_reason, reason = "generated from issuer.proto")]
    pub mod v1 {
        tonic::include_proto!("avouch.issuer.v1");
    }
}

/// Administration: entries, tokens, bundle, inventory.
pub mod admin {
    /// Version 1 of the API.
    #[allow(missing_docs, clippy::allow_attributes_without_reason, reason = "generated from admin.proto")]
    pub mod v1 {
        tonic::include_proto!("avouch.admin.v1");
    }
}

/// Observation: status, policy, edges and records of a process.
pub mod observe {
    /// Version 1 of the API.
    #[allow(missing_docs, clippy::allow_attributes_without_reason, reason = "generated from observe.proto")]
    pub mod v1 {
        tonic::include_proto!("avouch.observe.v1");
    }
}

include!(concat!(env!("OUT_DIR"), "/contract.rs"));

#[cfg(test)]
mod tests {
    use avouch_spiffe::contract::Rule;

    use super::CONTRACT;

    #[test]
    fn the_administration_is_open_to_the_local_admin_alone() {
        let admin: Vec<_> =
            CONTRACT.methods.iter().filter(|m| m.path.starts_with("/avouch.admin.v1.Admin/")).collect();
        assert_eq!(admin.len(), 17);
        assert!(admin.iter().all(|method| matches!(method.rule, Rule::LocalAdmin)));
    }

    #[test]
    fn only_first_contact_and_recovery_are_open_to_callers_without_an_identity() {
        let open: Vec<_> = CONTRACT
            .methods
            .iter()
            .filter(|method| matches!(method.rule, Rule::Unauthenticated))
            .map(|method| method.path)
            .collect();
        assert_eq!(
            open,
            [
                "/avouch.issuer.v1.Issuer/BeginRecovery",
                "/avouch.issuer.v1.Issuer/Enroll",
                "/avouch.issuer.v1.Issuer/Recover"
            ]
        );
    }

    #[test]
    fn the_trust_stream_streams_both_ways() {
        let watch = CONTRACT.methods.iter().find(|m| m.path.ends_with("/WatchTrust")).unwrap();
        assert!(watch.client_streaming && watch.server_streaming);
    }
}

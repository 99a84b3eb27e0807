//! The methods that stream, and so get no default deadline.
//!
//! A request does not say whether its method streams: on the wire a stream of one message and a unary call are the
//! same. So the contracts say it. A method that no contract has counts as unary, so that a call to it ends.

use avouch_spiffe::contract::MethodRule;

use crate::method_set::{MethodSet, REFLECTION};

/// Health's stream, which every server may speak and which has no contract here.
const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// The methods that stream, in either direction or both.
#[derive(Clone, Debug)]
pub(super) struct StreamingMethods(MethodSet);

impl StreamingMethods {
    /// Those of health, of reflection and of avouch's own services.
    pub(super) fn well_known() -> Self {
        let mut known = Self(MethodSet::default());
        known.0.add(REFLECTION.into_iter().chain([WATCH]));
        known.add(avouch_api::CONTRACT.methods);
        known
    }

    /// Adds those of `methods` that stream.
    pub(super) fn add<'a>(&mut self, methods: impl IntoIterator<Item = &'a MethodRule>) {
        let streams = |method: &&MethodRule| method.client_streaming || method.server_streaming;
        self.0.add(methods.into_iter().filter(streams).map(|method| method.path));
    }

    pub(super) fn contains(&self, path: &str) -> bool {
        self.0.contains(path)
    }
}

#[cfg(test)]
mod tests {
    use avouch_spiffe::contract::Rule;

    use super::*;

    const fn method(path: &'static str, client_streaming: bool, server_streaming: bool) -> MethodRule {
        MethodRule { path, rule: Rule::AnyIdentity, client_streaming, server_streaming }
    }

    #[test]
    fn what_streams_in_either_direction_is_a_stream_and_what_no_contract_has_is_none() {
        let mut methods = StreamingMethods::well_known();
        methods.add(&[
            method("/z.v1.Z/Down", false, true),
            method("/z.v1.Z/Up", true, false),
            method("/a.v1.A/Both", true, true),
            method("/a.v1.A/Unary", false, false),
        ]);
        for path in ["/z.v1.Z/Down", "/z.v1.Z/Up", "/a.v1.A/Both"] {
            assert!(methods.contains(path), "{path}");
        }
        for path in
            ["/a.v1.A/Unary", "/a.v1.A/Unknown", "/a.v1.A/both", "a.v1.A/Both", "/a.v1.A/Both/", "/", ""]
        {
            assert!(!methods.contains(path), "{path}");
        }
    }

    #[test]
    fn the_streams_of_health_reflection_and_of_this_project_are_known() {
        let methods = StreamingMethods::well_known();
        let own = ["/avouch.observe.v1.Observe/WatchRecords", "/avouch.issuer.v1.Issuer/WatchTrust"];
        for path in REFLECTION.into_iter().chain([WATCH]).chain(own) {
            assert!(methods.contains(path), "{path}");
        }
        for path in ["/grpc.health.v1.Health/Check", "/avouch.issuer.v1.Issuer/Renew"] {
            assert!(!methods.contains(path), "{path}");
        }
    }
}

//! For handlers: the permit of the call they are answering.

use avouch_spiffe::Reason;
use tonic::{Request, Status};

use crate::decide::Permit;
use crate::layer::denied_call;

impl Permit {
    /// The permit under which `request` arrived.
    ///
    /// # Errors
    /// PERMISSION_DENIED with NO_ALLOW_RULE if nothing has allowed it, which means that the service runs without an
    /// [`AuthzLayer`](crate::layer::AuthzLayer).
    pub fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        request.extensions().get::<Self>().cloned().ok_or_else(|| {
            denied_call::status(
                Reason::NoAllowRule,
                "no policy has allowed this call: the service has no authorization layer".to_owned(),
                Default::default(),
                None,
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::StatusExt;

    use super::*;
    use crate::decide::{Caller, decide};
    use crate::testing::{POLICY, policy};

    #[test]
    fn a_handler_gets_the_permit_of_its_call() {
        let permit = decide(&policy(POLICY), Caller::Anonymous, "/shop.v1.Shop/Knock").unwrap();
        let mut request = Request::new(());
        request.extensions_mut().insert(permit);
        assert_eq!(Permit::of(&request).unwrap().path(), "/shop.v1.Shop/Knock");
    }

    #[test]
    fn without_a_decision_there_is_no_permit() {
        let status = Permit::of(&Request::new(())).unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied);
        assert_eq!(status.get_details_error_info().unwrap().reason, "NO_ALLOW_RULE");
    }
}

//! Observers of how calls end: notified when a call begins, and again when it ends with another status than OK.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use http::{Extensions, HeaderMap};
use tonic::Code;

/// The token by which a [`CallWatcher`] recognises a call.
pub type CallToken = Arc<dyn Any + Send + Sync>;

/// Observes the beginning of every call, and each end with another status than OK.
pub trait CallWatcher: Send + Sync + fmt::Debug {
    /// A call with these request extensions has begun. Its end is reported only if this returns a token.
    fn begun(&self, extensions: &Extensions) -> Option<CallToken>;

    /// A call of `method` (`pkg.Service/Method`, or `_OTHER`) has ended with another status than OK, trailers included.
    fn failed(&self, token: &CallToken, method: &'static str, end: CallEnd<'_>);
}

/// The end of a call with another status than OK.
#[derive(Debug, Clone, Copy)]
pub struct CallEnd<'a> {
    /// The gRPC status of the call.
    pub code: Code,
    /// The headers or trailers with the status. None if there are none: the call was dropped, or its body broke.
    pub said: Option<&'a HeaderMap>,
    /// The extensions of a trailers-only response, such as a denial.
    pub response: Option<&'a Extensions>,
}

/// A call whose end is reported to a watcher.
#[derive(Clone)]
pub(super) struct Watched {
    pub(super) watcher: Arc<dyn CallWatcher>,
    pub(super) token: CallToken,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.watcher).finish()
    }
}

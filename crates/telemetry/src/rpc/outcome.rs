//! For those who count how calls end: per call one look at its beginning, and one word when it ends badly.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use http::Extensions;
use tonic::Code;

/// What a [`CallWatcher`] knows a call by.
pub type CallToken = Arc<dyn Any + Send + Sync>;

/// Sees every call begin, and those end that end with another status than OK.
pub trait CallWatcher: Send + Sync + fmt::Debug {
    /// A call with these request extensions has begun. Only with a token its end is told.
    fn begun(&self, extensions: &Extensions) -> Option<CallToken>;

    /// A call of `method` (`pkg.Service/Method`, or `_OTHER`) ended with `code`, at its very end, trailers included.
    /// `response` are the extensions of a response that was nothing but its status, as those of a refusal are.
    fn failed(&self, token: &CallToken, method: &'static str, code: Code, response: Option<&Extensions>);
}

/// A call whose end is to be told.
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

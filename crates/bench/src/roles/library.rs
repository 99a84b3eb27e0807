//! avouch's server as a user's program would set it up by hand, with as much around it as that program wants.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use avouch_authz::layer::{AuthzLayer, DecisionObserver};
use avouch_authz::{Methods, Policy, PolicyHandle};
use avouch_identity::{Identity, IdentityFilter, RequestBody, Server, ServerOptions};
use avouch_records::{BadEnd, FileConfig, Recorder, RecordsConfig};
use avouch_telemetry::{CallEnd, CallToken, CallWatcher, Metrics, ServerLayer, Tracing, current_trace_id};
use avouch_testkit::ca::id;
use http::Extensions;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tower_layer::Layer as _;

use super::bare;
use crate::echo::CONTRACT;
use crate::error::Error;
use crate::pki::{CALLER, Pki, SERVER};

/// The size from which on another file of records is begun: the default of programs.
const ROTATE_BYTES: u64 = 16 * 1024 * 1024;

/// Older files of records that are kept: the default of programs.
const ROTATE_KEEP: u32 = 4;

/// What a program has around the identity and the role check of every call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Around<'a> {
    /// Nothing.
    Nothing,
    /// Metrics of every call, and no traces.
    Metrics,
    /// Metrics, and records in memory.
    Records,
    /// Metrics, records in memory, and every decision in a file in this directory.
    RecordFile(&'a Path),
}

/// The policy that lets the caller call.
#[must_use]
pub fn policy() -> String {
    format!("[roles]\ncaller = [\"{}\"]\n", id(&format!("/{CALLER}")))
}

/// Serves for ever; the recorder, if there is one.
///
/// # Errors
/// When it cannot begin.
pub(super) async fn serve(
    listener: TcpListener,
    pki: &Pki,
    around: Around<'_>,
) -> Result<Option<Recorder>, Error> {
    let identity = Identity::start(pki.identity(SERVER)).await.map_err(|error| failed(&error))?;
    serve_as(listener, identity, around)
}

/// The same, with an identity of any source.
///
/// # Errors
/// When it cannot begin.
pub(super) fn serve_as(
    listener: TcpListener,
    identity: Identity,
    around: Around<'_>,
) -> Result<Option<Recorder>, Error> {
    let methods = Methods::new(&[&CONTRACT]).map_err(|error| failed(&error))?;
    let policy = Policy::load("policy.toml", &policy(), &methods).map_err(|error| failed(&error))?;
    let policy = PolicyHandle::fixed(policy);
    let trust_domain = identity.spiffe_id().trust_domain().clone();
    let mut options = ServerOptions::default();
    // All callers of a run are one network, and a fast machine would reach the limit of one.
    options.max_handshake_rate = 1_000_000;
    let server = Server::new(identity, IdentityFilter::trust_domain(trust_domain.clone())).options(options);
    let authorized = |observer: Arc<dyn DecisionObserver>| {
        AuthzLayer::new(policy, trust_domain, observer).layer(Routes::new(bare::service()).prepare())
    };
    let recorder = match around {
        Around::Nothing => {
            spawn(server, listener, authorized(Arc::new(())));
            return Ok(None);
        }
        Around::Metrics => None,
        Around::Records => Some(recorder(methods.clone(), None)?),
        Around::RecordFile(dir) => Some(recorder(methods.clone(), Some(dir))?),
    };
    let metrics = Metrics::new("bench", "0").map_err(|error| failed(&error))?;
    let layer = ServerLayer::new(&Tracing::off(), &metrics, methods.iter().map(|method| method.path));
    let Some(recorder) = recorder else {
        spawn(server, listener, layer.layer(authorized(Arc::new(()))));
        return Ok(None);
    };
    let observer = Arc::new(recorder.clone());
    let layer = layer.watcher(Arc::new(Ends(recorder.clone())));
    spawn(server.observer(observer.clone()), listener, layer.layer(authorized(observer)));
    Ok(Some(recorder))
}

fn spawn<S, B>(server: Server, listener: TcpListener, service: S)
where
    S: tower::Service<http::Request<RequestBody>, Response = http::Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    tokio::spawn(server.serve(listener, service, std::future::pending()));
}

fn recorder(methods: Methods, dir: Option<&Path>) -> Result<Recorder, Error> {
    let file = dir.map(|dir| FileConfig {
        path: dir.join("records.jsonl"),
        rotate_bytes: ROTATE_BYTES,
        rotate_keep: ROTATE_KEEP,
        allowed: true,
    });
    let config = RecordsConfig { file, ..RecordsConfig::default() };
    let started = Recorder::builder(config, methods).trace(current_trace_id).start();
    started.map_err(Error::system("start the recorder"))
}

fn failed(error: &dyn std::error::Error) -> Error {
    Error::other(avouch_text::with_causes(error).to_string())
}

/// Records how calls end, as the service shell does.
#[derive(Debug)]
struct Ends(Recorder);

impl CallWatcher for Ends {
    fn begun(&self, extensions: &Extensions) -> Option<CallToken> {
        self.0.begun(extensions)
    }

    fn failed(&self, token: &CallToken, method: &'static str, end: CallEnd<'_>) {
        self.0.failed(&**token, method, BadEnd::Failed, end.response);
    }
}

//! The parts of a process that exist before it has an identity.

use std::path::PathBuf;
use std::time::SystemTime;

use avouch_authz::{Methods, PolicyHandle};
use avouch_telemetry::Telemetry;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::health::{Health, HealthPort};
use crate::lifecycle::Lifecycle;
use crate::observe::Observer;

/// The parts that a [`Boot`](crate::Boot) makes and an [`App`](crate::App) takes over.
#[derive(Debug)]
pub(crate) struct AppParts {
    pub(crate) name: &'static str,
    pub(crate) config: Config,
    pub(crate) methods: Methods,
    pub(crate) policy: PolicyHandle,
    pub(crate) telemetry: Telemetry,
    /// Cancelled when the process is asked to stop.
    pub(crate) stop: CancellationToken,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) health: Health,
    pub(crate) health_port: HealthPort,
    /// The listening socket that a service manager passed.
    pub(crate) socket: Option<std::net::TcpListener>,
    pub(crate) observer: Observer,
    /// The directory that the identity is stored in, if it is stored.
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) started: SystemTime,
}

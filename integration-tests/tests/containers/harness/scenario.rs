//! Runs one scenario in a world of its own, and takes that world away again.

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use testcontainers::bollard::Docker;
use testcontainers::bollard::models::{NetworkCreateRequest, VolumeCreateRequest};
use testcontainers::bollard::query_parameters::InspectNetworkOptions;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, Node, NodeSpec, Outcome, engine, images};

/// One run's network and containers.
pub(crate) struct World {
    docker: Docker,
    run: String,
    network: Network,
    scratch: tempfile::TempDir,
    nodes: Mutex<Vec<Arc<Node>>>,
}

/// A network.
#[derive(Clone)]
pub(crate) struct Network(String);

impl Network {
    pub(super) fn name(&self) -> &str {
        &self.0
    }
}

/// A named volume.
pub(crate) struct Volume(String);

impl Volume {
    pub(super) fn name(&self) -> &str {
        &self.0
    }
}

/// Runs `body` in a world of its own; prints one line with the scenario's name, result and time.
pub(crate) fn scenario<F, B>(name: &'static str, body: F) -> Outcome
where
    F: FnOnce(Arc<World>) -> B,
    B: Future<Output = Outcome> + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Not every future of the engine's client can change threads.
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let Some(docker) = engine::answering(name).await? else { return Ok(()) };
        images::ready().await?;
        engine::sweep(&docker).await?;
        let started = Instant::now();
        let world = Arc::new(World::create(docker, name).await?);
        let outcome = guarded(body(Arc::clone(&world))).await;
        let outcome = world.close(outcome).await;
        let verdict = if outcome.is_ok() { "passed" } else { "FAILED" };
        eprintln!("scenario {name}: {verdict} in {:.1} s", started.elapsed().as_secs_f32());
        outcome
    })
}

/// The body's outcome; a panic in it and an interrupt of the process are failures.
async fn guarded(body: impl Future<Output = Outcome> + 'static) -> Outcome {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut task = tokio::task::spawn_local(body);
    let ended = tokio::select! {
        ended = &mut task => return ended.unwrap_or_else(|error| Err(Failure::from(error))),
        _ = interrupt.recv() => "interrupted",
        _ = terminate.recv() => "terminated",
    };
    task.abort();
    let _ = task.await;
    Err(Failure::new(ended))
}

impl World {
    async fn create(docker: Docker, scenario: &str) -> Outcome<Self> {
        let scratch = tempfile::Builder::new().prefix("avouch-").rand_bytes(8).tempdir()?;
        let unique = scratch.path().file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let run = unique.to_ascii_lowercase();
        let network = Network(run.clone());
        let world = Self { docker, run, network, scratch, nodes: Mutex::new(Vec::new()) };
        world
            .create_network(world.run.clone())
            .await
            .map_err(|error| Failure::new(format!("the network of {scenario}: {error:?}")))?;
        Ok(world)
    }

    /// Internal: nothing in it reaches the host's surroundings, or is reached from there.
    async fn create_network(&self, name: String) -> Outcome<Network> {
        let request = NetworkCreateRequest {
            name: name.clone(),
            internal: Some(true),
            labels: Some(self.labels()),
            ..NetworkCreateRequest::default()
        };
        self.docker.create_network(request).await?;
        Ok(Network(name))
    }

    fn labels(&self) -> HashMap<String, String> {
        [(engine::RUN, self.run.clone()), (engine::OWNER, engine::owner())]
            .map(|(key, value)| (key.to_owned(), value))
            .into()
    }

    /// A network beside the one that all containers are on.
    pub(crate) async fn extra_network(&self, name: &str) -> Outcome<Network> {
        self.create_network(format!("{}-{name}", self.run)).await
    }

    /// A volume that several containers may share, and that outlives each of them; gone with the world.
    pub(crate) async fn volume(&self, name: &str) -> Outcome<Volume> {
        self.create_volume(name, HashMap::new()).await
    }

    /// A volume in memory that holds so many bytes, for as long as a running container has it mounted.
    pub(crate) async fn small_volume(&self, name: &str, bytes: u64) -> Outcome<Volume> {
        let options = [
            ("type", "tmpfs".to_owned()),
            ("device", "tmpfs".to_owned()),
            ("o", format!("size={bytes},uid=65532,gid=65532,mode=0700")),
        ];
        self.create_volume(name, options.map(|(key, value)| (key.to_owned(), value)).into()).await
    }

    async fn create_volume(&self, name: &str, options: HashMap<String, String>) -> Outcome<Volume> {
        let request = VolumeCreateRequest {
            name: Some(format!("{}-{name}", self.run)),
            driver_opts: Some(options),
            labels: Some(self.labels()),
            ..VolumeCreateRequest::default()
        };
        Ok(Volume(self.docker.create_volume(request).await?.name))
    }

    /// Describes a container: its name within the scenario, and its image's.
    pub(crate) fn node<'a>(&'a self, name: &'a str, image: &'a str) -> NodeSpec<'a> {
        NodeSpec::new(self, name, image)
    }

    /// The DNS name of the container called `name`, started or not.
    pub(crate) fn host(&self, name: &str) -> String {
        format!("{}-{name}", self.run)
    }

    pub(super) fn docker(&self) -> &Docker {
        &self.docker
    }

    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    pub(super) fn run(&self) -> &str {
        &self.run
    }

    /// The host's own end of the run's network: whoever is on it hears everything.
    pub(crate) async fn bridge(&self) -> Outcome<String> {
        let network = self.docker.inspect_network(&self.run, None::<InspectNetworkOptions>).await?;
        Ok(format!("br-{:.12}", network.id.unwrap_or_default()))
    }

    /// A folder of the run's own, on the host.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    pub(super) fn admit(&self, node: Arc<Node>) {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).push(node);
    }

    /// Keeps the logs of a failure, then removes everything; a leftover is a failure too.
    async fn close(&self, outcome: Outcome) -> Outcome {
        let nodes = std::mem::take(&mut *self.nodes.lock().unwrap_or_else(PoisonError::into_inner));
        let outcome = match outcome {
            Ok(()) => Ok(()),
            Err(failure) => {
                let kept = self.keep_logs(&nodes).await;
                Err(Failure::new(format!("{failure:?}\nlogs: {}", kept.display())))
            }
        };
        for node in nodes {
            if let Some(node) = Arc::into_inner(node) {
                let _ = node.remove().await; // what stays is found below
            }
        }
        let removed = engine::remove_run(&self.docker, &self.run).await;
        outcome.and(removed)
    }

    async fn keep_logs(&self, nodes: &[Arc<Node>]) -> PathBuf {
        let folder = images::target().join("integration-tests").join(&self.run);
        for node in nodes {
            let text = match node.output().await {
                Ok((stdout, stderr)) => format!("{stdout}{stderr}"),
                Err(failure) => format!("no output: {failure:?}\n"),
            };
            let file = folder.join(format!("{}.log", node.name()));
            if let Err(error) = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, text)) {
                eprintln!("{}: {error}", file.display());
            }
        }
        folder
    }
}

//! Runs one scenario in a world of its own, and takes that world away again.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use testcontainers::bollard::Docker;
use testcontainers::bollard::models::NetworkCreateRequest;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, Node, NodeSpec, Outcome, engine, images};

/// One run's network and containers.
pub(crate) struct World {
    docker: Docker,
    run: String,
    scratch: tempfile::TempDir,
    nodes: Mutex<Vec<Arc<Node>>>,
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
        let labels = [(engine::RUN, run.clone()), (engine::OWNER, engine::owner())];
        // Internal: nothing in it reaches the host's surroundings, or is reached from there.
        let network = NetworkCreateRequest {
            name: run.clone(),
            internal: Some(true),
            labels: Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            ..NetworkCreateRequest::default()
        };
        docker.create_network(network).await.map_err(|error| {
            Failure::new(format!("the network of {scenario}: {:?}", Failure::from(error)))
        })?;
        Ok(Self { docker, run, scratch, nodes: Mutex::new(Vec::new()) })
    }

    /// Describes a container: its name within the scenario, and its image's.
    pub(crate) fn node<'a>(&'a self, name: &'a str, image: &'a str) -> NodeSpec<'a> {
        NodeSpec::new(self, name, image)
    }

    /// The DNS name of the container called `name`, started or not.
    pub(crate) fn host(&self, name: &str) -> String {
        format!("{}-{name}", self.run)
    }

    pub(super) fn network(&self) -> &str {
        &self.run
    }

    pub(super) fn run(&self) -> &str {
        &self.run
    }

    pub(super) fn scratch(&self) -> &Path {
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

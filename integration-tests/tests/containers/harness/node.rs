//! One container of a scenario: how it is described, started, asked, watched.
//!
//! Every container runs as the image's own user with a read-only root, no capability and no published port.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use testcontainers::bollard::Docker;
use testcontainers::core::{AccessMode, ExecCommand, Mount, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};

use super::{Failure, Network, Outcome, Volume, World, engine, eventually, images};

/// A container to be.
pub(crate) struct NodeSpec<'a> {
    world: &'a World,
    name: &'a str,
    image: &'a str,
    entrypoint: Option<&'a str>,
    command: Vec<String>,
    environment: BTreeMap<String, String>,
    files: Vec<(&'a str, String)>,
    volumes: Vec<(&'a Volume, &'a str)>,
    descriptors: Option<i64>,
}

impl<'a> NodeSpec<'a> {
    pub(super) fn new(world: &'a World, name: &'a str, image: &'a str) -> Self {
        Self {
            world,
            name,
            image,
            entrypoint: None,
            command: Vec::new(),
            environment: BTreeMap::new(),
            files: Vec::new(),
            volumes: Vec::new(),
            descriptors: None,
        }
    }

    /// Another program of the image than its first.
    pub(crate) fn entrypoint(mut self, program: &'a str) -> Self {
        self.entrypoint = Some(program);
        self
    }

    /// The program's arguments.
    pub(crate) fn command<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command = arguments.into_iter().map(Into::into).collect();
        self
    }

    /// An environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// A file at `/etc/avouch/<name>`, readable only.
    pub(crate) fn file(mut self, name: &'a str, content: impl Into<String>) -> Self {
        self.files.push((name, content.into()));
        self
    }

    /// A volume at `path`; the image's own one is the container's alone, and goes with it.
    pub(crate) fn volume(mut self, volume: &'a Volume, path: &'a str) -> Self {
        self.volumes.push((volume, path));
        self
    }

    /// How many descriptors its program may have open.
    pub(crate) fn descriptors(mut self, most: i64) -> Self {
        self.descriptors = Some(most);
        self
    }

    /// Creates and starts the container; it may take a while until what runs in it is ready.
    pub(crate) async fn start(self) -> Outcome<Arc<Node>> {
        let host = self.world.host(self.name);
        let mut image = GenericImage::new(format!("avouch/{}", self.image), images::tag(self.image)?)
            .with_wait_for(WaitFor::Nothing);
        if let Some(program) = self.entrypoint {
            image = image.with_entrypoint(program);
        }
        let mut request = image
            .with_container_name(&host)
            .with_network(self.world.network().name())
            .with_label(engine::RUN, self.world.run())
            .with_label(engine::OWNER, engine::owner())
            .with_readonly_rootfs(true)
            .with_cap_drop("ALL")
            .with_security_opt("no-new-privileges")
            .with_mount(Mount::tmpfs_mount("/run/avouch"))
            .with_host_config_modifier(|config| config.publish_all_ports = Some(false));
        if !self.files.is_empty() {
            let folder = self.write_files()?;
            let mount = Mount::bind_mount(folder.to_string_lossy(), "/etc/avouch");
            request = request.with_mount(mount.with_access_mode(AccessMode::ReadOnly));
        }
        for (volume, path) in &self.volumes {
            request = request.with_mount(Mount::volume_mount(volume.name(), *path));
        }
        if let Some(most) = self.descriptors {
            request = request.with_ulimit("nofile", most, Some(most));
        }
        if !self.command.is_empty() {
            request = request.with_cmd(self.command.iter().map(String::as_str));
        }
        for (name, value) in &self.environment {
            request = request.with_env_var(name, value);
        }
        let container = request
            .start()
            .await
            .map_err(|error| Failure::new(format!("starting '{}': {:?}", self.name, Failure::from(error))))?;
        let node = Arc::new(Node {
            name: self.name.to_owned(),
            host,
            container,
            docker: self.world.docker().clone(),
            network: self.world.network().clone(),
        });
        self.world.admit(Arc::clone(&node));
        Ok(node)
    }

    /// The container's user is another than ours: the files are readable for all, and the run's folder is not.
    fn write_files(&self) -> Outcome<PathBuf> {
        let folder = self.world.scratch().join(self.name);
        std::fs::create_dir_all(&folder)?;
        for (name, content) in &self.files {
            std::fs::write(folder.join(name), content)?;
        }
        Ok(folder)
    }
}

/// A started container.
pub(crate) struct Node {
    name: String,
    host: String,
    pub(super) container: ContainerAsync<GenericImage>,
    pub(super) docker: Docker,
    /// The one it was started on.
    pub(super) network: Network,
}

/// What a program that has ended leaves.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: i64,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// The standard output of a program that succeeded.
    pub(crate) fn success(self, what: &str) -> Outcome<String> {
        if self.status == 0 {
            return Ok(self.stdout);
        }
        Err(Failure::new(format!("{what}: exit status {}\n{}{}", self.status, self.stdout, self.stderr)))
    }
}

impl Node {
    /// Its name within the scenario.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its name in the network's DNS.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Runs a program inside and waits for its end.
    pub(crate) async fn exec(&self, command: &[&str]) -> Outcome<Finished> {
        let mut running = self.container.exec(ExecCommand::new(command.iter().copied())).await?;
        let stdout = String::from_utf8_lossy(&running.stdout_to_vec().await?).into_owned();
        let stderr = String::from_utf8_lossy(&running.stderr_to_vec().await?).into_owned();
        // Its output has ended, so it has; the engine may take a moment to say how.
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if let Some(status) = running.exit_code().await? {
                return Ok(Finished { status, stdout, stderr });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(Failure::new(format!("'{}' in '{}' does not end", command.join(" "), self.name)))
    }

    /// Waits for the container's own program to end.
    pub(crate) async fn finished(&self, patience: Duration) -> Outcome<Finished> {
        let what = format!("the end of '{}'", self.name);
        let status = eventually(&what, patience, || async { Ok(self.container.exit_code().await?) }).await?;
        let (stdout, stderr) = self.output().await?;
        Ok(Finished { status, stdout, stderr })
    }

    /// Takes a text file out of the container, whoever may read it there.
    pub(crate) async fn take(&self, path: &str) -> Outcome<String> {
        let mut content = Vec::new();
        self.container.copy_file_from(path, &mut content).await?;
        String::from_utf8(content).map_err(Failure::from)
    }

    /// Everything written so far: standard output, standard error.
    pub(crate) async fn output(&self) -> Outcome<(String, String)> {
        let stdout = self.container.stdout_to_vec().await?;
        let stderr = self.container.stderr_to_vec().await?;
        Ok((String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned()))
    }

    /// The lines written so far that are JSON objects.
    pub(crate) async fn records(&self) -> Outcome<Vec<Value>> {
        let (stdout, stderr) = self.output().await?;
        let lines = stdout.lines().chain(stderr.lines());
        Ok(lines
            .filter(|line| line.starts_with('{'))
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect())
    }

    /// Waits for a record; a container that ends meanwhile is a failure at once.
    pub(crate) async fn record(&self, what: &str, matches: impl Fn(&Value) -> bool) -> Outcome<Value> {
        self.look_for(0, Duration::from_secs(30), what, matches).await
    }

    /// As [`Node::record`], but not among the first `seen` records.
    pub(crate) async fn record_after(
        &self,
        seen: usize,
        what: &str,
        matches: impl Fn(&Value) -> bool,
    ) -> Outcome<Value> {
        self.look_for(seen, Duration::from_secs(30), what, matches).await
    }

    /// As [`Node::record`], of what may take its time.
    pub(crate) async fn record_within(
        &self,
        patience: Duration,
        what: &str,
        matches: impl Fn(&Value) -> bool,
    ) -> Outcome<Value> {
        self.look_for(0, patience, what, matches).await
    }

    async fn look_for(
        &self,
        seen: usize,
        patience: Duration,
        what: &str,
        matches: impl Fn(&Value) -> bool,
    ) -> Outcome<Value> {
        let matches = &matches;
        let what = format!("'{}': a record of {what}", self.name);
        eventually(&what, patience, || async {
            let ended = self.container.exit_code().await?;
            let found = self.records().await?.into_iter().skip(seen).find(|record| matches(record));
            match (found, ended) {
                (None, Some(status)) => Err(Failure::new(format!("{what}: it has ended, status {status}"))),
                (found, _) => Ok(found),
            }
        })
        .await
    }

    /// A file inside, which the program may have closed or not.
    pub(crate) async fn read(&self, path: &str) -> Outcome<Vec<u8>> {
        let mut content = Vec::new();
        self.container.copy_file_from(path, &mut content).await?;
        Ok(content)
    }

    pub(super) async fn remove(self) -> Outcome {
        Ok(self.container.rm().await?)
    }
}

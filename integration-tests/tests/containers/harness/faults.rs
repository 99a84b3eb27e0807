//! What is done to containers: stopped, killed, frozen, cut off from a network; and back.

use std::time::Duration;

use testcontainers::bollard::models::{EndpointSettings, NetworkConnectRequest, NetworkDisconnectRequest};
use testcontainers::bollard::query_parameters::{KillContainerOptionsBuilder, RemoveContainerOptionsBuilder};

use super::{Network, Node, Outcome, eventually};

/// Longer than any drain of the services.
const STOPPED: i32 = 30;

impl Node {
    /// Sends its program a signal, as `SIGHUP`.
    pub(crate) async fn signal(&self, signal: &str) -> Outcome {
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        Ok(self.docker.kill_container(self.container.id(), Some(options)).await?)
    }

    /// `kill -9`, and its end.
    pub(crate) async fn kill(&self) -> Outcome {
        self.signal("SIGKILL").await?;
        let ended = || async { Ok(self.container.exit_code().await?) };
        eventually(&format!("the end of '{}'", self.name()), Duration::from_secs(10), ended).await?;
        Ok(())
    }

    /// SIGTERM, and its end.
    pub(crate) async fn stop(&self) -> Outcome {
        Ok(self.container.stop_with_timeout(Some(STOPPED)).await?)
    }

    /// Starts it again: the same container, volumes and files.
    pub(crate) async fn start(&self) -> Outcome {
        Ok(self.container.start().await?)
    }

    /// Kills it, and takes it away with the volume of its own: another may have its name from then on.
    pub(crate) async fn destroy(&self) -> Outcome {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        Ok(self.docker.remove_container(self.container.id(), Some(options)).await?)
    }

    /// Freezes all of its processes.
    pub(crate) async fn pause(&self) -> Outcome {
        Ok(self.container.pause().await?)
    }

    /// Lets them go on.
    pub(crate) async fn resume(&self) -> Outcome {
        Ok(self.container.unpause().await?)
    }

    /// Connects it to one more network, where it is called `alias`; several may share an alias.
    pub(crate) async fn join(&self, network: &Network, alias: &str) -> Outcome {
        let endpoint =
            EndpointSettings { aliases: Some(vec![alias.to_owned()]), ..EndpointSettings::default() };
        let request = NetworkConnectRequest {
            container: self.container.id().to_owned(),
            endpoint_config: Some(endpoint),
        };
        Ok(self.docker.connect_network(network.name(), request).await?)
    }

    /// Gives it one more name on the run's network, which replicas may share. It is unplugged for a moment, and its
    /// address may change.
    pub(crate) async fn alias(&self, alias: &str) -> Outcome {
        self.leave(&self.network).await?;
        self.join(&self.network, alias).await
    }

    /// Takes it off a network: what was sent there arrives nowhere, as if a cable were cut.
    pub(crate) async fn leave(&self, network: &Network) -> Outcome {
        let container = self.container.id().to_owned();
        let request = NetworkDisconnectRequest { container, force: Some(true) };
        Ok(self.docker.disconnect_network(network.name(), request).await?)
    }
}

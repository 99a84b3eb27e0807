//! The container engine: finds it, says loudly when there is none, sweeps what killed runs have left in it.

use std::collections::HashMap;
use std::path::Path;

use testcontainers::bollard::Docker;
use testcontainers::bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveVolumeOptions,
};
use testcontainers::core::client::docker_client_instance;

use super::{Failure, Outcome};

/// Names the run a container or network belongs to.
pub(super) const RUN: &str = "dev.avouch.test.run";
/// Names the process that owns it, as `<boot id>/<process id>`.
pub(super) const OWNER: &str = "dev.avouch.test.owner";

/// The engine, or none: then the scenario is skipped, and with `AVOUCH_REQUIRE_DOCKER=1` it fails.
pub(super) async fn answering(scenario: &str) -> Outcome<Option<Docker>> {
    let why = match docker_client_instance().await {
        Ok(docker) => match docker.ping().await {
            Ok(_) => return Ok(Some(docker)),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    if std::env::var("AVOUCH_REQUIRE_DOCKER").is_ok_and(|value| value == "1") {
        return Err(Failure::new(format!("AVOUCH_REQUIRE_DOCKER=1, but no container engine answers: {why}")));
    }
    eprintln!("SKIPPED {scenario}: no container engine answers ({why}). Nothing was tested.");
    Ok(None)
}

/// What identifies this process to later runs on this machine.
pub(super) fn owner() -> String {
    format!("{}/{}", boot_id(), std::process::id())
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// A process that has been killed and not yet waited for has no command line any more.
fn runs(process: &str) -> bool {
    let file = Path::new("/proc").join(process).join("cmdline");
    std::fs::read(file).is_ok_and(|command| !command.is_empty())
}

/// Removes what belongs to processes of this machine that are no more.
pub(super) async fn sweep(docker: &Docker) -> Outcome {
    let gone = |labels: &Option<HashMap<String, String>>| {
        let owner = labels.as_ref().and_then(|labels| labels.get(OWNER))?;
        let (boot, process) = owner.split_once('/')?;
        (boot == boot_id() && !runs(process)).then_some(())
    };
    for container in containers(docker, OWNER).await? {
        if let (Some(()), Some(id)) = (gone(&container.1), container.0) {
            remove_container(docker, &id).await;
        }
    }
    for (name, labels) in networks(docker, OWNER).await? {
        if let (Some(()), Some(name)) = (gone(&labels), name) {
            let _ = docker.remove_network(&name).await; // another run may be sweeping too
        }
    }
    for (name, labels) in volumes(docker, OWNER).await? {
        if let (Some(()), Some(name)) = (gone(&labels), name) {
            let _ = docker.remove_volume(&name, None::<RemoveVolumeOptions>).await; // as above
        }
    }
    Ok(())
}

/// Removes everything of one run; fails if something stays.
pub(super) async fn remove_run(docker: &Docker, run: &str) -> Outcome {
    let label = format!("{RUN}={run}");
    for (id, _) in containers(docker, &label).await? {
        remove_container(docker, &id.unwrap_or_default()).await;
    }
    for (name, _) in networks(docker, &label).await? {
        docker.remove_network(&name.unwrap_or_default()).await?;
    }
    for (name, _) in volumes(docker, &label).await? {
        docker.remove_volume(&name.unwrap_or_default(), None::<RemoveVolumeOptions>).await?;
    }
    let left = containers(docker, &label).await?.len()
        + networks(docker, &label).await?.len()
        + volumes(docker, &label).await?.len();
    if left > 0 {
        return Err(Failure::new(format!(
            "{left} containers, networks or volumes of run {run} could not be removed"
        )));
    }
    Ok(())
}

async fn remove_container(docker: &Docker, id: &str) {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    let _ = docker.remove_container(id, Some(options)).await; // what stays is found by the caller
}

type Labelled = Vec<(Option<String>, Option<HashMap<String, String>>)>;

async fn containers(docker: &Docker, label: &str) -> Outcome<Labelled> {
    let filters = HashMap::from([("label", vec![label])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let found = docker.list_containers(Some(options)).await?;
    Ok(found.into_iter().map(|container| (container.id, container.labels)).collect())
}

async fn volumes(docker: &Docker, label: &str) -> Outcome<Labelled> {
    let filters = HashMap::from([("label", vec![label])]);
    let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
    let found = docker.list_volumes(Some(options)).await?.volumes.unwrap_or_default();
    Ok(found.into_iter().map(|volume| (Some(volume.name), Some(volume.labels))).collect())
}

async fn networks(docker: &Docker, label: &str) -> Outcome<Labelled> {
    let filters = HashMap::from([("label", vec![label])]);
    let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
    let found = docker.list_networks(Some(options)).await?;
    Ok(found.into_iter().map(|network| (network.name, network.labels)).collect())
}

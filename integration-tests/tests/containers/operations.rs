//! What the pages of `docs/operations` say of Compose, by their own commands: the market is started, looked at, its
//! issuer backed up, lost and restored, upgraded, and taken away.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::harness::{Outcome, ensure, eventually, root, scenario};
use crate::pages::{figure, section};

const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn compose_is_installed_backed_up_upgraded_and_left_by_its_pages() -> Outcome {
    if !crate::compose::has_compose() {
        eprintln!("!! SKIPPED: no Compose on this machine, the commands of its pages were not run");
        return Ok(());
    }
    scenario("operations", |world| async move {
        let stage = Stage { project: world.host("pages"), folder: world.scratch().to_owned() };
        stage.install().await?;
        stage.back_up_lose_and_restore().await?;
        stage.page("upgrade.md", "In Compose", 1).await?;
        ensure(stage.order("upgraded").await?["state"] == "COMPLETED", "the order after the upgrade")?;
        stage.page("install-compose.md", "Take it away", 1).await?;
        let volumes = stage.run("docker volume ls --quiet").await?;
        ensure(!volumes.contains(&stage.project), format!("volumes are left: {volumes}"))
    })
}

/// A project of its own, in which the pages' commands run. Taken away when this is dropped.
struct Stage {
    project: String,
    /// Where the pages' own files go.
    folder: PathBuf,
}

impl Stage {
    /// The commands with the names of this project in place of those of the pages.
    fn shell(&self, commands: &str) -> std::process::Command {
        let here = commands
            .replace("avouch_issuer-data", &format!("{}_issuer-data", self.project))
            .replace("target/compose/avouch/", &format!("target/compose/{}/", self.project))
            .replace("issuer-backup.tar", &format!("{}/issuer-backup.tar", self.folder.display()))
            .replace(
                "https://localhost:7443",
                "https://localhost:$(docker port \"$STOREFRONT\" 7443/tcp | sed -n '1s/.*://p')",
            );
        let mut shell = std::process::Command::new("sh");
        shell.args(["-euc", &here]).current_dir(root()).stdin(Stdio::null());
        shell.env("COMPOSE_PROJECT_NAME", &self.project).env("AVOUCH_INGRESS_PORT", "0").env("NO_COLOR", "1");
        // The scenarios have built the images.
        shell.env("AVOUCH_IMAGES", "prebuilt").env_remove("AVOUCH_TAG");
        shell
    }

    async fn run(&self, commands: &str) -> Outcome<String> {
        let mut shell = self.shell(commands);
        if commands.contains("localhost:7443") {
            shell.env("STOREFRONT", self.container("storefront").await?);
        }
        let output = Command::from(shell).kill_on_drop(true).output().await?;
        let [printed, said] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        ensure(output.status.success(), format!("{commands}: {printed}{said}"))?;
        Ok(printed)
    }

    /// The blocks under a heading; what they print.
    async fn page(&self, page: &str, heading: &str, count: usize) -> Outcome<Vec<String>> {
        let mut printed = Vec::new();
        for block in section(page, heading, count) {
            printed.push(self.run(&block).await?);
        }
        Ok(printed)
    }

    async fn container(&self, service: &str) -> Outcome<String> {
        let labels = ["project", "service"].iter().zip([&*self.project, service]);
        let mut docker = Command::new("docker");
        docker.args(["ps", "--all", "--quiet"]);
        for (label, value) in labels {
            docker.arg("--filter").arg(format!("label=com.docker.compose.{label}={value}"));
        }
        let output = docker.output().await?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    async fn install(&self) -> Outcome {
        let started = self.page("install-compose.md", "Start", 1).await?.concat();
        ensure(started.contains("The market is up"), started)?;
        let seen = self.page("install-compose.md", "See that it works", 2).await?;
        let [listed, order] = &seen[..] else { return ensure(false, format!("two blocks: {seen:?}")) };
        let parts = ["spiffe://market.example/orders", "every workload answers (6)", "Ledger/Tail"];
        for part in parts {
            ensure(listed.contains(part), format!("{part} is not in {listed}"))?;
        }
        let order: Value = serde_json::from_str(order)?;
        ensure(order["state"] == "COMPLETED", format!("the page's order: {order}"))?;
        let sizes = self.page("capacity.md", "Images", 1).await?.concat();
        for image in ["avouch/issuer", "avouch/ledger"] {
            let line = sizes.lines().find_map(|line| line.strip_prefix(image)).unwrap_or_default();
            let size =
                line.split_whitespace().last().and_then(|size| size.strip_suffix("MB")?.parse::<f64>().ok());
            let stated = figure("capacity.md", image);
            let near = size.is_some_and(|size| (stated * 0.8..=stated * 1.2).contains(&size));
            ensure(near, format!("{image}: {stated} MB on the page, here {line}"))?;
        }
        self.page("install-compose.md", "What to change", 1).await?;
        self.healthy("orders").await
    }

    /// As the page has it, the issuer runs while it is copied.
    async fn back_up_lose_and_restore(&self) -> Outcome {
        let ask = "deploy/compose/compose exec -T issuer /usr/bin/avouch";
        let bundle = self.run(&format!("{ask} bundle show --json")).await?;
        let known = self.run(&format!("{ask} entry list --json")).await?;
        self.page("backup.md", "In Compose", 1).await?;
        let late = "spiffe://market.example/late";
        self.run(&format!("{ask} entry add {late}")).await?;

        self.page("backup.md", "In Compose: restore", 1).await?;
        for service in ["issuer", "inventory", "ledger", "payments", "orders", "reports", "storefront"] {
            self.healthy(service).await?;
        }
        let restored = self.run(&format!("{ask} bundle show --json")).await?;
        ensure(restored == bundle, "the restored issuer has other roots")?;
        let restored = self.run(&format!("{ask} entry list --json")).await?;
        ensure(restored == known, format!("other entries: {restored}, not {known}"))
    }

    async fn healthy(&self, service: &str) -> Outcome {
        let container = &self.container(service).await?;
        eventually(&format!("{service} is healthy"), PATIENCE, || async move {
            let format = "{{.State.Status}} {{.State.Health.Status}}";
            let state = self.run(&format!("docker inspect --format '{format}' {container}")).await?;
            Ok((state.trim() == "running healthy").then_some(()))
        })
        .await
    }

    /// The page's order under another ID; what is refused while the market comes back is tried again.
    async fn order(&self, id: &str) -> Outcome<Value> {
        let order = std::fs::read_to_string(root().join("deploy/demo/order.json"))?;
        let file = self.folder.join("order.json");
        std::fs::write(&file, order.replace("curl-0001", id))?;
        let blocks = section("install-compose.md", "See that it works", 2);
        let block = blocks.last().cloned().unwrap_or_default();
        let block = &block.replace("@deploy/demo/order.json", &format!("@{}", file.display()));
        eventually("an order", PATIENCE, || async move {
            let answer =
                self.run(block).await.ok().and_then(|answer| serde_json::from_str::<Value>(&answer).ok());
            Ok(answer.filter(|answer| answer["state"] == "COMPLETED"))
        })
        .await
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let mut down = self.shell("deploy/compose/compose down");
        let _ = down.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

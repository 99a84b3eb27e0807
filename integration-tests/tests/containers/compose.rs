//! `deploy/compose` in earnest, as `./just containers-up` and `containers-down` run it: the orders are worked off,
//! restarts and a second start change nothing, containers reach whom they call and no one else, and in the end nothing
//! is left.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::harness::{Failure, Outcome, ensure, eventually, scenario};

const PATIENCE: Duration = Duration::from_secs(90);

/// What the engine keeps of a project.
const KINDS: [&[&str]; 3] = [&["ps", "--all"], &["volume", "ls"], &["network", "ls"]];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

pub(crate) fn has_compose() -> bool {
    let answers = |program: &str, words: &[&str]| {
        let mut command = std::process::Command::new(program);
        command.args(words).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    answers("docker", &["compose", "version"]) || answers("docker-compose", &["version"])
}

async fn run(mut command: Command) -> Outcome<Output> {
    Ok(command.stdin(Stdio::null()).kill_on_drop(true).output().await?)
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn docker(words: &[&str]) -> Outcome<String> {
    let mut command = Command::new("docker");
    command.args(words);
    let output = run(command).await?;
    ensure(output.status.success(), format!("docker {}: {}", words.join(" "), said(&output)))?;
    Ok(said(&output))
}

/// The market of one test. Taken away when this is dropped, whatever has happened.
struct Market {
    project: String,
}

impl Market {
    fn script(&self) -> std::process::Command {
        let mut script = std::process::Command::new(root().join("deploy/compose/compose"));
        script.current_dir(root());
        script.env("COMPOSE_PROJECT_NAME", &self.project).env("AVOUCH_INGRESS_PORT", "0");
        // The scenarios have built the images.
        script.env("AVOUCH_IMAGES", "prebuilt").env_remove("AVOUCH_TAG").env("NO_COLOR", "1");
        script
    }

    async fn compose(&self, words: &[&str]) -> Outcome<String> {
        let mut script = self.script();
        script.args(words);
        let output = run(script.into()).await?;
        ensure(output.status.success(), format!("compose {}: {}", words.join(" "), said(&output)))?;
        Ok(said(&output))
    }

    /// The container of a service, whichever way this Compose writes its name.
    async fn container(&self, service: &str) -> Outcome<String> {
        let project = format!("label=com.docker.compose.project={}", self.project);
        let service = format!("label=com.docker.compose.service={service}");
        let found = docker(&["ps", "--all", "--quiet", "--filter", &project, "--filter", &service]).await?;
        Ok(found.trim().to_owned())
    }

    /// Places an order with what `up` said to try, under another order ID.
    async fn order(&self, up: &str, id: &str) -> Outcome<Value> {
        let line = up.lines().map(str::trim).find(|line| line.starts_with("curl "));
        let line = line.ok_or_else(|| Failure::new(format!("no curl line to try in: {up}")))?;
        let order = std::fs::read_to_string(root().join("deploy/demo/order.json"))?;
        let mut curl = Command::new("sh");
        curl.args([
            "-c",
            &line.replace("@deploy/demo/order.json", "\"$ORDER\"").replace("curl ", "curl -sS "),
        ]);
        curl.current_dir(root()).env("ORDER", order.replace("curl-0001", id));
        let output = run(curl).await?;
        ensure(output.status.success(), format!("{line}: {}", said(&output)))?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The totals of the stream that the storefront works off at its start.
    async fn totals(&self) -> Outcome<Value> {
        let storefront = self.container("storefront").await?;
        let storefront = storefront.as_str();
        eventually("the orders are worked off", PATIENCE, || async move {
            let log = docker(&["logs", storefront]).await?;
            let records = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            Ok(records.into_iter().find(|record| record["message"] == "the orders have ended"))
        })
        .await
    }

    async fn healthy(&self, service: &str) -> Outcome {
        let container = self.container(service).await?;
        let container = container.as_str();
        let format = "{{.State.Status}} {{.State.Health.Status}}";
        eventually(&format!("{service} is healthy again"), PATIENCE, || async move {
            let state = docker(&["inspect", "--format", format, container]).await?;
            Ok((state.trim() == "running healthy").then_some(()))
        })
        .await
    }

    /// What a connection from beside `from`, in its network, comes to.
    async fn dial(&self, from: &str, to: &str) -> Outcome<String> {
        let network = format!("container:{}", self.container(from).await?);
        let mut probe = Command::new("docker");
        probe.args(["run", "--rm", "--network", &network, "avouch/test-peers:latest", "dial", to]);
        Ok(said(&run(probe).await?))
    }

    /// Whatever the engine has of this project.
    async fn left(&self) -> Outcome<String> {
        let filter = format!("label=com.docker.compose.project={}", self.project);
        let mut left = String::new();
        for kind in KINDS {
            left += &docker(&[kind, &["--quiet", "--filter", &filter]].concat()).await?;
        }
        Ok(left)
    }

    /// A service reaches whom it calls, and another neither by name nor by address.
    async fn calls_only(&self, from: &str, called: &str, other: &str) -> Outcome {
        self.reaches(from, called).await?;
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
        let addresses = docker(&["inspect", "--format", format, &self.container(other).await?]).await?;
        for place in addresses.split_whitespace().chain([other]) {
            let answer = self.dial(from, &format!("{place}:7000")).await?;
            ensure(!connected(&answer), format!("{from} reaches {other} as {place}: {answer}"))?;
        }
        Ok(())
    }

    async fn reaches(&self, from: &str, to: &str) -> Outcome {
        let answer = self.dial(from, &format!("{to}:7000")).await?;
        ensure(connected(&answer), format!("{from} does not reach {to}: {answer}"))
    }
}

/// The server waits for a handshake and the probe for a line, until one of them gives up.
fn connected(answer: &str) -> bool {
    answer.contains("os error 11") || answer.contains("uid=")
}

impl Drop for Market {
    fn drop(&mut self) {
        let _ = self.script().arg("down").stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

#[test]
fn the_market_runs_in_compose_and_leaves_nothing() -> Outcome {
    if !has_compose() {
        eprintln!(
            "!! SKIPPED: neither `docker compose` nor docker-compose on this machine, nothing was started"
        );
        return Ok(());
    }
    scenario("compose", |world| async move {
        let market = Market { project: world.host("compose") };
        let up = market.compose(&["up"]).await?;
        let totals = market.totals().await?;
        let counts = (&totals["lines"], &totals["completed"], &totals["failed"]);
        ensure(counts == (&400.into(), &368.into(), &0.into()), format!("the orders' totals: {totals}"))?;
        let order = market.order(&up, "compose-1").await?;
        ensure(order["state"] == "COMPLETED", format!("the first order: {order}"))?;

        market.calls_only("storefront", "orders", "ledger").await?;
        market.calls_only("reports", "issuer", "payments").await?;
        // By `avouch`, run in there.
        for service in ["inventory", "ledger", "orders", "payments", "reports", "storefront"] {
            market.reaches("issuer", service).await?;
        }

        // Their tokens are spent, and gone with the issuer that kept them.
        let restarted = ["issuer", "payments", "storefront"];
        for service in restarted {
            docker(&["restart", &market.container(service).await?]).await?;
        }
        for service in restarted {
            market.healthy(service).await?;
        }
        let up = market.compose(&["up"]).await?;
        let order = market.order(&up, "compose-2").await?;
        ensure(order["state"] == "COMPLETED", format!("an order after restarts: {order}"))?;

        let logs = market.compose(&["logs"]).await?;
        ensure(!logs.contains("avjt1."), "a join token is in a log")?;

        market.compose(&["down"]).await?;
        let left = market.left().await?;
        ensure(left.is_empty(), format!("left in the engine: {left}"))
    })
}

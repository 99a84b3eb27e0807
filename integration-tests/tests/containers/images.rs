//! What is in the images: one static program or two, nobody's rights, a health check, and nothing to break in with.

use std::process::Command;

use serde_json::Value;

use crate::harness::{Failure, Outcome, ensure, image, images_ready, root};

/// The most an image may weigh for each program in it, built without optimization as the tests are: the issuer's holds
/// `avouch` too. Nobody ships the peers.
const HEAVIEST: u64 = 30_000_000;

#[tokio::test]
async fn every_image_is_small_runs_as_nobody_checks_its_health_and_holds_its_programs_alone() -> Outcome {
    if !images_ready("images").await? {
        return Ok(());
    }
    let table = std::fs::read_to_string(root().join("deploy/docker/images"))?;
    let rows = table.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let mut seen = 0;
    for row in rows {
        let columns: Vec<&str> = row.split_whitespace().collect();
        let [name, programs, kind] = columns[..] else {
            return Err(Failure::new(format!("a row with other columns: {row}")));
        };
        let image = image(name)?;
        let heaviest = HEAVIEST * programs.split(',').count() as u64;
        is_as_described(name, (kind, heaviest), &inspect(&image)?)?;
        holds_only(&image, programs)?;
        seen += 1;
    }
    ensure(seen >= 9, format!("{seen} images"))
}

fn is_as_described(name: &str, (kind, heaviest): (&str, u64), image: &Value) -> Outcome {
    let size = image["Size"].as_u64().unwrap_or(u64::MAX);
    ensure(
        size <= heaviest || kind == "peers",
        format!("'{name}' weighs {size} octets, more than {heaviest}"),
    )?;
    let config = &image["Config"];
    ensure(config["User"] == "65532:65532", format!("'{name}' runs as {}", config["User"]))?;
    ensure(config["Entrypoint"][0] == "/entrypoint", format!("'{name}' starts {}", config["Entrypoint"]))?;
    ensure(
        config["Volumes"]["/var/lib/avouch"].is_object(),
        format!("'{name}' has no volume for its state"),
    )?;
    let health = &config["Healthcheck"]["Test"];
    let expected = match kind {
        "peers" => Value::Null,
        _ => serde_json::json!(["CMD", "/entrypoint", "--health"]),
    };
    ensure(*health == expected, format!("'{name}' checks its health by {health}"))?;
    let labels = &config["Labels"];
    for label in ["title", "version", "licenses"] {
        let label = format!("org.opencontainers.image.{label}");
        let text = labels[&label].as_str().unwrap_or_default();
        ensure(!text.is_empty(), format!("'{name}' has no label {label}"))?;
    }
    ensure(labels["dev.avouch.image"] == name, format!("'{name}' is labelled {labels}"))
}

/// No shell, no library, no key: the programs, two files that name the user, and folders to mount something on.
fn holds_only(image: &str, programs: &str) -> Outcome {
    let made = docker(&["create", image])?;
    let container = made.trim();
    let listed = Command::new("sh")
        .args(["-c", "docker export \"$1\" | tar -t", "sh", container])
        .output()
        .map_err(Failure::from);
    docker(&["rm", "--volumes", container])?;
    let listed = String::from_utf8_lossy(&listed?.stdout).into_owned();
    let mut expected: Vec<String> = programs.split(',').map(|name| format!("usr/bin/{name}")).collect();
    expected.extend(["entrypoint", "etc/group", "etc/passwd"].map(str::to_owned));
    // What the engine itself puts into every container.
    let engines = [".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf"];
    let mut files: Vec<&str> =
        listed.lines().filter(|path| !path.ends_with('/') && !engines.contains(path)).collect();
    files.sort_unstable();
    expected.sort_unstable();
    ensure(files == expected, format!("{image} holds {files:?} instead of {expected:?}"))
}

fn inspect(image: &str) -> Outcome<Value> {
    let shown: Value = serde_json::from_str(&docker(&["image", "inspect", image])?)?;
    Ok(shown[0].clone())
}

fn docker(arguments: &[&str]) -> Outcome<String> {
    let output = Command::new("docker").args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure(output.status.success(), format!("docker {}: {said}", arguments.join(" ")))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

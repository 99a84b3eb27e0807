//! What all other scenarios rely on, shown with a program that knows nothing of avouch: static programs run in an
//! otherwise empty image, as a user without rights, and find one another by container name on a private network.

use std::time::Duration;

use crate::harness::{Outcome, ensure, scenario};

#[test]
fn static_programs_in_empty_images_find_one_another_by_container_name() -> Outcome {
    scenario("engine_and_images", |world| async move {
        let listener =
            world.node("listener", "test-peers").command(["listen", "7000", "hello"]).start().await?;
        listener.record("listening", |record| record["message"] == "listening").await?;

        let address = format!("{}:7000", listener.host());
        let dialer = world.node("dialer", "test-peers").command(["dial", &address]).start().await?;
        let answer = dialer.finished(Duration::from_secs(20)).await?.success("dialing by name")?;
        ensure(answer == "hello uid=65532\n", format!("unexpected answer {answer:?}"))?;

        let within = listener.exec(&["/usr/bin/probe", "dial", "localhost:7000"]).await?;
        ensure(within.success("a second program inside")?.starts_with("hello"), "no answer inside")
    })
}

#[test]
fn a_failed_scenario_keeps_its_logs_and_leaves_nothing_in_the_engine() -> Outcome {
    let mut seen = None;
    let outcome = scenario("failing_on_purpose", |world| {
        seen = Some(world.host("witness"));
        async move {
            let witness =
                world.node("witness", "test-peers").command(["listen", "7000", "x"]).start().await?;
            witness.record("listening", |record| record["message"] == "listening").await?;
            panic!("on purpose")
        }
    });
    let Some(host) = seen else { return outcome }; // no engine
    let message = outcome.err().map(|failure| format!("{failure:?}")).unwrap_or_default();
    ensure(message.contains("on purpose"), format!("the panic was not reported: {message}"))?;
    let logs = message.rsplit_once("logs: ").map(|(_, path)| path.to_owned()).unwrap_or_default();
    let kept = std::fs::read_to_string(format!("{logs}/witness.log"))?;
    ensure(kept.contains("listening"), format!("the log was not kept in {logs}"))?;
    std::fs::remove_dir_all(&logs)?;
    ensure(!exists(&host)?, format!("{host} is still there"))
}

fn exists(container: &str) -> Outcome<bool> {
    let shown = std::process::Command::new("docker").args(["container", "inspect", container]).output()?;
    Ok(shown.status.success())
}

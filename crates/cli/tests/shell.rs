//! What stands beside a shell: completions, and programs that are asked for their configuration.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use avouch_testkit::program::alone;
fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn completions_are_scripts_that_their_shell_understands() {
    let avouch = |shell| {
        let temp = tempfile::tempdir().unwrap();
        let mut command = alone(env!("CARGO_BIN_EXE_avouch"), temp.path());
        let output = command.args(["completions", shell]).output().unwrap();
        assert!(output.status.success());
        out(&output)
    };
    for shell in ["bash", "zsh", "fish"] {
        let script = avouch(shell);
        assert!(script.contains("needs-renewal") && script.contains("handshake"), "{shell}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), script).unwrap();
        // Of the shells only bash is everywhere.
        match Command::new(shell).arg("-n").arg(file.path()).output() {
            Ok(output) => assert!(output.status.success(), "{shell}: {}", err(&output)),
            Err(_) => assert_ne!(shell, "bash", "bash is needed for this test"),
        }
    }
}

#[test]
fn a_program_is_asked_for_its_configuration_with_the_flags_and_the_environment_it_would_have() {
    let temp = tempfile::tempdir().unwrap();
    let program = temp.path().join("orders");
    std::fs::write(
        &program,
        "#!/bin/sh\nfor word in \"$@\"; do echo \"[$word]\"; done\necho $AVOUCH_A__B\nexit $CODE\n",
    )
    .unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let show = |code: &str, before: &[&str]| {
        let mut command = alone(env!("CARGO_BIN_EXE_avouch"), temp.path());
        command.env("AVOUCH_A__B", "c").env("CODE", code).args(before).args(["config", "show"]);
        command.arg(&program).args(["--config", "orders.toml", "--set", "a.b=d e"]).output().unwrap()
    };
    let rest = "[--config]\n[orders.toml]\n[--set]\n[a.b=d e]\nc\n";
    assert_eq!(out(&show("0", &[])), format!("[--show-config]\n{rest}"));
    assert_eq!(out(&show("0", &["--json"])), format!("[--show-config=json]\n{rest}"));
    for (theirs, ours) in [("0", 0), ("1", 1), ("64", 2)] {
        assert_eq!(show(theirs, &[]).status.code(), Some(ours));
    }
    std::fs::remove_file(&program).unwrap();
    let missing = show("0", &[]);
    assert!(missing.status.code() == Some(1) && err(&missing).contains("cannot be run"), "{}", err(&missing));
}

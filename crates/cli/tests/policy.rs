//! `avouch policy` on files, as a shell sees it: on the demo's own policy under the demo's own protos, and on files that
//! are not good.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests and their helpers")]

use avouch_testkit::program::alone;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn avouch(words: &[&str]) -> Output {
    let temp = tempfile::tempdir().unwrap();
    let mut command = alone(env!("CARGO_BIN_EXE_avouch"), temp.path());
    command.arg("policy").args(words).current_dir(root()).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

const DEMO: &str = "deploy/demo/policy.toml";

/// The demo's policy with something else in it, in a file of its own.
struct File {
    dir: TempDir,
}

impl File {
    fn new(text: &str) -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("policy.toml"), text).unwrap();
        Self { dir }
    }

    fn demo(change: impl FnOnce(String) -> String) -> Self {
        Self::new(&change(std::fs::read_to_string(root().join(DEMO)).unwrap()))
    }

    fn path(&self) -> String {
        self.dir.path().join("policy.toml").display().to_string()
    }
}

#[test]
fn a_good_policy_checks_in_silence_and_its_tests_are_counted() {
    let check = avouch(&["check", DEMO, "--proto", "proto"]);
    assert!(check.status.success(), "{}", err(&check));
    assert_eq!((out(&check), err(&check)), (String::new(), String::new()));
    let test = avouch(&["test", DEMO, "--proto", "proto"]);
    assert_eq!(out(&test), "4 tests hold\n", "{}", err(&test));
    let answer = json(&avouch(&["check", DEMO, "--proto", "proto", "--json"]));
    assert_eq!(
        (&answer["good"], &answer["tests"], &answer["audit"]),
        (&true.into(), &4.into(), &false.into())
    );
}

#[test]
fn every_problem_is_shown_at_once_with_its_place_its_line_and_what_was_meant() {
    let file = File::new(
        "mode = \"audt\"\n[roles]\nledger-writr = []\n[[deny]]\ncaller = \"market.example/x\"\n\
         methods = [\"/market.ledger.v1.Ledger/Pots\"]\n",
    );
    let output = avouch(&["check", &file.path(), "--proto", "proto"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(out(&output), "");
    let text = err(&output);
    for part in [
        "policy.toml:1:8: mode is \"audt\"",
        "did you mean \"audit\"?",
        "policy.toml:3:1: no RPC asks for the role \"ledger-writr\"; did you mean \"ledger-writer\"?",
        "ledger-writr = []",
        "policy.toml:5:10: \"market.example/x\" is not a caller",
        "did you mean \"/market.ledger.v1.Ledger/Post\"?",
        "here",
        "help:",
        "POLICY_INVALID",
    ] {
        assert!(text.contains(part), "{part} not in\n{text}");
    }
    let output = avouch(&["check", &file.path(), "--proto", "proto", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let problems = json(&output)["problems"].as_array().unwrap().clone();
    assert_eq!(problems.len(), 4);
    assert_eq!((&problems[1]["line"], &problems[1]["column"]), (&3.into(), &1.into()));
}

#[test]
fn a_failing_test_is_shown_with_what_was_expected_and_what_came_out() {
    let file = File::demo(|text| {
        text.replace("ledger-writer = [\"spiffe://market.example/payments\"]", "ledger-writer = []")
    });
    for command in ["check", "test"] {
        let output = avouch(&[command, &file.path(), "--proto", "proto"]);
        assert_eq!(output.status.code(), Some(1));
        let text = err(&output);
        assert!(text.contains("POLICY_TEST_FAILED"), "{text}");
        assert!(
            text.contains(
                "this test fails: spiffe://market.example/payments calls /market.ledger.v1.Ledger/Post: expected \
                 allow, but it is deny with ROLE_MISSING"
            ),
            "{text}"
        );
    }
}

#[test]
fn lines_without_effect_and_audit_mode_are_said_and_are_no_failure() {
    let file = File::demo(|text| {
        format!(
            "mode = \"audit\"\n{text}[[deny]]\ncaller = \"spiffe://market.example/quarantine/x\"\nmode = \"audit\"\n"
        )
    });
    let output = avouch(&["check", &file.path(), "--proto", "proto"]);
    assert!(output.status.success());
    let text = err(&output);
    assert!(text.contains("it records there, and does not refuse"), "{text}");
}

#[test]
fn a_second_policy_shows_what_it_opens_and_what_it_closes() {
    let file = File::demo(|text| {
        text.replace(
            "ledger-reader = [\"spiffe://market.example/reports\"]",
            "ledger-reader = [\"spiffe://market.example/batch/*\"]",
        )
    });
    let output = avouch(&["diff", DEMO, &file.path(), "--proto", "proto"]);
    assert!(output.status.success(), "{}", err(&output));
    let text = out(&output);
    assert!(text.contains("newly allowed: "), "{text}");
    let opened = "spiffe://market.example/batch/* (everybody else below it)  /market.ledger.v1.Ledger/Tail";
    assert!(text.contains(opened), "{text}");
    assert!(text.contains("spiffe://market.example/reports  /market.ledger.v1.Ledger/Tail"), "{text}");
    assert!(text.contains("allowed -> refused (ROLE_MISSING)"), "{text}");
    let with_code = avouch(&["diff", DEMO, &file.path(), "--proto", "proto", "--exit-code", "--json"]);
    assert_eq!(with_code.status.code(), Some(1));
    assert!(json(&with_code)["changes"].as_array().unwrap().len() >= 2);
    let same = avouch(&["diff", DEMO, DEMO, "--proto", "proto", "--exit-code"]);
    assert_eq!((same.status.code(), out(&same).as_str()), (Some(0), "no call is treated differently\n"));
}

#[test]
fn the_matrix_has_everybody_and_every_method_avouchs_own_included() {
    let text = out(&avouch(&["matrix", DEMO, "--proto", "proto"]));
    for part in [
        "market.ledger.v1.Ledger\n",
        "avouch.observe.v1.Observe\n",
        "(any other trust domain)",
        "(anonymous)",
    ] {
        assert!(text.contains(part), "{part} not in\n{text}");
    }
    let table = json(&avouch(&["matrix", DEMO, "--proto", "proto", "--json"]));
    let methods = table["methods"].as_array().unwrap();
    let post = methods.iter().position(|method| method == "/market.ledger.v1.Ledger/Post").unwrap();
    let allowed: Vec<_> = table["rows"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["outcomes"][post]["verdict"] == "allowed")
        .map(|row| row["caller"].as_str().unwrap())
        .collect();
    assert_eq!(allowed, ["spiffe://market.example/payments"]);
}

#[test]
fn can_i_answers_from_a_file_with_the_role_or_the_reason_and_exits_with_the_answer() {
    let ask = |caller: &str, more: &[&str]| {
        let words = ["can-i", caller, "/market.ledger.v1.Ledger/Post", "--policy", DEMO, "--proto", "proto"];
        avouch(&[&words, more].concat())
    };
    let yes = ask("spiffe://market.example/payments", &[]);
    assert_eq!(yes.status.code(), Some(0), "{}", err(&yes));
    assert!(out(&yes).starts_with("yes\n") && out(&yes).contains("ledger-writer"), "{}", out(&yes));
    let no = ask("spiffe://market.example/orders", &[]);
    assert_eq!(no.status.code(), Some(1));
    let text = out(&no);
    for part in
        ["no\n", "ROLE_MISSING", "the nearest that holds ledger-writer is spiffe://market.example/payments"]
    {
        assert!(text.contains(part), "{part} not in\n{text}");
    }
    let anonymous = json(&ask("anonymous", &["--json"]));
    assert_eq!(
        (&anonymous[0]["verdict"], &anonymous[0]["reason"]),
        (&"refused".into(), &"NO_PEER_IDENTITY".into())
    );
}

#[test]
fn can_i_tells_a_condition_by_what_it_got_and_wants() {
    let file = File::demo(|text| {
        let bound = "ledger-writer = [{ caller = \"spiffe://market.example/payments\", max_certificate_age = \"1h\" }]";
        let (policy, _) = text.split_once("[[test]]").unwrap();
        policy.replace("ledger-writer = [\"spiffe://market.example/payments\"]", bound)
    });
    let (path, method) = (file.path(), "/market.ledger.v1.Ledger/Post");
    let words = ["can-i", "spiffe://market.example/payments", method, "--policy", &path, "--proto", "proto"];
    let ask = |age: &[&str]| avouch(&[&words, age].concat());
    assert!(ask(&["--certificate-age", "59m"]).status.success());
    let old = ask(&["--certificate-age", "2h"]);
    assert!(out(&old).contains("asks for at most 1h, and the certificate has an age of 2h"), "{}", out(&old));
    assert!(out(&ask(&[])).contains("an age that is not known"));
}

#[test]
fn an_api_comes_from_descriptors_as_well_and_must_be_named() {
    let dir = TempDir::new().unwrap();
    let none = avouch(&["check", DEMO]);
    assert_eq!(none.status.code(), Some(1));
    assert!(err(&none).contains("--proto DIR"), "{}", err(&none));
    let empty = avouch(&["check", DEMO, "--proto", &dir.path().display().to_string()]);
    assert!(err(&empty).contains("there is no proto below"), "{}", err(&empty));
    let bad = dir.path().join("bad.bin");
    std::fs::write(&bad, b"\xff\xff\xff").unwrap();
    let bad = avouch(&["check", DEMO, "--descriptors", &bad.display().to_string()]);
    assert_eq!(bad.status.code(), Some(1));
    let missing = avouch(&["check", "no-such-policy.toml", "--proto", "proto"]);
    assert!(
        err(&missing).contains("policy no-such-policy.toml cannot be read: No such file or directory"),
        "{}",
        err(&missing)
    );
}

#[test]
fn a_file_of_any_size_and_any_octets_is_refused_in_good_order() {
    let huge = File::new(&"#".repeat(3 * 1024 * 1024));
    let output = avouch(&["check", &huge.path(), "--proto", "proto"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err(&output).contains("a policy file has at most 1048576"),
        "{}",
        &err(&output)[..200.min(err(&output).len())]
    );
    assert!(output.stderr.len() < 10_000, "{} octets", output.stderr.len());
    let moving = File::new("[roles]\nstaff = [\"\u{1b}[2Jx\"]\n");
    let output = avouch(&["check", &moving.path(), "--proto", "proto"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!err(&output).contains('\u{1b}'), "{:?}", err(&output));
}

#[test]
fn a_file_that_says_nothing_is_no_policy_for_any_command_that_reads_one() {
    for text in ["", "\u{feff}\n", "# [roles]\n# auditor = []\n", "[roles]\n"] {
        let file = File::new(text);
        let path = file.path();
        for words in [
            &["check", path.as_str()][..],
            &["test", path.as_str()],
            &["matrix", path.as_str()],
            &["diff", DEMO, path.as_str()],
            &["diff", path.as_str(), DEMO],
            &[
                "can-i",
                "spiffe://market.example/reports",
                "/market.ledger.v1.Ledger/GetTotals",
                "--policy",
                path.as_str(),
            ],
        ] {
            let output = avouch(&[words, &["--proto", "proto"]].concat());
            assert_eq!(output.status.code(), Some(1), "{words:?} {}", err(&output));
            let said = err(&output);
            assert!(said.contains(&format!("{path}:1:1: no policy: ")), "{words:?} {said}");
            assert!(said.contains("`debug = []` under [roles]"), "{words:?} {said}");
        }
        let answer = json(&avouch(&["check", &path, "--proto", "proto", "--json"]));
        assert_eq!((&answer["good"], &answer["problems"][0]["line"]), (&Value::Bool(false), &1.into()));
    }
    let nobody = File::new("[roles]\ndebug = []\n");
    assert_eq!(avouch(&["check", &nobody.path(), "--proto", "proto"]).status.code(), Some(0));
}

#[test]
fn what_is_no_regular_file_or_no_text_is_named_and_nothing_waits_for_it() {
    let dir = TempDir::new().unwrap();
    let pipe = dir.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    for (path, what) in [
        (pipe.display().to_string(), "it is a FIFO, not a regular file"),
        (dir.path().display().to_string(), "it is a directory, not a regular file"),
        ("/dev/zero".to_owned(), "it is a device, not a regular file"),
    ] {
        let output = avouch(&["check", &path, "--proto", "proto"]);
        assert_ne!(output.status.code(), Some(0));
        let said = err(&output);
        assert!(said.contains(&format!("policy {path} cannot be read: {what}")), "{said}");
    }
    let octets = dir.path().join("octets");
    std::fs::write(&octets, b"[roles]\n# \xff\n").unwrap();
    let output = avouch(&["check", &octets.display().to_string(), "--proto", "proto"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("octets:2:3: it is not UTF-8 text"), "{}", err(&output));
}

#[test]
fn what_a_shell_hands_over_is_read_as_it_comes_but_no_more_of_it_than_a_policy_has() {
    let check = |command: &str| {
        let temp = tempfile::tempdir().unwrap();
        alone("bash", temp.path())
            .args(["-c", &format!("{command} --proto proto")])
            .current_dir(root())
            .env("AVOUCH", env!("CARGO_BIN_EXE_avouch"))
            .output()
            .unwrap()
    };
    for command in [
        format!("\"$AVOUCH\" policy check <(cat {DEMO})"),
        format!("cat {DEMO} | \"$AVOUCH\" policy check /dev/stdin"),
    ] {
        let output = check(&command);
        assert_eq!(output.status.code(), Some(0), "{command}: {}", err(&output));
    }
    let endless = check("\"$AVOUCH\" policy check <(yes '#')");
    assert_eq!(endless.status.code(), Some(1));
    assert!(err(&endless).contains("a policy file has at most 1048576"), "{}", err(&endless));
}

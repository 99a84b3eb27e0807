//! Two ways to the same images: from programs built here, and from source inside a build container.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests and their helpers")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

fn read(name: &str) -> String {
    let file = crate::deploy().join("docker").join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The instructions, each on one line, comments left out.
fn instructions(name: &str) -> Vec<String> {
    let text = read(name).replace("\\\n", " ");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// What an instruction of the last stage leaves in the image's configuration.
fn configuration(instructions: &[String]) -> BTreeSet<&str> {
    let last = instructions.iter().rposition(|line| line.starts_with("FROM ")).unwrap();
    let words = ["VOLUME", "WORKDIR", "USER", "HEALTHCHECK", "ENTRYPOINT", "CMD", "ENV", "EXPOSE"];
    let of_the_image = |line: &&String| words.contains(&line.split(' ').next().unwrap());
    instructions.iter().skip(last).filter(of_the_image).map(String::as_str).collect()
}

#[test]
fn images_from_source_are_those_from_programs_that_were_built_here() {
    let (here, source) = (instructions("Dockerfile"), instructions("Dockerfile.source"));
    assert_eq!(configuration(&here), configuration(&source));
    for lines in [&here, &source] {
        assert!(configuration(lines).contains("USER 65532:65532"), "{lines:?}");
        let stage = lines.iter().rfind(|line| line.starts_with("FROM ")).unwrap();
        assert_eq!(stage, "FROM scratch", "nothing of a build container may stay");
    }
    // The same folders go to the same places.
    let copies = |lines: &[String]| -> BTreeSet<String> {
        let last = lines.iter().rposition(|line| line.starts_with("FROM ")).unwrap();
        let copies = lines.iter().skip(last).filter_map(|line| line.strip_prefix("COPY "));
        copies
            .map(|line| line.replace("--from=build ", "").replace("/src/target/images/${NAME}/", ""))
            .collect()
    };
    assert_eq!(copies(&here), copies(&source));
}

#[test]
fn a_build_from_source_runs_the_script_by_options_that_it_has() {
    let source = instructions("Dockerfile.source");
    let run = source.iter().find_map(|line| line.strip_prefix("RUN ")).unwrap();
    let [script, options @ .., name] = &run.split(' ').collect::<Vec<_>>()[..] else { panic!("{run}") };
    let script = crate::deploy().join("..").join(script);
    assert_eq!(*name, "\"${NAME}\"");
    // Options first, then a name that no image has: it says so, and builds nothing.
    let refused = Command::new(&script).args(options).arg("no-such-image").output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("no image is called 'no-such-image'"), "{said}");
}

#[test]
fn every_program_of_the_table_is_linked_from_the_source_of_the_package_it_is_at_home_in() {
    let programs = programs();
    for row in read("images").lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let columns: Vec<&str> = row.split_whitespace().collect();
        let [_, wanted, kind] = columns[..] else { panic!("other columns: {row}") };
        assert!(["service", "test-clock", "peers"].contains(&kind), "{row}");
        for program in wanted.split(',') {
            let linked = programs.get(&format!("static-{program}"));
            assert!(linked.is_some() && linked == programs.get(program), "{row}: {program}");
        }
    }
}

/// The programs of the workspace, and the source file of each.
fn programs() -> BTreeMap<String, PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--no-deps", "--offline", "--manifest-path"])
        .arg(crate::deploy().join("../Cargo.toml"))
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    let targets = packages.flat_map(|package| package["targets"].as_array().unwrap());
    let programs = targets.filter(|target| target["kind"][0] == "bin");
    let text = |target: &serde_json::Value, key: &str| target[key].as_str().unwrap().to_owned();
    programs
        .map(|program| (text(program, "name"), std::fs::canonicalize(text(program, "src_path")).unwrap()))
        .collect()
}

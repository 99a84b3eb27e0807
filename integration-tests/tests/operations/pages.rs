//! The pages of `docs/operations`, and the commands in them: whatever stands in a block that is marked `sh`.

#![allow(clippy::panic, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

/// One block of commands.
#[derive(Debug)]
pub(crate) struct Block {
    /// The nearest heading above it, without its marks.
    pub(crate) heading: String,
    pub(crate) commands: String,
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations")
}

pub(crate) fn text(page: &str) -> String {
    let path = folder().join(page);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All blocks of a page.
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let (mut found, mut heading, mut inside) = (Vec::new(), String::new(), None::<String>);
    let (mut marked, text) = (false, text(page));
    for line in text.lines() {
        if let Some(mark) = line.strip_prefix("```") {
            match inside.take() {
                Some(commands) if marked => found.push(Block { heading: heading.clone(), commands }),
                Some(_) => {}
                None => (marked, inside) = (mark == "sh", Some(String::new())),
            }
        } else if let Some(commands) = &mut inside {
            commands.push_str(line);
            commands.push('\n');
        } else if line.starts_with('#') {
            line.trim_start_matches('#').trim().clone_into(&mut heading);
        }
    }
    assert!(inside.is_none(), "{page}: a block has no end");
    found
}

/// The blocks under one heading, in order. Panics unless there are `count` of them: a test has to know what it runs.
pub(crate) fn section(page: &str, heading: &str, count: usize) -> Vec<String> {
    let found: Vec<_> = blocks(page).into_iter().filter(|block| block.heading == heading).collect();
    assert_eq!(
        found.len(),
        count,
        "{page}, {heading:?}: blocks of commands; the test that runs them has to follow"
    );
    found.into_iter().map(|block| block.commands).collect()
}

/// What stands in the second column of a table's row, without its unit.
pub(crate) fn figure(page: &str, row: &str) -> f64 {
    let text = text(page);
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("| {row} | ")));
    let figure = line.and_then(|rest| rest.split(' ').next()).map(|figure| figure.replace(',', ""));
    figure
        .and_then(|figure| figure.parse().ok())
        .unwrap_or_else(|| panic!("{page}: no figure in a row {row:?}"))
}

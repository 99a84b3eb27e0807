//! The table of `docs/when-a-call-is-refused.md`: what stands between backticks or bold in a row is what is said.

use std::path::Path;

/// The tests, by which the table must be complete.
const GROUPS: [&str; 5] = [
    include_str!("certificates.rs"),
    include_str!("clocks.rs"),
    include_str!("foreign.rs"),
    include_str!("issuer.rs"),
    include_str!("policy.rs"),
];

/// One fault as the page describes it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) fault: String,
    /// What stands in the line that a person gets.
    pub(crate) sees: Vec<String>,
    /// How the command begins that stands in it.
    pub(crate) command: String,
    /// What it leads to.
    pub(crate) says: Vec<String>,
}

impl Row {
    pub(crate) fn of(fault: &str) -> Self {
        let found = rows().into_iter().find(|row| row.fault == fault);
        found.unwrap_or_else(|| panic!("{fault:?} is not in the table of the page"))
    }
}

fn rows() -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/when-a-call-is-refused.md");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = text.lines().skip_while(|line| !line.starts_with("| Fault |")).skip(2);
    lines.take_while(|line| line.starts_with('|')).map(row).collect()
}

fn row(line: &str) -> Row {
    let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [fault, sees, command, says] = cells[..] else { panic!("four cells, not {line}") };
    let quoted = |cell: &str| -> Vec<_> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let (sees, commands, says) = (quoted(sees), quoted(command), quoted(says));
    let [command] = &commands[..] else { panic!("one command, not {command}") };
    assert!(!sees.is_empty() && !says.is_empty(), "nothing is said in {line}");
    Row { fault: fault.to_owned(), sees, command: command.clone(), says }
}

#[test]
fn every_fault_of_the_page_is_done_for_real_and_there_are_at_least_fourteen() {
    let rows = rows();
    for row in &rows {
        let name = format!("\"{}\"", row.fault);
        assert!(GROUPS.iter().any(|group| group.contains(&name)), "{name} is on the page and in no test");
    }
    assert!(rows.len() >= 14, "{}", rows.len());
}

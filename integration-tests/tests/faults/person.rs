//! A person at three in the morning: reads one line, runs the command that stands in it, and one more at most if the
//! answer names it.

use std::net::SocketAddr;

use crate::table::Row;
use crate::world::World;

/// All that a person has read in the end.
#[derive(Debug)]
pub(crate) struct Read {
    command: String,
    text: String,
}

impl Read {
    /// Fails unless the answer holds these words: particulars that only this run knows.
    pub(crate) fn and(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.text.contains(word), "`{}` does not say {word:?}", self.command);
        }
        self
    }
}

/// Reads `line`, does what it says, and fails unless line, command and answer are those of the table.
pub(crate) fn asks(world: &World, fault: &str, line: &str) -> Read {
    let command = command_in(line).unwrap_or_else(|| panic!("{fault}: no command in {line}"));
    goes_on(world, fault, line, command)
}

/// As [`asks`], where the line is not ours and names no command: the page does, for the client's own address.
pub(crate) fn asks_of(world: &World, fault: &str, line: &str, client: SocketAddr) -> Read {
    goes_on(world, fault, line, format!("{}{client}", Row::of(fault).command))
}

fn goes_on(world: &World, fault: &str, line: &str, command: String) -> Read {
    println!("{fault}: {line}");
    let mut text = run(world, &command);
    let row = Row::of(fault);
    let all_said = |text: &str| row.says.iter().all(|word| text.contains(word.as_str()));
    if let Some(next) = command_in(&text).filter(|next| *next != command && !all_said(&text)) {
        text.push_str(&run(world, &next));
    }
    for word in &row.sees {
        assert!(line.contains(word), "{fault}: the line does not say {word:?}: {line}");
    }
    assert!(command.starts_with(&row.command), "{fault}: it names `{command}`, not `{}`", row.command);
    for word in &row.says {
        assert!(text.contains(word), "{fault}: what is named does not say {word:?}");
    }
    Read { command, text }
}

fn run(world: &World, command: &str) -> String {
    let words: Vec<_> = command.split_whitespace().collect();
    let said = world.avouch(&words[1..]);
    println!("$ {command}\n{}", said.text);
    assert_ne!(said.status, Some(2), "`{command}` is no command");
    said.text
}

/// The first command in a text that can be run as it stands: between backticks, without a blank to fill in.
fn command_in(text: &str) -> Option<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    let mut commands = quoted.filter(|quoted| quoted.starts_with("avouch "));
    commands.find(|command| !command.split_whitespace().any(is_blank)).map(str::to_owned)
}

/// As `SPIFFE-ID` or `HOST:PORT` in a manual: what stands for something else is written in capitals.
fn is_blank(word: &str) -> bool {
    word.chars().any(|c| c.is_ascii_uppercase())
        && word.chars().all(|c| c.is_ascii_uppercase() || "-_:=[]".contains(c))
        // Ids of checks and reasons are no blanks.
        && !word.starts_with("AV-")
}

#[test]
fn a_command_stands_between_backticks_and_can_be_run_as_it_is() {
    let line = "PermissionDenied: ROLE_MISSING: no `role`; `avouch explain d-01` says more";
    assert_eq!(command_in(line).as_deref(), Some("avouch explain d-01"));
    assert_eq!(command_in("avouch explain d-01"), None);
    assert_eq!(command_in("put `avouch token create SPIFFE-ID` there"), None);
    assert_eq!(command_in("see `avouch check --only AV-014`").as_deref(), Some("avouch check --only AV-014"));
}

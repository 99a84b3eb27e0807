//! Changes of a policy's text for a trial: one caller more in a role, one deny rule less.
//!
//! The text is cut at the places that the TOML parser names, and nothing else in it moves. Whether the result says what
//! was meant is not believed here: the trial parses and evaluates it.

use toml::de::{DeTable, DeValue};

/// A changed policy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Edit {
    /// The line that stands in it now.
    pub(super) line: String,
    /// All of it.
    pub(super) text: String,
}

/// `id` bound to `role`: added to the role's line, or as a line of its own under `[roles]`.
pub(super) fn bind(text: &str, role: &str, id: &str) -> Option<Edit> {
    let document = DeTable::parse(text).ok()?;
    let id = quoted(id);
    let Some((_, roles)) = document.get_ref().iter().find(|(key, _)| key.get_ref() == "roles") else {
        let line = format!("{role} = [{id}]");
        let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        return Some(Edit { text: format!("{text}{gap}\n[roles]\n{line}\n"), line });
    };
    let DeValue::Table(roles) = roles.get_ref() else { return None };
    if let Some((_, callers)) = roles.iter().find(|(key, _)| key.get_ref() == role) {
        let DeValue::Array(array) = callers.get_ref() else { return None };
        // As written, whatever it is; comments between them are left out of the trial.
        let written = array.iter().map(|caller| text.get(caller.span()));
        let mut all: Vec<&str> = written.collect::<Option<_>>()?;
        all.push(&id);
        let list = format!("[{}]", all.join(", "));
        let span = callers.span();
        let changed = format!("{}{list}{}", text.get(..span.start)?, text.get(span.end..)?);
        return Some(Edit { line: format!("{role} = {list}"), text: changed });
    }
    let line = format!("{role} = [{id}]");
    let header = text.split_inclusive('\n').scan(0, |at, row| {
        *at += row.len();
        Some((*at, row))
    });
    let is_header = |row: &str| {
        row.split('#').next().is_some_and(|row| row.trim_start_matches('\u{feff}').trim() == "[roles]")
    };
    let (end, row) = header.into_iter().find(|(_, row)| is_header(row))?;
    let gap = if row.ends_with('\n') { "" } else { "\n" };
    Some(Edit { text: format!("{}{gap}{line}\n{}", text.get(..end)?, text.get(end..)?), line })
}

/// The text without the deny rule that begins at `line` (from 1): its header and all up to the next header.
pub(super) fn without_deny(text: &str, line: usize) -> Option<String> {
    let rows: Vec<&str> = text.split_inclusive('\n').collect();
    let at = line.checked_sub(1)?;
    let is_header = |row: &str| row.trim_start().starts_with('[');
    if rows.get(at)?.split('#').next().map(str::trim) != Some("[[deny]]") {
        return None;
    }
    let after = rows.iter().skip(line).position(|row| is_header(row)).map_or(rows.len(), |more| line + more);
    let kept = rows.iter().enumerate().filter(|(row, _)| *row < at || *row >= after);
    Some(kept.map(|(_, row)| *row).collect())
}

/// JSON's strings are strings of TOML too.
fn quoted(id: &str) -> String {
    serde_json::Value::from(id).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "spiffe://td.example/new";

    fn bound(text: &str) -> Edit {
        let edit = bind(text, "writer", ID).unwrap();
        let roles: toml::Table = edit.text.trim_start_matches('\u{feff}').parse().unwrap();
        let writer = roles["roles"]["writer"].as_array().unwrap();
        assert_eq!(writer.last().unwrap().as_str(), Some(ID), "{}", edit.text);
        let line: toml::Table = edit.line.parse().unwrap();
        assert_eq!(line["writer"], roles["roles"]["writer"]);
        edit
    }

    #[test]
    fn a_caller_is_added_behind_the_others_and_nothing_else_moves() {
        let edit = bound("# x\n[roles]\nwriter = [\"spiffe://td.example/a\"] # y\nz = []\n");
        assert_eq!(
            edit.text,
            "# x\n[roles]\nwriter = [\"spiffe://td.example/a\", \"spiffe://td.example/new\"] # y\nz = []\n"
        );
    }

    #[test]
    fn a_role_may_be_written_in_many_ways() {
        for text in [
            "[roles]\nwriter = []",
            "[roles]\nwriter = [\n  'a', # one\n  \"b\",\n]\n[[deny]]\ncaller = \"x\"\n",
            "roles.writer = [\"a\"]\n",
            "roles = { writer = [\"a\"] }\n",
            "[roles]\n\"writer\" = [ { caller = \"a\", max_age = \"1h\" } ]\n",
            "[roles]",
            "[roles] # who may\nother = [\"[roles]\"]\n",
            "\u{feff}[roles]\nother = []\n",
            "",
            "[[deny]]\ncaller = \"x\"",
        ] {
            bound(text);
        }
    }

    #[test]
    fn what_cannot_be_changed_safely_is_not_changed() {
        for text in ["roles = 1", "[roles]\nwriter = 1", "[roles", "roles = { other = [] }\n"] {
            assert_eq!(bind(text, "writer", ID), None, "{text}");
        }
    }

    #[test]
    fn a_hostile_name_stays_a_string() {
        let edit = bind("[roles]\n", "writer", "x\"]\nadmin = [\"y").unwrap();
        let table: toml::Table = edit.text.parse().unwrap();
        assert_eq!(table["roles"].as_table().unwrap().len(), 1);
    }

    #[test]
    fn a_deny_rule_is_taken_out_whole() {
        let text = "[roles]\n[[deny]]\ncaller = \"a\"\nmethods = [\n  \"x\",\n]\n[[deny]]\ncaller = \"b\"\n";
        assert_eq!(without_deny(text, 2).unwrap(), "[roles]\n[[deny]]\ncaller = \"b\"\n");
        assert_eq!(without_deny(text, 7).unwrap(), text.split_at(text.len() - 22).0);
        for line in [0, 1, 3, 99] {
            assert_eq!(without_deny(text, line), None, "{line}");
        }
    }
}

//! The result of a run, as Markdown and as JSON.

use serde::Serialize;

use crate::table::Table;

/// The tables of a group.
#[derive(Debug, Serialize)]
pub struct Section {
    /// The group.
    pub group: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What disturbed the machine meanwhile.
    pub disturbed: Option<String>,
    /// The tables.
    pub tables: Vec<Table>,
}

/// All groups of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The version of avouch.
    pub version: &'static str,
    /// What was asked for.
    pub arguments: Vec<String>,
    /// The cores that this process may use.
    pub cores: usize,
    /// The groups.
    pub sections: Vec<Section>,
}

impl Section {
    /// The group as Markdown, with a heading of the second level.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut text = format!("## {}: {}\n\n", self.group, self.about);
        if let Some(disturbed) = &self.disturbed {
            text.push_str(&format!("* too noisy to conclude: {disturbed}\n\n"));
        }
        for table in &self.tables {
            text.push_str(&table.to_markdown());
            text.push('\n');
        }
        text
    }
}

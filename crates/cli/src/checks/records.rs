//! Checks of the records: whether events are recorded.

use super::check::{Category, Check};
use super::finding::{Finding, Level};
use super::view::{View, shown};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "AV-801",
        category: Category::Records,
        title: "no record was dropped",
        meaning: "The process had more to record than it could write, and dropped some rather than make calls wait. \
                  `avouch explain` may not find a refusal that happened then. Nothing was let through.",
        remedy: "See who causes so much: `avouch tap --denied`. The number is since the process started.",
        hint: "see who causes so much: `avouch tap --denied`",
        causes: &["AV-802", "AV-702"],
        judge: dropped,
    },
    Check {
        id: "AV-802",
        category: Category::Records,
        title: "record files are written",
        meaning: "The file that the process writes its records to could not be written. The latest records are still \
                  in memory, and the log has its lines.",
        remedy: "Correct the path or its rights, or free space; the process tries again with the next record.",
        hint: "correct the path, its rights, or the space there",
        causes: &["AV-702"],
        judge: file,
    },
];

fn dropped(view: &View<'_>) -> Vec<Finding> {
    view.each(|process| {
        Some(match process.status.records.as_ref()?.dropped {
            0 => (Level::Good, String::new()),
            dropped => (Level::Warning, format!("{dropped} since it started")),
        })
    })
}

fn file(view: &View<'_>) -> Vec<Finding> {
    view.each(|process| {
        let records = process.status.records.as_ref()?;
        Some(match records.problem.as_str() {
            "" => (Level::Good, String::new()),
            problem => (Level::Warning, format!("{}: {}", shown(&records.file), shown(problem))),
        })
    })
}

//! A table of figures: variants beside one another, measured in turns.

use serde::Serialize;

use crate::series::Series;

/// Beyond this part of the median, the rounds of a baseline are too far apart for its ratios to mean anything.
const NOISY: f64 = 0.35;

/// The unit of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Times in a second.
    PerSecond,
    /// Nanoseconds.
    Nanoseconds,
    /// Microseconds.
    Microseconds,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// KiB.
    Kibibytes,
    /// A number of things.
    Count,
    /// A number without a unit that is no count, such as an exponent.
    Number,
}

impl Unit {
    fn suffix(self) -> &'static str {
        match self {
            Self::PerSecond => "/s",
            Self::Nanoseconds => "ns",
            Self::Microseconds => "µs",
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::Kibibytes => "KiB",
            Self::Count | Self::Number => "",
        }
    }

    fn more_is_better(self) -> bool {
        self == Self::PerSecond
    }
}

/// A column of a table.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Column {
    /// Its heading, without the unit.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
}

/// A column.
#[must_use]
pub const fn column(name: &'static str, unit: Unit) -> Column {
    Column { name, unit }
}

/// The figures of a variant.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The variant.
    pub variant: String,
    /// A series for each column; an empty one where there is no figure.
    pub figures: Vec<Series>,
}

/// Figures that were measured in one run, in turns.
#[derive(Debug, Clone, Serialize)]
pub struct Table {
    /// What is measured, with its circumstances.
    pub title: String,
    /// The columns.
    pub columns: Vec<Column>,
    /// The variants.
    pub rows: Vec<Row>,
    /// The variant that the others are compared with, by the figures of the column [`Table::judged`].
    pub baseline: Option<String>,
    /// The index of the column whose figures are compared.
    pub judged: usize,
    /// What the reader has to know: what was skipped and why, what a figure includes.
    pub notes: Vec<String>,
}

impl Table {
    /// A table without rows, whose first column is judged.
    #[must_use]
    pub fn new(title: impl Into<String>, columns: &[Column]) -> Self {
        Self {
            title: title.into(),
            columns: columns.to_vec(),
            rows: Vec::new(),
            baseline: None,
            judged: 0,
            notes: Vec::new(),
        }
    }

    /// Compares the variants with this one.
    #[must_use]
    pub fn baseline(mut self, variant: impl Into<String>) -> Self {
        self.baseline = Some(variant.into());
        self
    }

    /// Compares the variants by this column.
    #[must_use]
    pub fn judged_by(mut self, column: usize) -> Self {
        self.judged = column;
        self
    }

    /// Adds a note.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// How a variant does in comparison with the baseline, round by round: above 1 is better.
    #[must_use]
    pub fn ratio(&self, variant: &str) -> Option<Series> {
        let figures = |name: &str| {
            let row = self.rows.iter().find(|row| row.variant == name)?;
            row.figures.get(self.judged).filter(|series| !series.is_empty())
        };
        let (own, base) = (figures(variant)?, figures(self.baseline.as_deref()?)?);
        let more_is_better = self.columns.get(self.judged).is_some_and(|column| column.unit.more_is_better());
        Some(if more_is_better { own.over(base) } else { base.over(own) })
    }

    /// Why nothing can be concluded from the ratios; none if something can.
    #[must_use]
    pub fn inconclusive(&self) -> Option<String> {
        let name = self.baseline.as_deref()?;
        let base = self.rows.iter().find(|row| row.variant == name)?.figures.get(self.judged)?;
        let spread = base.spread();
        (spread > NOISY).then(|| {
            format!(
                "too noisy to conclude: the rounds of `{name}` are {:.0} % of their median apart",
                spread * 100.0
            )
        })
    }

    /// The table as Markdown, with its title as a heading of the third level.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut lines = vec![format!("### {}", self.title), String::new()];
        let mut heading = vec![String::new()];
        heading.extend(self.columns.iter().map(|column| match column.unit.suffix() {
            "" => column.name.to_owned(),
            suffix => format!("{} ({suffix})", column.name),
        }));
        heading.extend(self.baseline.iter().map(|name| format!("of {name}")));
        lines.push(line(&heading));
        let rule: Vec<_> =
            (0..heading.len()).map(|at| if at == 0 { "---" } else { "---:" }.to_owned()).collect();
        lines.push(line(&rule));
        for row in &self.rows {
            let mut cells = vec![row.variant.clone()];
            cells.extend(row.figures.iter().map(figure));
            if self.baseline.is_some() {
                cells.push(self.ratio(&row.variant).map_or_else(|| "–".to_owned(), |ratio| percent(&ratio)));
            }
            lines.push(line(&cells));
        }
        let notes = self.inconclusive().into_iter().chain(self.notes.iter().cloned());
        let notes: Vec<_> = notes.map(|note| format!("* {note}")).collect();
        if !notes.is_empty() {
            lines.push(String::new());
            lines.extend(notes);
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

fn line(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

/// `median (min–max)`.
fn figure(series: &Series) -> String {
    match series.len() {
        0 => "–".to_owned(),
        1 => number(series.median()),
        _ => format!("{} ({}–{})", number(series.median()), number(series.min()), number(series.max())),
    }
}

fn percent(ratio: &Series) -> String {
    let percent = |ratio: f64| format!("{:.1}", ratio * 100.0);
    match ratio.len() {
        1 => format!("{} %", percent(ratio.median())),
        _ => {
            format!("{} % ({}–{})", percent(ratio.median()), percent(ratio.min()), percent(ratio.max()))
        }
    }
}

/// Three digits, or all before the point, with thousands set apart.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    match value.abs() {
        size if size >= 1_000.0 => thousands(&format!("{value:.0}")),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn thousands(digits: &str) -> String {
    let mut parts: Vec<_> = digits.as_bytes().rchunks(3).map(String::from_utf8_lossy).collect();
    parts.reverse();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(unit: Unit) -> Table {
        let row = |variant: &str, values: &[f64]| Row {
            variant: variant.to_owned(),
            figures: vec![values.iter().copied().collect()],
        };
        let mut table = Table::new("calls", &[column("rate", unit)]).baseline("bare");
        table.rows = vec![row("bare", &[100.0, 110.0]), row("ours", &[50.0, 66.0])];
        table
    }

    #[test]
    fn above_one_is_better_whatever_the_unit() {
        let ratio = |unit| table(unit).ratio("ours").unwrap();
        assert_eq!(ratio(Unit::PerSecond), [0.5, 0.6].into_iter().collect());
        assert_eq!(ratio(Unit::Microseconds), [2.0, 110.0 / 66.0].into_iter().collect());
        assert!(table(Unit::Count).ratio("nobody").is_none());
    }

    #[test]
    fn a_baseline_whose_rounds_are_far_apart_concludes_nothing() {
        let mut noisy = table(Unit::PerSecond);
        assert_eq!(noisy.inconclusive(), None);
        noisy.rows[0].figures = vec![[100.0, 160.0].into_iter().collect()];
        assert!(noisy.to_markdown().contains("too noisy to conclude: the rounds of `bare`"));
    }

    #[test]
    fn a_table_shows_medians_extremes_and_ratios() {
        let shown = table(Unit::PerSecond).to_markdown();
        assert!(shown.contains("|  | rate (/s) | of bare |"), "{shown}");
        assert!(shown.contains("| ours | 58.0 (50.0–66.0) | 55.0 % (50.0–60.0) |"), "{shown}");
    }

    #[test]
    fn numbers_have_three_digits_or_all_before_the_point() {
        let shown = [0.123, 12.34, 999.4, 1_234_567.8, f64::NAN].map(number);
        assert_eq!(shown, ["0.12", "12.3", "999", "1,234,568", "–"]);
    }
}

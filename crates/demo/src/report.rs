//! The report page: one self-contained HTML file drawn from the facts of a run.
//!
//! It refuses to run scripts or load anything (its own Content-Security-Policy says so), and every string of the
//! facts is escaped on its way in: text goes through `esc`, numbers are formatted as numbers. The template is
//! filled in one pass, so that no value is ever read as a placeholder.

mod graph;
mod tables;
mod timeline;
mod waterfall;

pub(crate) use waterfall::short;

use std::fmt::{self, Write as _};

use crate::facts::Facts;

const TEMPLATE: &str = include_str!("report/page.html");
const STYLE: &str = include_str!("report/style.css");

/// The page for these facts.
#[must_use]
pub fn render(facts: &Facts) -> String {
    fill(TEMPLATE, |name, out| match name {
        "style" => out.push_str(STYLE),
        "title" => push(out, esc(&format!("avouch demo · {}", facts.trust_domain))),
        "head" => tables::head(out, facts),
        "tiles" => tables::tiles(out, facts),
        "graph" => graph::draw(out, facts),
        "edges" => tables::edges(out, facts),
        "timeline" => timeline::draw(out, facts),
        "refusals" => tables::refusals(out, facts),
        "attacks" => tables::attacks(out, facts),
        "matrix" => tables::matrix(out, facts),
        "waterfall" => waterfall::draw(out, facts),
        "checks" => tables::checks(out, facts),
        "problems" => tables::problems(out, facts),
        "next" => tables::next(out, facts),
        "foot" => tables::foot(out, facts),
        unknown => push(out, esc(unknown)),
    })
}

/// Replaces each `{{name}}` of the template by what `value` writes for it.
fn fill(template: &str, mut value: impl FnMut(&str, &mut String)) -> String {
    let mut out = String::with_capacity(template.len() * 4);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let Some((name, after)) = after.split_once("}}") else {
            rest = after;
            break;
        };
        value(name.trim(), &mut out);
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Text for HTML content and quoted attributes.
pub(crate) fn esc(text: &str) -> Escaped<'_> {
    Escaped(text)
}

/// See [`esc`].
pub(crate) struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c if c.is_control() && c != '\n' => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Appends what cannot fail to be appended.
pub(crate) fn push(out: &mut String, value: impl fmt::Display) {
    // Writing to a String has no error to report.
    let _ = write!(out, "{value}");
}

/// `12 345` with thin spaces.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 2);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A duration of microseconds, in the unit that reads best.
pub(crate) fn micros(us: u64) -> String {
    match us {
        0..=999 => format!("{us} µs"),
        1_000..=99_999 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        100_000..=999_999 => format!("{} ms", us / 1_000),
        _ => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

/// Money in the smallest unit, for the currencies the market knows.
pub(crate) fn money(currency: &str, minor: i64) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let minor = minor.unsigned_abs();
    if currency == "JPY" {
        format!("{sign}{} {currency}", grouped(minor))
    } else {
        format!("{sign}{}.{:02} {currency}", grouped(minor / 100), minor % 100)
    }
}

/// `part` of `whole` in percent, for a style attribute.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    let whole = u128::from(whole.max(1));
    let hundredths = u128::from(part).saturating_mul(10_000) / whole;
    format!("{}.{:02}%", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_looks_like_a_placeholder_is_not_filled() {
        let page =
            fill("<{{a}}|{{b}}>", |name, out| out.push_str(if name == "a" { "{{b}}" } else { "second" }));
        assert_eq!(page, "<{{b}}|second>");
    }

    #[test]
    fn every_placeholder_of_the_template_is_known() {
        fill(TEMPLATE, |name, _| {
            let known = [
                "style",
                "title",
                "head",
                "tiles",
                "graph",
                "edges",
                "timeline",
                "refusals",
                "attacks",
                "matrix",
                "waterfall",
                "checks",
                "problems",
                "next",
                "foot",
            ];
            assert!(known.contains(&name), "{name}");
        });
    }

    #[test]
    fn markup_and_control_characters_are_escaped() {
        assert_eq!(
            esc("<b a=\"1\" c='2'>&\u{1b}").to_string(),
            "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;\u{fffd}"
        );
    }

    #[test]
    fn money_is_written_in_its_own_unit() {
        assert_eq!(money("EUR", 1_284_550), "12\u{202f}845.50 EUR");
        assert_eq!(money("JPY", -500), "-500 JPY");
    }

    #[test]
    fn durations_keep_a_readable_unit() {
        assert_eq!([999, 12_345, 412_000, 3_450_000].map(micros), ["999 µs", "12.3 ms", "412 ms", "3.4 s"]);
    }
}

//! The explanation of each reason: its section of docs/status-codes.md, compiled into the program so that it is
//! available offline.

use super::page::Explanation;
use avouch_spiffe::Reason;
use serde_json::json;

const PAGE: &str = include_str!("../../../../docs/status-codes.md");

/// The explanation of a reason: its section.
pub(super) fn explain(reason: Reason) -> Explanation {
    let text = format!("{reason}\n{}\n", section(reason));
    let json = json!({
        "kind": "reason", "reason": reason, "summary": reason.summary(), "retryable": reason.retryable(),
        "code": reason.code().number(), "text": section(reason), "remedy": remedy(reason),
    });
    Explanation { text, json }
}

/// The text of a reason's section, without the heading.
fn section(reason: Reason) -> &'static str {
    let heading = format!("### {reason}\n");
    let body = PAGE.split_once(&heading).map(|(_, after)| after).unwrap_or_default();
    body.split_once("\n#").map_or(body, |(section, _)| section).trim()
}

/// The section's advice, on one line.
pub(super) fn remedy(reason: Reason) -> String {
    let advice = section(reason).split_once("What to do: ").map(|(_, advice)| advice);
    let advice = advice.and_then(|advice| advice.split("\n\n").next()).unwrap_or_default();
    advice.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_section_with_advice() {
        for reason in Reason::ALL {
            let section = section(*reason);
            assert!(section.contains("Situation: ") && !section.contains("###"), "{reason}: {section}");
            assert!(!remedy(*reason).is_empty() && !remedy(*reason).contains('\n'), "{reason}");
        }
    }

    #[test]
    fn a_word_that_begins_like_another_gets_its_own_section() {
        assert!(explain(Reason::CertExpired).text.starts_with("CERT_EXPIRED\n`UNAUTHENTICATED`, final"));
        assert!(section(Reason::JoinTokenExpired).contains("ten minutes unless told otherwise"));
    }
}

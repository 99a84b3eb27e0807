//! The report page as text: self-contained, and safe against whatever the facts say.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use avouch_demo::facts::{Facts, Party, PartyKind};
use avouch_demo::{report, sample};

const HOSTILE: &str =
    "</td></svg></style><script>alert(1)</script><img src=x onerror='alert(2)'>\" onload=\"x {{style}} &";

/// Facts with every string replaced by something hostile.
fn hostile() -> Facts {
    fn spoil(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) => HOSTILE.clone_into(text),
            serde_json::Value::Array(all) => all.iter_mut().for_each(spoil),
            serde_json::Value::Object(all) => {
                // What must stay a word of an enumeration.
                all.iter_mut()
                    .filter(|(key, _)| !["outcome", "kind"].contains(&key.as_str()))
                    .for_each(|(_, v)| spoil(v));
            }
            _ => {}
        }
    }
    let mut json = serde_json::to_value(sample::facts()).unwrap();
    spoil(&mut json);
    let mut facts: Facts = serde_json::from_value(json).unwrap();
    for (span, word) in
        facts.trace.as_mut().unwrap().spans.iter_mut().zip(["server", "client", HOSTILE].iter().cycle())
    {
        (*word).clone_into(&mut span.kind);
    }
    facts
}

#[test]
fn nothing_is_loaded_from_anywhere() {
    let page = report::render(&sample::facts());
    for forbidden in [
        "<script",
        "<link",
        "<img",
        "<iframe",
        "<object",
        "@import",
        "url(",
        "src=",
        "href=",
        "xlink",
        "http-equiv=\"refresh\"",
    ] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    // URLs appear as text only, in the commands to try next.
    for (at, _) in page.match_indices("https://") {
        assert!(page[..at].rfind("<code>") > page[..at].rfind("</code>"), "{}", &page[at..at + 60]);
    }
    assert!(!page.contains("http://"));
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn hostile_strings_stay_text() {
    let page = report::render(&hostile());
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(!page.contains("<script"));
    assert!(!page.contains("<img"));
    assert!(!page.contains("onload=\"x"));
    assert!(!page.contains("onerror='"));
    assert_eq!(page.matches("</style>").count(), 1);
    assert_eq!(page.matches(":root {").count(), report::render(&sample::facts()).matches(":root {").count());
}

#[test]
fn hostile_strings_leave_the_markup_as_it_is() {
    let tags = |page: &str| page.matches('<').count();
    let mut plain = sample::facts();
    // The same shape: hostile names are all equal, which merges services and loses the places in the graph.
    plain.edges.clear();
    plain.kills.clear();
    plain.certificates.clear();
    plain.matrix.rpcs.clear();
    let mut bad = hostile();
    bad.edges.clear();
    bad.kills.clear();
    bad.certificates.clear();
    bad.matrix = plain.matrix.clone();
    bad.totals = plain.totals.clone();
    // Of nobody who has a lane, in both: else it would be everybody's in the hostile one.
    for theft in [&mut plain, &mut bad].into_iter().filter_map(|facts| facts.theft.as_mut()) {
        theft.service.push('x');
    }
    for (mine, theirs) in
        bad.trace.as_mut().unwrap().spans.iter_mut().zip(&plain.trace.as_ref().unwrap().spans)
    {
        mine.decision.clone_from(&theirs.decision);
    }
    assert_eq!(tags(&report::render(&bad)), tags(&report::render(&plain)));
}

#[test]
fn a_party_without_a_place_is_drawn_all_the_same() {
    let mut facts = sample::facts();
    facts.parties.push(Party {
        name: "newcomer".into(),
        kind: PartyKind::Service,
        spiffe_id: Some("spiffe://market.example/newcomer".into()),
        roles: vec![],
    });
    let page = report::render(&facts);
    assert_eq!(page.matches("<g class=\"node service\" data-party=\"newcomer\">").count(), 2);
}

#[test]
fn a_run_that_ended_early_still_has_a_page() {
    let mut facts = sample::facts();
    facts.trace = None;
    facts.lasted_ms = 0;
    facts.checks.clear();
    facts.refusals.clear();
    facts.edges.clear();
    facts.certificates.clear();
    let page = report::render(&facts);
    assert!(page.contains("it did not hold"));
    assert!(page.contains("No trace was recorded"));
}

#[test]
fn the_page_is_small_enough_to_send_to_somebody() {
    assert!(report::render(&sample::facts()).len() < 200_000);
}

//! The report page in a real browser: what it shows, at a desktop's and a phone's width, in light and dark.
//!
//! Skipped, and said so, on a machine without Chromium.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

use std::path::{Path, PathBuf};
use std::process::Command;

use avouch_demo::facts::Outcome;
use avouch_demo::{report, sample};

/// Measured in the page by the script below.
#[derive(Debug, serde::Deserialize)]
struct Seen {
    width: u64,
    page_width: u64,
    too_wide: Vec<String>,
    verdict: String,
    nodes: Vec<String>,
    refused: Vec<String>,
    lanes: u64,
    lives: u64,
    refusals: u64,
    rpcs: u64,
    spans: u64,
    failed: u64,
    background: String,
    tiny: Vec<String>,
    cut: Vec<String>,
}

/// Looks at the page from the inside of a frame of the wanted width. The page itself forbids scripts, so this is
/// added to a copy without its policy.
const SCRIPT: &str = r##"<script>
addEventListener("load", () => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const shown = (element) => element.getClientRects().length > 0;
  const svg = all("svg.graph").filter(shown)[0];
  const seen = {
    width: innerWidth,
    page_width: document.documentElement.scrollWidth,
    too_wide: all("body *").filter((e) => shown(e) && !e.closest("svg") && e.getBoundingClientRect().right > innerWidth + 1)
      .map((e) => e.tagName + "." + e.className + " " + e.textContent.slice(0, 40)),
    verdict: document.getElementById("verdict").textContent,
    nodes: [...svg.querySelectorAll(".node")].map((e) => e.dataset.party),
    refused: [...svg.querySelectorAll(".edge.refused[data-edge]")].map((e) => e.dataset.edge),
    lanes: all(".lane[data-party]").length,
    lives: all(".track .life").filter((e) => e.getBoundingClientRect().width > 2).length,
    refusals: all("tr.refusal").filter(shown).length,
    rpcs: all("tr[data-rpc]").filter(shown).length,
    spans: all(".spans li").filter(shown).length,
    failed: all(".check .failed").length,
    background: getComputedStyle(document.body).backgroundColor,
    cut: [...svg.querySelectorAll("text")].filter((e) => {
      const [own, all] = [e.getBoundingClientRect(), svg.getBoundingClientRect()];
      return own.left < all.left || own.right > all.right || own.bottom > all.bottom;
    }).map((e) => e.textContent),
    tiny: [...svg.querySelectorAll("text")].filter((e) => e.getBoundingClientRect().height < 10).map((e) => e.textContent),
  };
  parent.postMessage(JSON.stringify(seen), "*");
});
</script>"##;

/// A page that holds the report in a frame, since a browser's window can't be made as narrow as a phone.
fn frame(width: u32) -> String {
    format!(
        "<!doctype html><body style='margin:0'><pre id=seen></pre><script>\
         addEventListener('message', (e) => {{ document.getElementById('seen').textContent = e.data; }});</script>\
         <iframe src='report.html' style='border:0;width:{width}px;height:900px'></iframe>"
    )
}

fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    ["chromium", "chromium-browser", "google-chrome"]
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name)))
        .find(|file| file.is_file())
}

fn look(browser: &Path, page: &str, width: u32, dark: bool) -> Seen {
    let dir = tempfile::tempdir().unwrap();
    let (before, policy) = page.split_once("<meta http-equiv").unwrap();
    let (_, after) = policy.split_once('>').unwrap();
    std::fs::write(dir.path().join("report.html"), format!("{before}{after}{SCRIPT}")).unwrap();
    std::fs::write(dir.path().join("frame.html"), frame(width)).unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--dump-dom"])
        .arg(format!("--blink-settings=preferredColorScheme={}", u8::from(!dark)))
        .arg("--virtual-time-budget=3000")
        .arg(format!("--window-size={},1000", width.max(600)))
        .arg(format!("--user-data-dir={}", dir.path().join("profile").display()))
        .arg(format!("file://{}", dir.path().join("frame.html").display()))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout);
    let seen = dom.split_once("<pre id=\"seen\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let seen = seen.map(|(json, _)| json.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"));
    serde_json::from_str(seen.as_deref().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}\n{dom}\n{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn the_page_shows_the_facts_on_a_desk_and_on_a_phone_in_light_and_in_dark() {
    let Some(browser) = chromium() else {
        eprintln!("!! SKIPPED: no chromium on this machine, the report was not looked at in a browser");
        return;
    };
    let facts = sample::facts();
    let page = report::render(&facts);
    let mut backgrounds = Vec::new();
    for (width, dark) in [(1280, false), (1280, true), (390, false), (390, true), (320, false)] {
        let seen = look(&browser, &page, width, dark);
        let place = format!("{width} px, dark: {dark}: {seen:?}");
        assert_eq!(seen.width, u64::from(width), "{place}");
        assert!(seen.page_width <= seen.width, "the page scrolls sideways at {place}");
        assert!(seen.too_wide.is_empty(), "{place}");
        assert!(seen.cut.is_empty(), "{place}");
        assert!(seen.tiny.is_empty() || width < 390, "text that nobody can read at {place}");
        assert_eq!(seen.verdict, "all of it held", "{place}");
        let mut parties: Vec<_> = facts.parties.iter().map(|party| party.name.clone()).collect();
        let mut nodes = seen.nodes;
        parties.sort();
        nodes.sort();
        assert_eq!(nodes, parties, "{width} px");
        assert_eq!(seen.refused, ["intern-payments", "nobody-payments", "impostor-storefront"]);
        assert_eq!(seen.lanes, 7);
        assert!(seen.lives >= 34, "{} certificates are to be seen", seen.lives);
        assert_eq!(seen.refusals, facts.refusals.len() as u64);
        assert_eq!(seen.rpcs, facts.matrix.rpcs.len() as u64);
        assert_eq!(seen.spans, facts.trace.as_ref().unwrap().spans.len() as u64);
        assert_eq!(seen.failed, 0);
        backgrounds.push(seen.background);
    }
    assert_ne!(backgrounds[0], backgrounds[1], "light and dark look the same");
    assert_eq!(backgrounds[1], backgrounds[3]);
}

#[test]
fn a_run_that_did_not_hold_says_so_at_the_top() {
    let Some(browser) = chromium() else {
        eprintln!("!! SKIPPED: no chromium on this machine, the report was not looked at in a browser");
        return;
    };
    let mut facts = sample::facts();
    facts.checks[0].outcome = Outcome::Failed;
    let seen = look(&browser, &report::render(&facts), 390, false);
    assert_eq!(seen.verdict, "it did not hold");
    assert_eq!(seen.failed, 1);
}

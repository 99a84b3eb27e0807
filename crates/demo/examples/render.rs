//! Draws the report of the sample facts, or of a given facts file: `cargo run --example render [facts.json] > page.html`.
use std::io::Write as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let facts = match std::env::args_os().nth(1) {
        Some(file) => serde_json::from_slice(&std::fs::read(file)?)?,
        None => avouch_demo::sample::facts(),
    };
    std::io::stdout().write_all(avouch_demo::report::render(&facts).as_bytes())?;
    Ok(())
}

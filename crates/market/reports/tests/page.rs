//! The program of docs/streams.md is this one, which compiles.
#![expect(clippy::print_stdout, reason = "a page shows it")]

// Begin of what the page shows.
use avouch_service::TracedChannel;
use avouch_service::identity::ResumableStream;
use market_api::ledger::v1::ledger_client::LedgerClient;
use market_api::ledger::v1::{TailRequest, TailResponse};

async fn follow(channel: TracedChannel, counted: u64) -> Result<(), tonic::Status> {
    let ledger = LedgerClient::new(channel);
    let open = move |after_sequence| {
        let mut ledger = ledger.clone();
        async move { ledger.tail(TailRequest { after_sequence, stop_at_end: false }).await }
    };
    let mut postings = ResumableStream::new(counted, open, |posting: &TailResponse| posting.sequence);
    while let Some(posting) = postings.message().await? {
        println!("posting {}", posting.sequence); // keep it together with its sequence number
    }
    Ok(())
}
// End of what the page shows.

#[test]
fn the_program_of_the_page_about_streams_is_one_that_compiles() {
    let _compiled = follow;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/streams.md");
    let page = std::fs::read_to_string(path).unwrap();
    let shown = page.split("```rust\n").nth(1).unwrap().split("```").next().unwrap();
    let (_, compiled) = include_str!("page.rs").split_once("// Begin of what the page shows.\n").unwrap();
    let (compiled, _) = compiled.split_once("// End of what the page shows.\n").unwrap();
    assert_eq!(shown, compiled);
}

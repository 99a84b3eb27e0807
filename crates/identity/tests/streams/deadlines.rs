//! The default deadline is for unary calls; which methods stream, the contract says.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Code;

use crate::world::{DOWN, TICK, UNARY, UNKNOWN, UP, World, call, call_with_stream, read};

const DEFAULT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_unary_call_ends_at_the_default_deadline_and_streams_of_the_same_channel_live_on() {
    let world = World::new().await;
    let channel = world.channel(|builder| builder.default_timeout(Some(DEFAULT)));
    let mut down = call(&channel, DOWN).await.expect("a stream").into_body();
    let messages = usize::try_from(4 * DEFAULT.as_millis() / TICK.as_millis()).expect("a number");
    let up = call_with_stream(&channel, UP, messages);
    let unary = async {
        let began = Instant::now();
        let status = call(&channel, UNARY).await.expect_err("nobody answers");
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        assert!((DEFAULT..DEFAULT * 3).contains(&began.elapsed()), "{:?}", began.elapsed());
    };
    let began = Instant::now();
    let (frames, answer, ()) = tokio::join!(read(&mut down, DEFAULT * 4), up, unary);
    assert!(frames.expect("the stream of answers lives on") > 10);
    assert!(began.elapsed() > DEFAULT * 3, "{:?}", began.elapsed());
    let answer = answer.expect("the stream of requests was let finish");
    let status = tonic::Status::from_header_map(answer.headers()).expect("a status");
    assert_eq!(status.code(), Code::Ok, "{status:?}");
}

#[tokio::test]
async fn a_method_that_no_contract_has_counts_as_unary() {
    let world = World::new().await;
    let channel = world.channel(|builder| builder.default_timeout(Some(DEFAULT)));
    let mut stream = call(&channel, UNKNOWN).await.expect("a stream").into_body();
    let status = read(&mut stream, DEFAULT * 10).await.expect_err("the deadline passes");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
}

#[tokio::test]
async fn a_stream_inherits_the_deadline_of_the_call_being_served() {
    let world = World::new().await;
    let channel = world.channel(|builder| builder);
    let deadline = Instant::now() + DEFAULT;
    let reading = async {
        let mut stream = call(&channel, DOWN).await?.into_body();
        read(&mut stream, DEFAULT * 10).await
    };
    let status = avouch_identity::deadline::scope(deadline, reading).await.expect_err("the deadline passes");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
}

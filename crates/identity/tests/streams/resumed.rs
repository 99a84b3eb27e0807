//! A resumable stream over real connections.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use avouch_identity::{ResumableStream, ResumeEvent};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::time::Instant;
use tonic::{Response, Status};

use crate::world::{DOWN, TICK, World, call};

/// The messages of a stream of the test server, numbered by when they came: no two of one millisecond.
type Ticks = std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<u128, Status>> + Send>>;

#[tokio::test]
async fn it_moves_with_the_channel_before_the_old_stream_ends_and_no_tick_is_waited_for() {
    let world = World::lasting(Duration::from_secs(4)).await;
    let channel = world.channel(|builder| builder);
    let began = Instant::now();
    let open = move |_after: u128| {
        let channel = channel.clone();
        async move {
            let (parts, body) = call(&channel, DOWN).await?.into_parts();
            let ticks = tokio_stream::StreamExt::map(body.into_data_stream(), move |data| {
                data.map(|_: Bytes| began.elapsed().as_micros())
            });
            let mut response = Response::new(Box::pin(ticks) as Ticks);
            *response.extensions_mut() = parts.extensions;
            Ok(response)
        }
    };
    let events = Arc::new(Mutex::new(Vec::new()));
    let told = events.clone();
    let mut ticks = ResumableStream::new(0, open, |tick| *tick).observer(move |event| {
        told.lock().expect("not poisoned").push(match event {
            ResumeEvent::Ended(status) | ResumeEvent::NotOpened(status) => format!("{status:?}"),
            other => format!("{other:?}"),
        });
    });
    let (mut last, mut longest) = (Instant::now(), Vec::new());
    for renewed in [false, true, true, true] {
        let mut pause = Duration::ZERO;
        if renewed {
            world.renew_client(Duration::from_secs(4));
        }
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until {
            ticks.message().await.expect("it goes on").expect("it does not end");
            if last.duration_since(began) > Duration::from_millis(500) {
                pause = pause.max(last.elapsed());
            }
            last = Instant::now();
        }
        longest.extend(renewed.then_some(pause));
    }
    assert_eq!(*events.lock().expect("not poisoned"), ["Opened", "Moved", "Moved", "Moved"]);
    // Every stream begins with a tick; the pause of 100 ms that goes before another attempt would be seen at each of the three
    // moves, a machine that is busy for as long hardly is.
    assert!(longest.iter().any(|pause| *pause < TICK * 5), "{longest:?} without a tick");
}

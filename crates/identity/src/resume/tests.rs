use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc::{self, UnboundedSender};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::*;
use crate::connection_shutdown::ConnectionShutdown;

type Item = Result<u64, Status>;
type Tail = UnboundedReceiverStream<Item>;
type Resumed = ResumableStream<u64, u64, Tail>;

/// The server's end of a stream that was opened.
struct Served {
    after: u64,
    items: UnboundedSender<Item>,
    left: Arc<ConnectionShutdown>,
    at: Instant,
}

impl Served {
    fn send(&self, items: impl IntoIterator<Item = u64>) {
        for item in items {
            // Whether anybody still reads is the client's business.
            let _ = self.items.send(Ok(item));
        }
    }

    fn end(&self, status: Status) {
        let _ = self.items.send(Err(status));
    }

    fn is_read(&self) -> bool {
        !self.items.is_closed()
    }
}

/// A server that opens every stream it is asked for, except as the script says.
#[derive(Clone, Default)]
struct Server {
    served: Arc<Mutex<Vec<Arc<Served>>>>,
    refusals: Arc<Mutex<VecDeque<Status>>>,
    events: Arc<Mutex<Vec<String>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    fn client(&self) -> Resumed {
        let (server, events) = (self.clone(), self.events.clone());
        let open = move |after| {
            let opened = server.open(after);
            async move { opened }
        };
        ResumableStream::new(0, open, |item| *item).observer(move |event| {
            lock(&events).push(match event {
                ResumeEvent::Ended(_) => "ended".to_owned(),
                ResumeEvent::NotOpened(_) => "not opened".to_owned(),
                other => format!("{other:?}").to_lowercase(),
            });
        })
    }

    fn open(&self, after: u64) -> Result<Response<Tail>, Status> {
        if let Some(status) = lock(&self.refusals).pop_front() {
            return Err(status);
        }
        let (items, tail) = mpsc::unbounded_channel();
        let left = Arc::new(ConnectionShutdown::default());
        let mut response = Response::new(UnboundedReceiverStream::new(tail));
        response.extensions_mut().insert(Retirement::new(left.clone()));
        lock(&self.served).push(Arc::new(Served { after, items, left, at: Instant::now() }));
        Ok(response)
    }

    fn refuse(&self, status: Status) {
        lock(&self.refusals).push_back(status);
    }

    fn opened(&self) -> usize {
        lock(&self.served).len()
    }

    fn stream(&self, number: usize) -> Arc<Served> {
        lock(&self.served)[number].clone()
    }

    fn events(&self) -> Vec<String> {
        lock(&self.events).clone()
    }
}

fn retiring() -> Status {
    crate::status(Reason::ConnectionRetiring, "the connection retires", [])
}

/// What there is to have now, without waiting.
async fn ready(client: &mut Resumed) -> Vec<u64> {
    let mut items = Vec::new();
    loop {
        tokio::select! {
            biased;
            item = client.message() => match item {
                Ok(Some(item)) => items.push(item),
                other => panic!("{other:?}"),
            },
            () = std::future::ready(()) => return items,
        }
    }
}

/// The next item, as long as it takes.
async fn next(client: &mut Resumed) -> u64 {
    client.message().await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_retires_is_opened_again_at_once_after_the_last_item() {
    let server = Server::default();
    let mut client = server.client();
    assert!(ready(&mut client).await.is_empty());
    for round in 0..20 {
        let stream = server.stream(round);
        let first = u64::try_from(round).unwrap() * 3 + 1;
        assert_eq!(stream.after, first - 1);
        stream.send(first..first + 3);
        stream.end(retiring());
        let began = Instant::now();
        assert_eq!(ready(&mut client).await, [first, first + 1, first + 2]);
        assert_eq!((server.opened(), began.elapsed()), (round + 2, Duration::ZERO));
    }
    assert_eq!(*client.cursor(), 60);
}

#[tokio::test(start_paused = true)]
async fn when_the_channel_moves_the_next_stream_is_open_before_the_old_one_ends_and_nothing_comes_twice() {
    let server = Server::default();
    let mut client = server.client();
    assert!(ready(&mut client).await.is_empty());
    let old = server.stream(0);
    old.send(1..=3);
    assert_eq!(ready(&mut client).await, [1, 2, 3]);
    // 4 and 5 lie in the old stream, unread, when the channel has moved.
    old.send(4..=5);
    old.left.retire();
    let began = Instant::now();
    let mut got = ready(&mut client).await;
    let new = server.stream(1);
    assert!((3..=5).contains(&new.after), "{}", new.after);
    assert!(!old.is_read(), "the old one is let go");
    // The server delivers everything after the cursor it was given.
    new.send(new.after + 1..=8);
    got.extend(ready(&mut client).await);
    assert_eq!(got, [4, 5, 6, 7, 8]);
    assert_eq!((began.elapsed(), server.opened()), (Duration::ZERO, 2));
    assert_eq!(server.events(), ["opened", "moved"]);
}

#[tokio::test(start_paused = true)]
async fn while_the_next_stream_is_being_opened_the_old_one_goes_on_delivering() {
    let opening = Arc::new(tokio::sync::Notify::new());
    let server = Server::default();
    let (held, opens) = (opening.clone(), server.clone());
    let open = move |after| {
        let (opening, server) = (held.clone(), opens.clone());
        async move {
            let opened = server.open(after);
            // The first one at once; every other when it is let.
            if server.opened() > 1 {
                opening.notified().await;
            }
            opened
        }
    };
    let mut client: Resumed = ResumableStream::new(0, open, |item| *item);
    assert!(ready(&mut client).await.is_empty());
    let old = server.stream(0);
    old.send([1]);
    old.left.retire();
    assert_eq!(ready(&mut client).await, [1]);
    old.send([2, 3]);
    assert_eq!(ready(&mut client).await, [2, 3]);
    let new = server.stream(1);
    assert!(new.after <= 1, "{}", new.after);
    // It has been opened before 2 and 3 were handed out, so it has them too.
    new.send(new.after + 1..=4);
    old.send([4]);
    opening.notify_one();
    assert_eq!(ready(&mut client).await, [4]);
    assert!(!old.is_read());
}

#[tokio::test(start_paused = true)]
async fn while_the_next_stream_cannot_be_opened_the_old_one_stays_whatever_it_is_refused_for() {
    let server = Server::default();
    let mut client = server.client();
    assert!(ready(&mut client).await.is_empty());
    server.refuse(Status::unavailable("not now"));
    server.refuse(Status::permission_denied("not you"));
    let old = server.stream(0);
    old.left.retire();
    for item in 1..=2 {
        old.send([item]);
        assert_eq!(ready(&mut client).await, [item]);
    }
    // Then it can.
    assert!(tokio::time::timeout(Duration::from_secs(2), client.message()).await.is_err());
    server.stream(1).send([3]);
    assert_eq!(ready(&mut client).await, [3]);
    assert_eq!(server.events(), ["opened", "not opened", "not opened", "moved"]);
}

#[tokio::test(start_paused = true)]
async fn failures_that_pass_are_waited_out_longer_and_longer_until_an_item_comes() {
    let server = Server::default();
    let passing = [
        Status::unavailable("gone"),
        Status::cancelled("cut"),
        Status::deadline_exceeded("late"),
        Status::aborted("again"),
        crate::status(Reason::RateLimited, "too fast", []),
        crate::status(Reason::CertExpired, "our own", []),
        crate::status(Reason::NotReady, "not yet", []),
        Status::unavailable("still"),
        Status::unavailable("still"),
    ];
    let tries = u32::try_from(passing.len()).unwrap();
    passing.into_iter().for_each(|status| server.refuse(status));
    let mut client = server.client();
    let began = Instant::now();
    let waiting = tokio::time::timeout(Duration::from_secs(60), client.message()).await;
    assert!(waiting.is_err(), "{waiting:?}");
    let waited = server.stream(0).at - began;
    // 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5 s, give or take 30 %.
    assert!((14.9..=27.7).contains(&waited.as_secs_f64()), "{waited:?}");
    assert_eq!(server.events().len(), usize::try_from(tries).unwrap() + 1);
    // An item, and the next failure is the first one again.
    server.stream(0).send([1]);
    assert_eq!(next(&mut client).await, 1);
    let ended = Instant::now();
    server.stream(0).end(Status::unavailable("gone"));
    assert!(tokio::time::timeout(Duration::from_millis(200), client.message()).await.is_err());
    assert!(server.stream(1).at - ended <= Duration::from_millis(130));
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_does_not_pass_is_handed_out_and_is_the_end() {
    for status in [
        Status::permission_denied("not you"),
        Status::out_of_range("another book"),
        Status::internal("broken"),
        Status::unimplemented("what"),
        crate::status(Reason::RoleMissing, "not you", []),
        crate::status(Reason::IdentityRevoked, "not you any more", []),
    ] {
        for already_open in [false, true] {
            let server = Server::default();
            let mut client = server.client();
            if already_open {
                assert!(ready(&mut client).await.is_empty());
                server.stream(0).send([1]);
                server.stream(0).end(status.clone());
                assert_eq!(client.message().await.unwrap(), Some(1));
            } else {
                server.refuse(status.clone());
            }
            assert_eq!(client.message().await.unwrap_err().code(), status.code());
            assert_eq!(client.message().await.unwrap(), None);
            assert_eq!(server.opened(), usize::from(already_open), "asked once more");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ok_is_the_end_even_while_the_next_stream_is_wanted() {
    let server = Server::default();
    let mut client = server.client();
    assert!(ready(&mut client).await.is_empty());
    server.refuse(Status::unavailable("not now"));
    let stream = server.stream(0);
    stream.send([1]);
    stream.left.retire();
    assert_eq!(ready(&mut client).await, [1]);
    drop(stream);
    lock(&server.served).clear();
    assert_eq!(client.message().await.unwrap(), None);
    assert_eq!(client.message().await.unwrap(), None);
    assert_eq!(server.opened(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_retires_every_stream_at_once_is_not_asked_in_circles() {
    let server = Server::default();
    let mut client = server.client();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        assert!(tokio::time::timeout(Duration::from_millis(50), client.message()).await.is_err());
        if let Some(stream) = lock(&server.served).last() {
            stream.end(retiring());
        }
    }
    assert!((12..=25).contains(&server.opened()), "{} streams in a minute", server.opened());
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_that_retires_after_a_while_is_opened_again_at_once() {
    let server = Server::default();
    let mut client = server.client();
    for number in 0..5 {
        assert!(tokio::time::timeout(SHORT_LIFE, client.message()).await.is_err());
        assert_eq!(server.opened(), number + 1);
        let status = match number % 2 {
            0 => retiring(),
            _ => crate::status(Reason::CertExpired, "the connection's certificate has ended", []),
        };
        server.stream(number).end(status);
        assert!(ready(&mut client).await.is_empty());
        assert_eq!(server.opened(), number + 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_and_comes_back_loses_nothing() {
    let server = Server::default();
    let mut client = server.client();
    let mut got = Vec::new();
    let writing = tokio::spawn({
        let server = server.clone();
        async move {
            for item in 1..=200_u64 {
                tokio::time::sleep(Duration::from_millis(7)).await;
                let Some(stream) = lock(&server.served).last().cloned() else { continue };
                stream.send(stream.after + 1..=item);
                if item % 20 == 0 {
                    stream.left.retire();
                }
                if item % 30 == 0 {
                    stream.end(retiring());
                }
            }
        }
    });
    while got.last() != Some(&200) {
        // Dropped in the middle of anything.
        if let Ok(item) = tokio::time::timeout(Duration::from_millis(3), client.message()).await {
            got.push(item.unwrap().unwrap());
        }
        if writing.is_finished() && got.last() != Some(&200) {
            let stream = lock(&server.served).last().cloned().unwrap();
            stream.send(stream.after + 1..=200);
        }
    }
    assert_eq!(got, (1..=200).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn it_is_a_stream_of_the_usual_kind() {
    use tokio_stream::StreamExt as _;
    let server = Server::default();
    server.refuse(Status::unavailable("not now"));
    let client = server.client();
    let reading = tokio::spawn(client.take(3).collect::<Vec<_>>());
    while server.opened() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.stream(0).send(1..=3);
    let items: Vec<_> = reading.await.unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(items, [1, 2, 3]);
}

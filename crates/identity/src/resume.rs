//! A stream that outlives its connections: opened again after the last item that was handed out, and before the old one
//! ends where that can be known.
//!
//! Connections end, with their certificates at the latest, and a stream ends with its connection. Following something
//! for longer takes a method with a cursor, and a loop that opens it again. This is the loop. It moves to the next
//! connection as soon as the channel has, while the old stream still delivers, so that nothing waits for a handshake; an
//! item that comes on both is handed out once.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use avouch_spiffe::Reason;
use tokio::time::{Instant, Sleep};
use tokio_stream::Stream;
use tonic::{Code, Response, Status, Streaming};

use crate::channel::Retirement;
use crate::jitter;

/// The pause after a first failure; it doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// A stream that delivered nothing and ended sooner than this counts as a failure, whatever its status: a server that
/// is about to stop must not be called in a loop.
const SHORT_LIFE: Duration = Duration::from_secs(1);

type Opening<S> = Pin<Box<dyn Future<Output = Result<Response<S>, Status>> + Send>>;

/// An event of the streams behind a [`ResumableStream`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ResumeEvent<'a> {
    /// A stream is open, and there was none.
    Opened,
    /// The next stream has taken the place of one that was still open.
    Moved,
    /// The stream has ended with this status and will be opened again.
    Ended(&'a Status),
    /// No stream could be opened, which will be tried again; one that is open stays.
    NotOpened(&'a Status),
}

/// The items of a streaming method, each of them once and in order, over as many streams and connections as it takes.
///
/// * A stream that ends because its connection retires (CONNECTION_RETIRING) or has reached the end of a certificate
///   (CERT_EXPIRED) is opened again at once.
/// * When the channel has moved to another connection (see [`Retirement`]) the next stream is opened beside the old one and
///   takes its place.
/// * After a failure that can pass it is opened again after a pause, from 100 ms doubling to 5 s, ± 30 %: reasons that
///   are retryable and CERT_EXPIRED, which renewal resolves; of statuses without a reason UNAVAILABLE,
///   RESOURCE_EXHAUSTED, ABORTED, CANCELLED and DEADLINE_EXCEEDED.
/// * Any other failure is handed out and is the end. OK is the end too: the server has nothing more to send.
///
/// Cursors grow from item to item, and the method delivers what comes after the cursor it is given: what is not beyond
/// the last item is taken for the same again, and left out.
///
/// ```
/// # use avouch_identity::ResumableStream;
/// # use tonic::{Response, Status, Streaming};
/// # struct Posting { sequence: u64 }
/// # #[derive(Clone)] struct Ledger;
/// # impl Ledger {
/// #     async fn tail(&mut self, after: u64) -> Result<Response<Streaming<Posting>>, Status> {
/// #         Err(Status::not_found("there is none"))
/// #     }
/// # }
/// # async fn follow(ledger: Ledger, counted: u64) -> Result<(), Status> {
/// let open = move |after: u64| {
///     let mut ledger = ledger.clone();
///     async move { ledger.tail(after).await }
/// };
/// let mut postings = ResumableStream::new(counted, open, |posting: &Posting| posting.sequence);
/// while let Some(posting) = postings.message().await? {
///     println!("{}", posting.sequence);
/// }
/// # Ok(())
/// # }
/// ```
pub struct ResumableStream<C, T, S = Streaming<T>> {
    open: Box<dyn FnMut(C) -> Opening<S> + Send>,
    cursor_of: Box<dyn Fn(&T) -> C + Send>,
    observer: Box<dyn FnMut(ResumeEvent<'_>) + Send>,
    /// The cursor of the last item handed out.
    cursor: C,
    current: Option<Current<S>>,
    opening: Option<Opening<S>>,
    /// The pause before the next attempt to open a stream.
    pause: Option<Pin<Box<Sleep>>>,
    /// The number of failed attempts in a row.
    failures: u32,
    over: bool,
}

/// An open stream.
struct Current<S> {
    stream: S,
    since: Instant,
    has_delivered: bool,
    /// Resolves when the channel has moved on from its connection. None once it has, and where nothing says so.
    retired: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Whether the next stream is due beside this one.
    is_retired: bool,
}

impl<C, T, S> std::fmt::Debug for ResumableStream<C, T, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResumableStream")
            .field("is_open", &self.current.is_some())
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}

// Nothing in it is pinned in place: what has to be is boxed, and streams are `Unpin`.
impl<C, T, S> Unpin for ResumableStream<C, T, S> {}

impl<C, T, S> ResumableStream<C, T, S>
where
    C: Ord + Clone,
    S: Stream<Item = Result<T, Status>> + Unpin,
{
    /// The items after `cursor`. `open` opens the stream after a cursor, `cursor_of` returns the cursor of an item.
    /// Nothing is opened before the first item is asked for.
    pub fn new<F>(
        cursor: C,
        mut open: impl FnMut(C) -> F + Send + 'static,
        cursor_of: impl Fn(&T) -> C + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Response<S>, Status>> + Send + 'static,
    {
        Self {
            open: Box::new(move |cursor| Box::pin(open(cursor))),
            cursor_of: Box::new(cursor_of),
            observer: Box::new(|_| {}),
            cursor,
            current: None,
            opening: None,
            pause: None,
            failures: 0,
            over: false,
        }
    }

    /// Tells `observer` what becomes of the streams, to be logged or counted.
    #[must_use]
    pub fn observer(mut self, observer: impl FnMut(ResumeEvent<'_>) + Send + 'static) -> Self {
        self.observer = Box::new(observer);
        self
    }

    /// The cursor of the last item that was handed out; the first cursor before there is one.
    pub fn cursor(&self) -> &C {
        &self.cursor
    }

    /// The next item; none after the end. Waits as long as it takes, and can be dropped and called again: nothing is
    /// lost.
    ///
    /// # Errors
    /// The status of a failure that does not pass; after it there is nothing more.
    pub async fn message(&mut self) -> Result<Option<T>, Status> {
        std::future::poll_fn(|cx| self.poll(cx)).await.transpose()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Status>>> {
        loop {
            if self.over {
                return Poll::Ready(None);
            }
            // The next stream is polled first: otherwise an old one that always has an item ready would keep it from
            // ever being polled.
            match self.poll_opening(cx) {
                Poll::Ready(Ok(())) => continue,
                Poll::Ready(Err(status)) => return self.give_up(status),
                Poll::Pending => {}
            }
            let Some(current) = &mut self.current else { return Poll::Pending };
            match Pin::new(&mut current.stream).poll_next(cx) {
                Poll::Ready(Some(Ok(item))) => {
                    let cursor = (self.cursor_of)(&item);
                    // What the old stream still brought while this one was being opened.
                    if cursor <= self.cursor {
                        continue;
                    }
                    (self.cursor, current.has_delivered, self.failures) = (cursor, true, 0);
                    return Poll::Ready(Some(Ok(item)));
                }
                Poll::Ready(Some(Err(status))) => {
                    if let Err(status) = self.ended(status) {
                        return self.give_up(status);
                    }
                }
                Poll::Ready(None) => {
                    self.end();
                    return Poll::Ready(None);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Opens the next stream where one is due: there is none, or the channel has left its connection. Ready when
    /// something has changed.
    fn poll_opening(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        if let Some(opening) = &mut self.opening {
            let outcome = std::task::ready!(opening.as_mut().poll(cx));
            self.opening = None;
            return Poll::Ready(match outcome {
                Ok(response) => {
                    self.opened(response);
                    Ok(())
                }
                Err(status) => self.not_opened(status),
            });
        }
        if let Some(current) = &mut self.current
            && !current.is_retired
        {
            let Some(retired) = &mut current.retired else { return Poll::Pending };
            std::task::ready!(retired.as_mut().poll(cx));
            (current.retired, current.is_retired) = (None, true);
        }
        if let Some(pause) = &mut self.pause {
            std::task::ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        self.opening = Some((self.open)(self.cursor.clone()));
        Poll::Ready(Ok(()))
    }

    fn opened(&mut self, response: Response<S>) {
        let retirement = response.extensions().get::<Retirement>().cloned();
        let next = Current {
            stream: response.into_inner(),
            since: Instant::now(),
            has_delivered: false,
            retired: retirement.map(|it| Box::pin(async move { it.retired().await }) as _),
            is_retired: false,
        };
        // The old one is dropped here: what it had and did not hand out comes after the cursor, so the next one has it.
        let event = match self.current.replace(next) {
            Some(_) => ResumeEvent::Moved,
            None => ResumeEvent::Opened,
        };
        (self.observer)(event);
    }

    fn not_opened(&mut self, status: Status) -> Result<(), Status> {
        // An open stream stays in use whatever the next one was refused for: its own status decides.
        if self.current.is_none() && !passes(&status) {
            return Err(status);
        }
        (self.observer)(ResumeEvent::NotOpened(&status));
        self.wait();
        Ok(())
    }

    fn ended(&mut self, status: Status) -> Result<(), Status> {
        let Some(current) = self.current.take() else { return Ok(()) };
        if !passes(&status) {
            return Err(status);
        }
        (self.observer)(ResumeEvent::Ended(&status));
        let went_well = current.has_delivered || current.since.elapsed() >= SHORT_LIFE;
        if went_well && is_end_of_connection(&status) {
            // The pause was for the next one beside this one.
            self.pause = None;
            self.failures = 0;
        } else if self.opening.is_none() {
            self.wait();
        }
        Ok(())
    }

    /// Puts a pause before the next attempt, longer with each failure in a row.
    fn wait(&mut self) {
        let pause = FIRST_BACKOFF.saturating_mul(1 << self.failures.min(8)).min(LONGEST_BACKOFF);
        self.failures = self.failures.saturating_add(1);
        self.pause = Some(Box::pin(tokio::time::sleep(jitter::around(pause, 0.3))));
    }

    fn give_up(&mut self, status: Status) -> Poll<Option<Result<T, Status>>> {
        self.end();
        Poll::Ready(Some(Err(status)))
    }

    fn end(&mut self) {
        (self.current, self.opening, self.pause, self.over) = (None, None, None, true);
    }
}

impl<C, T, S> Stream for ResumableStream<C, T, S>
where
    C: Ord + Clone,
    S: Stream<Item = Result<T, Status>> + Unpin,
{
    type Item = Result<T, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll(cx)
    }
}

/// Whether the connection has ended in good order, and with it the stream.
fn is_end_of_connection(status: &Status) -> bool {
    matches!(crate::reason(status), Some(Reason::ConnectionRetiring | Reason::CertExpired))
}

/// Whether the same call can succeed later.
fn passes(status: &Status) -> bool {
    match crate::reason(status) {
        // An expired SVID is renewed or recovered without anything that the caller could do.
        Some(reason) => reason.retryable() || reason == Reason::CertExpired,
        None => matches!(
            status.code(),
            Code::Unavailable
                | Code::ResourceExhausted
                | Code::Aborted
                | Code::Cancelled
                | Code::DeadlineExceeded
        ),
    }
}

#[cfg(test)]
mod tests;

//! One gRPC call with arbitrary headers, on a connection of any kind.

use std::net::SocketAddr;

use bytes::Bytes;
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use crate::Error;
use crate::tls::{self, Approach, PATIENCE};

/// The label under which keying material is exported for a proof of recovery.
const RECOVERY_LABEL: &[u8] = b"EXPORTER-avouch-recovery";

/// The result of an attempt.
#[derive(Debug)]
pub struct Attempt {
    /// The attacker's own address, by which the other side's record is found.
    pub local: SocketAddr,
    /// Its end.
    pub outcome: Outcome,
}

/// The end of an attempt.
#[derive(Debug)]
pub enum Outcome {
    /// An answer at the level of gRPC.
    Answered(Answer),
    /// The connection ended before there was one.
    Disconnected {
        /// The TLS alert, in rustls's word, if one arrived.
        alert: Option<String>,
        /// What the attacker saw.
        text: String,
    },
}

/// The gRPC answer of a server.
#[derive(Debug)]
pub struct Answer {
    /// The status code's number; 0 when messages came and the attacker had seen enough.
    pub status: i32,
    /// The status message.
    pub text: String,
    /// `google.rpc.Status`, encoded; empty if there was none.
    pub details: Vec<u8>,
    /// The first message, without its frame.
    pub message: Vec<u8>,
}

impl Outcome {
    /// An error and its causes, as the end of a connection.
    fn ended(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            text = format!("{text}: {cause}");
            next = cause.source();
        }
        // The HTTP/2 library passes on only the text of the error that ended the connection.
        let alert = text.split_once("received fatal alert: ").map(|(_, alert)| alert.to_owned());
        Self::Disconnected { alert, text }
    }

    /// Whether the attempt succeeded.
    #[must_use]
    pub fn got_through(&self) -> bool {
        matches!(self, Self::Answered(answer) if answer.status == 0)
    }
}

/// A call to be made.
#[derive(Debug, Clone, Default)]
pub struct Call<'a> {
    /// `/package.Service/Method`.
    pub path: &'a str,
    /// The encoded request.
    pub message: Vec<u8>,
    /// What is claimed beside it.
    pub headers: &'a [(&'static str, &'a str)],
}

/// An open HTTP/2 connection over any transport.
#[derive(Debug)]
pub struct Session {
    /// The attacker's own address.
    pub local: SocketAddr,
    scheme: &'static str,
    exporter: Option<[u8; 32]>,
    sender: h2::client::SendRequest<Bytes>,
    driver: Option<JoinHandle<Result<(), h2::Error>>>,
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(driver) = &self.driver {
            driver.abort();
        }
    }
}

impl Session {
    /// Connects over TLS. The inner error is how the connection ended, where it was refused that early.
    ///
    /// # Errors
    /// When the attack can't be made at all: nobody listens, or it takes too long.
    pub async fn open(target: SocketAddr, approach: Approach<'_>) -> Result<Result<Self, Attempt>, Error> {
        let tcp = tls::socket(target, approach.from).await?;
        let local = tcp.local_addr()?;
        let connection = match tls::handshake(tcp, approach).await {
            Ok(connection) => connection,
            Err(error) => return Ok(Err(Attempt { local, outcome: Outcome::ended(error.as_ref()) })),
        };
        let exporter = connection.get_ref().1.export_keying_material([0; 32], RECOVERY_LABEL, None).ok();
        Ok(match Self::on(connection, local, "https").await {
            Ok(mut session) => {
                session.exporter = exporter;
                Ok(session)
            }
            Err(outcome) => Err(Attempt { local, outcome }),
        })
    }

    async fn on<T>(connection: T, local: SocketAddr, scheme: &'static str) -> Result<Self, Outcome>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, driver) =
            h2::client::handshake(connection).await.map_err(|error| Outcome::ended(&error))?;
        Ok(Self { local, scheme, exporter: None, sender, driver: Some(tokio::spawn(driver)) })
    }

    /// What TLS exports for a proof of recovery (RFC 8446 §7.5).
    #[must_use]
    pub fn exporter(&self) -> Option<[u8; 32]> {
        self.exporter
    }

    /// Makes a call.
    ///
    /// # Errors
    /// When the attack can't be made at all.
    pub async fn call(&mut self, call: &Call<'_>) -> Result<Outcome, Error> {
        let mut request = http::Request::post(format!("{}://server.invalid{}", self.scheme, call.path))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in call.headers {
            request = request.header(*name, *value);
        }
        let answered = answer(self.sender.clone(), request.body(())?, frame(&call.message)?);
        let error = match tokio::time::timeout(PATIENCE, answered).await? {
            Ok(answer) => return Ok(Outcome::Answered(answer)),
            Err(error) => error,
        };
        // The connection's own end says more than the request's.
        let driver = self.driver.take().map(|driver| tokio::time::timeout(PATIENCE, driver));
        let Some(driver) = driver else { return Ok(Outcome::ended(error.as_ref())) };
        Ok(match driver.await? {
            Ok(Err(cause)) => Outcome::ended(&cause),
            _ => Outcome::ended(error.as_ref()),
        })
    }
}

/// Connects and calls once.
///
/// # Errors
/// When the attack can't be made at all.
pub async fn attempt(target: SocketAddr, approach: Approach<'_>, call: &Call<'_>) -> Result<Attempt, Error> {
    match Session::open(target, approach).await? {
        Ok(mut session) => Ok(Attempt { local: session.local, outcome: session.call(call).await? }),
        Err(refused) => Ok(refused),
    }
}

/// Connects without TLS and calls once.
///
/// # Errors
/// When the attack can't be made at all.
pub async fn attempt_in_plaintext(target: SocketAddr, call: &Call<'_>) -> Result<Attempt, Error> {
    let tcp = tls::socket(target, None).await?;
    let local = tcp.local_addr()?;
    let outcome = match Session::on(tcp, local, "http").await {
        Ok(mut session) => session.call(call).await?,
        Err(outcome) => outcome,
    };
    Ok(Attempt { local, outcome })
}

async fn answer(
    sender: h2::client::SendRequest<Bytes>,
    request: http::Request<()>,
    body: Bytes,
) -> Result<Answer, Error> {
    let mut sender = sender.ready().await?;
    let (response, mut stream) = sender.send_request(request, false)?;
    stream.send_data(body, true)?;
    let (head, mut body) = response.await?.into_parts();
    let mut received = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        received.extend_from_slice(&chunk);
        if whole(&received) && !body.is_end_stream() {
            // The stream may be endless; its first message is enough.
            let trailers = tokio::time::timeout(std::time::Duration::from_millis(200), body.trailers()).await;
            return match trailers {
                Ok(trailers) => read(&head.headers, trailers?, &received),
                Err(_open) => Ok(Answer {
                    status: 0,
                    text: String::new(),
                    details: Vec::new(),
                    message: message(&received),
                }),
            };
        }
    }
    let trailers = body.trailers().await?;
    read(&head.headers, trailers, &received)
}

fn read(head: &HeaderMap, trailers: Option<HeaderMap>, body: &[u8]) -> Result<Answer, Error> {
    let trailers = trailers.unwrap_or_default();
    let field = |name: &str| trailers.get(name).or_else(|| head.get(name)).map(http::HeaderValue::as_bytes);
    let text = |name: &str| String::from_utf8_lossy(field(name).unwrap_or_default()).into_owned();
    let status = text("grpc-status").parse().map_err(|_| "an answer without grpc-status")?;
    let details = field("grpc-status-details-bin").unwrap_or_default();
    let details = details.strip_suffix(b"==").or_else(|| details.strip_suffix(b"=")).unwrap_or(details);
    let details = base64::Engine::decode(&base64::engine::general_purpose::STANDARD_NO_PAD, details)?;
    Ok(Answer { status, text: text("grpc-message"), details, message: message(body) })
}

/// A message in its gRPC frame.
fn frame(message: &[u8]) -> Result<Bytes, Error> {
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len())?.to_be_bytes());
    framed.extend_from_slice(message);
    Ok(framed.into())
}

/// Whether the first message has arrived.
fn whole(received: &[u8]) -> bool {
    let length = received.get(1..5).and_then(|octets| octets.try_into().ok()).map(u32::from_be_bytes);
    length.is_some_and(|length| u64::from(length) + 5 <= received.len() as u64)
}

/// The first message without its frame.
fn message(received: &[u8]) -> Vec<u8> {
    received.get(5..).unwrap_or_default().to_vec()
}

impl Answer {
    /// Whether the status's details hold this word, as `google.rpc.ErrorInfo` holds its reason.
    #[must_use]
    pub fn says(&self, word: &str) -> bool {
        self.details.windows(word.len()).any(|window| window == word.as_bytes())
    }

    /// The decision id in the status's details: `d-` and sixteen hex digits.
    #[must_use]
    pub fn decision_id(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.details);
        let ids = text.match_indices("d-").filter_map(|(at, _)| text.get(at..at + 18));
        ids.filter(|id| id.chars().skip(2).all(|digit| digit.is_ascii_hexdigit())).map(str::to_owned).next()
    }
}

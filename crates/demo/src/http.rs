//! One HTTP GET to a service's plain health port.

use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A metrics page is far smaller than this.
const LIMIT: usize = 4 << 20;

const PATIENCE: Duration = Duration::from_secs(2);

/// The status and the body of `path` at `address` (`host:port`).
///
/// # Errors
/// What went wrong, in words: the demo can only report it.
pub async fn get(address: &str, path: &str) -> Result<(u16, String), String> {
    tokio::time::timeout(PATIENCE, ask(address, path)).await.map_err(|_| "no answer in time".to_owned())?
}

async fn ask(address: &str, path: &str) -> Result<(u16, String), String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let request = hyper::Request::get(path)
        .header("host", address)
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body =
            Limited::new(response.into_body(), LIMIT).collect().await.map_err(|error| error.to_string())?;
        Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    };
    tokio::select! {
        // The connection ends when the exchange is over, or breaks it.
        answer = exchange => answer,
        () = async { let _ = connection.await; std::future::pending().await } => Err("closed".to_owned()),
    }
}

/// The sum of a metric's values over all of its labels, on a page in the Prometheus text format.
#[must_use]
pub fn metric(page: &str, name: &str) -> Option<f64> {
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = match rest.strip_prefix('{') {
            Some(labelled) => labelled.rsplit_once("} ")?.1,
            None => rest.strip_prefix(' ')?,
        };
        value.trim().parse::<f64>().ok()
    });
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

#[cfg(test)]
mod tests {
    use super::metric;

    #[test]
    fn a_metric_is_found_by_its_whole_name_and_added_up_over_its_labels() {
        let page = "# HELP a_b x\na_b_total 3\na_b 1.5e3\nc{x=\"} 9\"} 2\nc{x=\"2\"} 5\n";
        assert_eq!(metric(page, "a_b"), Some(1500.0));
        assert_eq!(metric(page, "c"), Some(7.0));
        assert_eq!(metric(page, "a"), None);
    }
}

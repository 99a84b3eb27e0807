//! The socket that a service manager passes (`sd_listen_fds(3)`): it is there before the process is and stays when the
//! process restarts, so that nobody who connects meanwhile is refused.
//!
//! Refuses more than one socket, since peers of the others would wait for ever, and anything but a listening TCP
//! socket. Sockets for another process (`LISTEN_PID`) are left alone. The socket is made close-on-exec and the
//! variables are removed, so that no child takes it for its own.

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;

use listenfd::ListenFd;

/// Why a passed socket cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ActivationError {
    /// `LISTEN_FDS` is no number.
    #[error("LISTEN_FDS is `{0}`, which is no number of sockets")]
    Count(String),
    /// More than one socket.
    #[error("{count} sockets are passed{names}, and this process serves one")]
    Several {
        /// The number of sockets.
        count: usize,
        /// The names of the sockets, if they have names: ` (a:b)`.
        names: String,
    },
    /// Something else, or a socket that does not listen.
    #[error("the passed descriptor is no listening TCP socket")]
    NotListening(#[source] io::Error),
}

/// The passed socket, where there is one. To be called once, before other threads look at the environment.
pub(crate) fn take(env: &HashMap<String, String>) -> Result<Option<TcpListener>, ActivationError> {
    match passed(env, std::process::id())? {
        0 => Ok(None),
        1 => listening().map(Some).map_err(ActivationError::NotListening),
        count => {
            let names = env.get("LISTEN_FDNAMES").map(|names| format!(" ({names})"));
            Err(ActivationError::Several { count, names: names.unwrap_or_default() })
        }
    }
}

/// Whether a socket is passed to a process of this environment, whichever that is: then it binds none itself.
pub(crate) fn is_activated(env: &HashMap<String, String>) -> bool {
    env.get("LISTEN_FDS").is_some_and(|count| count != "0")
}

/// How many descriptors are passed to the process `own`.
fn passed(env: &HashMap<String, String>, own: u32) -> Result<usize, ActivationError> {
    // Without `LISTEN_PID` the sockets may be meant for an ancestor of this process.
    let is_ours = env.get("LISTEN_PID").is_some_and(|pid| pid.parse() == Ok(own));
    match env.get("LISTEN_FDS").filter(|_| is_ours) {
        Some(count) => count.parse().map_err(|_| ActivationError::Count(count.clone())),
        None => Ok(0),
    }
}

fn listening() -> io::Result<TcpListener> {
    let socket = ListenFd::from_env().take_tcp_listener(0)?;
    let socket = socket.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    if !rustix::net::sockopt::socket_acceptconn(&socket)? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen"));
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u32 = 4711;

    fn count(env: &[(&str, &str)]) -> Result<usize, ActivationError> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        passed(&env, OWN)
    }

    #[test]
    fn what_is_passed_to_another_process_or_to_nobody_is_not_ours() {
        assert_eq!(count(&[]).unwrap(), 0);
        assert_eq!(count(&[("LISTEN_FDS", "1")]).unwrap(), 0);
        assert_eq!(count(&[("LISTEN_FDS", "1"), ("LISTEN_PID", "1")]).unwrap(), 0);
        assert_eq!(count(&[("LISTEN_FDS", "nonsense"), ("LISTEN_PID", "1")]).unwrap(), 0);
        assert_eq!(count(&[("LISTEN_PID", "4711")]).unwrap(), 0);
        assert_eq!(count(&[("LISTEN_FDS", "2"), ("LISTEN_PID", "4711")]).unwrap(), 2);
    }

    #[test]
    fn a_count_that_is_none_is_an_error_and_not_zero() {
        for nonsense in ["", "-1", "one", "99999999999999999999"] {
            let error = count(&[("LISTEN_FDS", nonsense), ("LISTEN_PID", "4711")]).unwrap_err();
            assert!(matches!(error, ActivationError::Count(_)), "{nonsense}: {error}");
        }
    }
}

//! Checks of the same certificates and listener by independent programs: openssl and curl.
//!
//! A program that is not on this machine skips its checks, and says so.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::facts::{Check, Outcome};

/// No check takes longer on a machine that works.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the programs are pointed at.
#[derive(Debug, Clone)]
pub struct Target {
    /// Directory with `bundle.pem`, `svid.pem`, `svid.key`.
    pub certs: PathBuf,
    /// Port of the storefront's ingress, on the host `localhost`.
    pub port: u16,
    /// An order as JSON, which is posted.
    pub order: String,
}

/// All checks, in order.
pub async fn checks(target: &Target) -> Vec<Check> {
    vec![verify(target).await, s_client(target).await, curl(target).await, curl_without(target).await]
}

/// The line for people to try: `openssl verify` of the files in `certs`.
#[must_use]
pub fn verify_line(certs: &str) -> String {
    format!(
        "openssl verify -x509_strict -CAfile {certs}/bundle.pem -untrusted {certs}/svid.pem {certs}/svid.pem"
    )
}

/// The line for people to try: an order over HTTPS.
#[must_use]
pub fn curl_line(certs: &str, port: u16, order: &str) -> String {
    format!(
        "curl --cert {certs}/svid.pem --key {certs}/svid.key --cacert {certs}/bundle.pem https://localhost:{port}/orders --json @{order}"
    )
}

async fn verify(target: &Target) -> Check {
    let (bundle, svid) = (file(target, "bundle.pem"), file(target, "svid.pem"));
    let args = ["verify", "-x509_strict", "-CAfile", &bundle, "-untrusted", &svid, &svid];
    judge("openssl verify -x509_strict accepts the chain", run("openssl", &args, None).await, |ran| {
        (ran.success && ran.text.contains(": OK")).then(|| last_line(&ran.text))
    })
}

async fn s_client(target: &Target) -> Check {
    let (bundle, svid, key) =
        (file(target, "bundle.pem"), file(target, "svid.pem"), file(target, "svid.key"));
    let connect = format!("localhost:{}", target.port);
    let args = [
        "s_client",
        "-connect",
        &connect,
        "-servername",
        "localhost",
        "-verify_hostname",
        "localhost",
        "-CAfile",
        &bundle,
        "-cert",
        &svid,
        "-cert_chain",
        &svid,
        "-key",
        &key,
        "-verify_return_error",
        "-alpn",
        "http/1.1",
        "-ign_eof",
    ];
    // A whole request, since a TLS 1.3 client is only told the server's verdict after its own handshake is done.
    let request = "GET /orders/none HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    judge(
        "openssl s_client and the storefront verify each other",
        run("openssl", &args, Some(request)).await,
        |ran| {
            let verified =
                ran.text.contains("Verify return code: 0 (ok)") || ran.text.contains("Verification: OK");
            let answered = ran.text.lines().find(|line| line.starts_with("HTTP/1.1 "));
            let tls = ran.text.contains("TLSv1.3").then_some("TLSv1.3");
            answered
                .filter(|_| verified)
                .zip(tls)
                .map(|(line, tls)| format!("{tls}, verified, {}", line.trim()))
        },
    )
}

async fn curl(target: &Target) -> Check {
    let (bundle, svid, key) =
        (file(target, "bundle.pem"), file(target, "svid.pem"), file(target, "svid.key"));
    let url = format!("https://localhost:{}/orders", target.port);
    let args = [
        "-sS",
        "--cert",
        &svid,
        "--key",
        &key,
        "--cacert",
        &bundle,
        &url,
        "--json",
        &target.order,
        "-w",
        "\n%{http_code}",
    ];
    judge("curl places an order with the certificate in certs/dev", run("curl", &args, None).await, |ran| {
        (ran.success && last_line(&ran.text).starts_with('2'))
            .then(|| format!("HTTP {}", last_line(&ran.text)))
    })
}

async fn curl_without(target: &Target) -> Check {
    let bundle = file(target, "bundle.pem");
    let url = format!("https://localhost:{}/orders", target.port);
    let args = ["-sS", "--cacert", &bundle, &url, "--json", &target.order, "-w", "\n%{http_code}"];
    judge("curl is refused without one", run("curl", &args, None).await, |ran| {
        (!ran.success && !last_line(&ran.text).starts_with('2')).then(|| first_line(&ran.text))
    })
}

fn file(target: &Target, name: &str) -> String {
    target.certs.join(name).display().to_string()
}

/// What a program did.
struct Ran {
    success: bool,
    text: String,
}

/// Runs it; `None` when it is not on this machine.
async fn run(program: &str, args: &[&str], input: Option<&str>) -> Option<Result<Ran, String>> {
    let path = find(program)?;
    let command = Command::new(path)
        .args(args)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match command {
        Ok(child) => child,
        Err(error) => return Some(Err(error.to_string())),
    };
    let feed = async {
        // A program that ends before it has read everything has its reasons, which it tells us.
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await;
        }
    };
    feed.await;
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    Some(match output {
        Err(_) => Err(format!("no end within {PATIENCE:?}")),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(output)) => Ok(Ran {
            success: output.status.success(),
            text: format!(
                "{}{}",
                String::from_utf8_lossy(&output.stderr),
                String::from_utf8_lossy(&output.stdout)
            ),
        }),
    })
}

/// Where a program is, by the search path.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(file)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn judge(claim: &str, ran: Option<Result<Ran, String>>, held: impl FnOnce(&Ran) -> Option<String>) -> Check {
    let (outcome, detail) = match ran {
        None => {
            let program = claim.split(' ').next().unwrap_or_default();
            (Outcome::Skipped, format!("there is no {program} on this machine"))
        }
        Some(Err(error)) => (Outcome::Failed, error),
        Some(Ok(ran)) => match held(&ran) {
            Some(detail) => (Outcome::Held, detail),
            None => (Outcome::Failed, ran.text.lines().rev().take(4).collect::<Vec<_>>().join(" | ")),
        },
    };
    Check { claim: claim.to_owned(), outcome, detail }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

fn last_line(text: &str) -> String {
    text.lines().next_back().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_is_not_there_skips_its_check_by_name() {
        let check = judge("noprogramofthisname works", run("noprogramofthisname", &[], None).await, |_| None);
        assert_eq!(check.outcome, Outcome::Skipped);
        assert!(check.detail.contains("noprogramofthisname"));
    }

    #[tokio::test]
    async fn a_program_that_says_something_else_fails_its_check_with_what_it_said() {
        let ran = run("sh", &["-c", "cat; echo no >&2; exit 3"], Some("in")).await;
        let check = judge("sh works", ran, |ran| ran.success.then(String::new));
        assert_eq!(check.outcome, Outcome::Failed);
        assert!(check.detail.contains("in") && check.detail.contains("no"), "{}", check.detail);
    }

    #[test]
    fn the_lines_to_try_name_the_files_they_need() {
        assert!(curl_line("certs/dev", 7443, "order.json").contains("--key certs/dev/svid.key"));
        assert!(verify_line("certs/dev").ends_with("certs/dev/svid.pem"));
    }
}

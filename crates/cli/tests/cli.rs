//! The program as a shell sees it: what it prints where, what it says when something is wrong, how it exits. The issuer
//! is a stand-in on a real Unix socket.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests and their helpers")]

#[path = "cli/revocations.rs"]
mod revocations;

use avouch_api::admin::v1::admin_server::{Admin, AdminServer};
use avouch_api::admin::v1::*;
use avouch_testkit::program::alone;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, SystemTime};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

const ORDERS: &str = "spiffe://market.example/orders";
/// Whose certificates are many.
const STORM: &str = "spiffe://market.example/storm";
/// Beyond what gRPC clients take unless told otherwise, 4 MiB.
const MANY: usize = 100_000;
/// What the issuer says of it is meant for the terminal.
const HOSTILE: &str = "spiffe://market.example/hostile";
const POISON: &str = "p\u{1b}[2J\u{9b}31m\u{202e}\r\nspoofed: done";

/// An issuer that knows one entry and has issued one certificate.
struct StandIn {
    bundle: Vec<u8>,
}

fn entry() -> Entry {
    Entry {
        spiffe_id: ORDERS.to_owned(),
        svid_ttl: Some(Duration::from_secs(20).try_into().unwrap()),
        dns_names: vec!["localhost".to_owned()],
        created_at: Some((SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)).into()),
        ..Entry::default()
    }
}

#[tonic::async_trait]
impl Admin for StandIn {
    async fn get_status(&self, _: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        Ok(Response::new(GetStatusResponse { issuer: None }))
    }

    async fn list_workloads(
        &self,
        _: Request<ListWorkloadsRequest>,
    ) -> Result<Response<ListWorkloadsResponse>, Status> {
        Ok(Response::new(ListWorkloadsResponse::default()))
    }

    async fn list_records(
        &self,
        _: Request<ListRecordsRequest>,
    ) -> Result<Response<ListRecordsResponse>, Status> {
        Ok(Response::new(ListRecordsResponse { records: Vec::new() }))
    }

    async fn create_entry(
        &self,
        request: Request<CreateEntryRequest>,
    ) -> Result<Response<CreateEntryResponse>, Status> {
        let entry = request.into_inner().entry.unwrap_or_default();
        if entry.spiffe_id == ORDERS {
            return Err(Status::already_exists(format!("{ORDERS} is registered already")));
        }
        Ok(Response::new(CreateEntryResponse { entry: Some(entry) }))
    }

    async fn list_entries(
        &self,
        _: Request<ListEntriesRequest>,
    ) -> Result<Response<ListEntriesResponse>, Status> {
        Ok(Response::new(ListEntriesResponse { entries: vec![entry()], next_page_token: String::new() }))
    }

    async fn get_entry(
        &self,
        request: Request<GetEntryRequest>,
    ) -> Result<Response<GetEntryResponse>, Status> {
        let id = request.into_inner().spiffe_id;
        if id == HOSTILE {
            return Err(Status::internal(POISON.repeat(1_000)));
        }
        match id == ORDERS {
            true => Ok(Response::new(GetEntryResponse { entry: Some(entry()) })),
            false => Err(Status::not_found(format!("{id} is not registered"))),
        }
    }

    async fn delete_entry(
        &self,
        request: Request<DeleteEntryRequest>,
    ) -> Result<Response<DeleteEntryResponse>, Status> {
        match request.into_inner().spiffe_id == ORDERS {
            true => Ok(Response::new(DeleteEntryResponse {})),
            false => {
                let details = ErrorDetails::with_error_info("STORE_UNAVAILABLE", "avouch", []);
                Err(Status::with_error_details(tonic::Code::Unavailable, "the store cannot commit", details))
            }
        }
    }

    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<CreateTokenResponse>, Status> {
        let id = request.into_inner().spiffe_id;
        let request_id_is_hostile = id == HOSTILE;
        match id == ORDERS {
            true => Ok(Response::new(CreateTokenResponse {
                token: "avjt1.secret".to_owned(),
                expires_at: Some((SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_600)).into()),
            })),
            false if request_id_is_hostile => {
                Ok(Response::new(CreateTokenResponse { token: POISON.to_owned(), expires_at: None }))
            }
            false => Err(Status::not_found("that identity is not registered")),
        }
    }

    async fn get_bundle(&self, _: Request<GetBundleRequest>) -> Result<Response<GetBundleResponse>, Status> {
        let trust_domain = "market.example".to_owned();
        Ok(Response::new(GetBundleResponse { trust_domain, spiffe_bundle: self.bundle.clone() }))
    }

    async fn list_certificates(
        &self,
        request: Request<ListCertificatesRequest>,
    ) -> Result<Response<ListCertificatesResponse>, Status> {
        let request = request.into_inner();
        let certificate = Certificate {
            serial: "0a1b".to_owned(),
            spiffe_id: ORDERS.to_owned(),
            not_before: Some(SystemTime::UNIX_EPOCH.into()),
            not_after: Some((SystemTime::UNIX_EPOCH + Duration::from_secs(9_000_000_000)).into()),
            origin: "enroll".to_owned(),
            ..Certificate::default()
        };
        let count = match &request {
            ListCertificatesRequest { spiffe_id, .. } if spiffe_id == STORM => MANY,
            ListCertificatesRequest { include_expired: true, .. } => 2,
            _ => 1,
        };
        // The number of a row stands for its key.
        let start = request.page_token.parse().unwrap_or(0);
        let end = count.min(start + usize::try_from(request.page_size).unwrap());
        let mut certificates = vec![certificate; end - start];
        let next_page_token = if end < count { end.to_string() } else { String::new() };
        if request.spiffe_id == HOSTILE {
            certificates[0].serial = POISON.to_owned();
            certificates[0].origin = POISON.to_owned();
        }
        Ok(Response::new(ListCertificatesResponse { certificates, next_page_token }))
    }

    async fn revoke(&self, request: Request<RevokeRequest>) -> Result<Response<RevokeResponse>, Status> {
        revocations::revoke(request.into_inner()).map(Response::new)
    }

    async fn undo_revocation(
        &self,
        request: Request<UndoRevocationRequest>,
    ) -> Result<Response<UndoRevocationResponse>, Status> {
        revocations::undo_revocation(request.into_inner()).map(Response::new)
    }

    async fn list_revocations(
        &self,
        request: Request<ListRevocationsRequest>,
    ) -> Result<Response<ListRevocationsResponse>, Status> {
        revocations::list_revocations(request.into_inner()).map(Response::new)
    }

    async fn list_forks(&self, _: Request<ListForksRequest>) -> Result<Response<ListForksResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn list_audit(
        &self,
        request: Request<ListAuditRequest>,
    ) -> Result<Response<ListAuditResponse>, Status> {
        revocations::list_audit(request.into_inner()).map(Response::new)
    }

    async fn get_crls(&self, _: Request<GetCrlsRequest>) -> Result<Response<GetCrlsResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    type WatchAcknowledgementsStream = revocations::Acknowledgements;

    async fn watch_acknowledgements(
        &self,
        request: Request<WatchAcknowledgementsRequest>,
    ) -> Result<Response<Self::WatchAcknowledgementsStream>, Status> {
        Ok(Response::new(revocations::acknowledgements(&request.into_inner())))
    }
}

fn root() -> rcgen::Certificate {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap()
}

/// Runs `avouch` with a clean environment.
fn avouch(socket: Option<&Path>, words: &[&str]) -> Output {
    let temp = tempfile::tempdir().unwrap();
    let mut command = alone(env!("CARGO_BIN_EXE_avouch"), temp.path());
    command.env("COLUMNS", "200").args(words);
    if let Some(socket) = socket {
        command.env("AVOUCH_ADMIN_SOCKET", socket);
    }
    command.output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace("│ ", "")
}

/// Runs `test` while the stand-in answers.
async fn with_issuer(test: impl FnOnce(&Path) + Send + 'static) {
    let temp = tempfile::tempdir().unwrap();
    let socket = temp.path().join("admin.sock");
    let listener = UnixListenerStream::new(UnixListener::bind(&socket).unwrap());
    let bundle =
        avouch_spiffe::Bundle::from_ders("market.example".parse().unwrap(), &[root().der()], 7).unwrap();
    let stand_in = StandIn { bundle: bundle.to_json().into_bytes() };
    let server = tonic::transport::Server::builder()
        .add_service(AdminServer::new(stand_in))
        .serve_with_incoming(listener);
    let server = tokio::spawn(server);
    tokio::task::spawn_blocking(move || test(&socket)).await.unwrap();
    server.abort();
}

#[tokio::test]
async fn success_without_a_result_says_nothing() {
    with_issuer(|socket| {
        for words in [
            &["entry", "add", "spiffe://market.example/ledger", "--dns", "localhost", "--ttl", "20s"][..],
            &["entry", "rm", ORDERS],
        ] {
            let output = avouch(Some(socket), words);
            assert_eq!(
                (output.status.code(), stdout(&output), stderr(&output)),
                (Some(0), String::new(), String::new())
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_token_is_alone_on_standard_output() {
    with_issuer(|socket| {
        let output = avouch(Some(socket), &["token", "create", ORDERS]);
        assert_eq!((stdout(&output), stderr(&output)), ("avjt1.secret\n".to_owned(), String::new()));
        let output = avouch(Some(socket), &["token", "create", ORDERS, "--json"]);
        let value: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(value["token"], "avjt1.secret");
        assert_eq!(value["expires_at"], "2027-01-15T08:10:00Z");
    })
    .await;
}

fn mode(path: &Path) -> u32 {
    std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(path).unwrap()) & 0o7777
}

#[tokio::test]
async fn a_token_for_a_file_is_in_the_file_and_nowhere_else() {
    with_issuer(|socket| {
        let out = socket.with_file_name("token");
        let file = out.to_str().unwrap();
        for round in 0..2 {
            for json in [&[][..], &["--json"]] {
                let words = [&["token", "create", ORDERS, "--register", "--out", file], json].concat();
                let output = avouch(Some(socket), &words);
                let (result, said) = (stdout(&output), stderr(&output));
                assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "round {round}");
                assert!(!result.contains("secret") && (json.is_empty() == result.is_empty()), "{result}");
            }
            assert_eq!(std::fs::read_to_string(&out).unwrap(), "avjt1.secret\n");
            assert_eq!(mode(&out), 0o600);
        }
    })
    .await;
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_said_and_a_refusal_leaves_the_old_one() {
    with_issuer(|socket| {
        let nowhere = socket.with_file_name("none").join("token");
        let output = avouch(Some(socket), &["token", "create", ORDERS, "--out", nowhere.to_str().unwrap()]);
        assert!(stderr(&output).contains("cannot write") && output.status.code() == Some(1));

        let out = socket.with_file_name("token");
        std::fs::write(&out, "old").unwrap();
        let words = ["token", "create", "spiffe://market.example/x", "--out", out.to_str().unwrap()];
        let output = avouch(Some(socket), &words);
        assert!(stderr(&output).contains("--register") && output.status.code() == Some(1));
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "old");
        let left = std::fs::read_dir(socket.parent().unwrap()).unwrap().count();
        assert_eq!(left, 2, "the socket and the old file");
    })
    .await;
}

#[tokio::test]
async fn what_is_registered_stays_as_it_is_and_a_difference_is_an_error() {
    with_issuer(|socket| {
        for (more, refusal) in [
            (&[][..], None),
            (&["--dns", "LOCALHOST", "--svid-ttl", "20s"], None),
            (&["--dns", "web.example"], Some("the DNS names localhost instead of the DNS names web.example")),
            (
                &["--svid-ttl", "1h"],
                Some("a life of certificates of 20s instead of a life of certificates of 1h"),
            ),
        ] {
            let output = avouch(Some(socket), &[&["token", "create", ORDERS, "--register"], more].concat());
            let text = stderr(&output);
            assert_eq!(output.status.success(), refusal.is_none(), "{more:?}: {text}");
            assert_eq!(stdout(&output).is_empty(), refusal.is_some(), "{more:?}");
            if let Some(refusal) = refusal {
                assert!(text.contains(refusal) && text.contains("avouch entry rm"), "{text}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_only_starts_is_waited_for() {
    let temp = tempfile::tempdir().unwrap();
    let socket = temp.path().join("admin.sock");
    // A leftover, which nobody answers.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let asked = socket.clone();
    let waiting = tokio::task::spawn_blocking(move || {
        avouch(Some(&asked), &["token", "create", ORDERS, "--wait", "1m"])
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    std::fs::remove_file(&socket).unwrap();
    let listener = UnixListenerStream::new(UnixListener::bind(&socket).unwrap());
    let server = tonic::transport::Server::builder()
        .add_service(AdminServer::new(StandIn { bundle: Vec::new() }))
        .serve_with_incoming(listener);
    let server = tokio::spawn(server);
    let output = waiting.await.unwrap();
    assert_eq!(stdout(&output), "avjt1.secret\n", "{}", stderr(&output));
    server.abort();
}

#[test]
fn waiting_ends_with_the_error_there_is_then() {
    let temp = tempfile::tempdir().unwrap();
    let socket = temp.path().join("none.sock");
    let started = std::time::Instant::now();
    let output = avouch(Some(&socket), &["token", "create", ORDERS, "--wait", "1s"]);
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("ISSUER_NOT_RUNNING"), "{}", stderr(&output));
}

#[tokio::test]
async fn a_list_of_many_thousand_certificates_is_no_trouble() {
    with_issuer(|socket| {
        let output = avouch(Some(socket), &["cert", "list", "--id", STORM]);
        assert_eq!(stdout(&output).lines().count(), MANY + 1, "{}", stderr(&output));
    })
    .await;
}

#[tokio::test]
async fn what_an_issuer_says_is_shown_and_not_obeyed() {
    with_issuer(|socket| {
        for words in [
            &["entry", "show", HOSTILE][..],
            &["entry", "show", HOSTILE, "--json"],
            &["token", "create", HOSTILE],
            &["token", "create", HOSTILE, "--json"],
            &["cert", "list", "--id", HOSTILE],
            &["cert", "list", "--id", HOSTILE, "--json"],
        ] {
            let output = avouch(Some(socket), words);
            for printed in [&output.stdout, &output.stderr] {
                let text = std::str::from_utf8(printed).unwrap();
                assert!(
                    text.chars().all(|c| c == '\n' || avouch_text::is_printable(c)),
                    "{words:?}: {text:?}"
                );
                assert!(text.len() < 4_000, "{words:?}: {} octets", text.len());
                let is_spoofed = |line: &str| line.trim_start().starts_with("spoofed");
                assert!(!text.lines().any(is_spoofed), "{words:?}: {text}");
            }
            assert!(!(output.stdout.is_empty() && output.stderr.is_empty()), "{words:?} says nothing");
        }
    })
    .await;
}

#[tokio::test]
async fn lists_are_aligned_tables_or_json() {
    with_issuer(|socket| {
        let output = stdout(&avouch(Some(socket), &["entry", "list"]));
        let lines: Vec<_> = output.lines().collect();
        assert_eq!(lines.len(), 2, "{output}");
        assert_eq!(lines[0].find("TTL"), lines[1].find("20s"), "{output}");
        assert_eq!(lines[0].find("DNS NAMES"), lines[1].find("localhost"), "{output}");

        let output = stdout(&avouch(Some(socket), &["cert", "list"]));
        let lines: Vec<_> = output.lines().collect();
        assert_eq!(lines.len(), 2, "{output}");
        for (column, cell) in
            [("SERIAL", "0a1b"), ("LAST SEEN", "never"), ("ORIGIN", "enroll"), ("EXPIRES", "in ")]
        {
            assert_eq!(lines[0].find(column), lines[1].find(cell), "{output}");
        }
        assert_eq!(stdout(&avouch(Some(socket), &["cert", "list", "--all"])).lines().count(), 3);

        let value: serde_json::Value =
            serde_json::from_str(&stdout(&avouch(Some(socket), &["--json", "cert", "list"]))).unwrap();
        assert_eq!(value[0]["serial"], "0a1b");
        assert!(value[0]["last_seen"].is_null());
        let value: serde_json::Value =
            serde_json::from_str(&stdout(&avouch(Some(socket), &["entry", "show", ORDERS, "--json"])))
                .unwrap();
        assert_eq!(
            (&value["svid_ttl_seconds"], &value["created_at"]),
            (&20.into(), &"2027-01-15T08:00:00Z".into())
        );
    })
    .await;
}

#[tokio::test]
async fn the_bundle_is_shown_as_text_pem_and_spiffe_json() {
    with_issuer(|socket| {
        let text = stdout(&avouch(Some(socket), &["bundle", "show"]));
        assert!(
            text.contains("trust domain  market.example\n") && text.contains("sequence      7\n"),
            "{text}"
        );
        let pem = stdout(&avouch(Some(socket), &["bundle", "show", "--pem"]));
        assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\n"), "{pem}");
        let json: serde_json::Value =
            serde_json::from_str(&stdout(&avouch(Some(socket), &["bundle", "show", "--json"]))).unwrap();
        assert_eq!(json["spiffe_sequence"], 7);
        assert_eq!(json["keys"][0]["use"], "x509-svid");
    })
    .await;
}

#[tokio::test]
async fn a_refusal_says_what_to_do_next() {
    with_issuer(|socket| {
        for (words, what, help) in [
            (&["entry", "add", ORDERS][..], "is registered already", "avouch entry rm"),
            (&["entry", "show", "spiffe://market.example/x"], "is not registered", "avouch entry list"),
            (&["token", "create", "spiffe://market.example/x"], "not registered", "avouch entry add"),
            (&["entry", "rm", "spiffe://market.example/x"], "STORE_UNAVAILABLE", "try again"),
        ] {
            let output = avouch(Some(socket), words);
            let text = stderr(&output);
            assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""), "{text}");
            assert!(text.contains(what) && text.contains(help) && text.contains("help:"), "{text}");
        }
    })
    .await;
}

#[test]
fn a_missing_issuer_is_named_with_its_socket_and_the_command_that_starts_one() {
    let temp = tempfile::tempdir().unwrap();
    let socket = temp.path().join("none.sock");
    for leftover in [false, true] {
        if leftover {
            drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        }
        let output = avouch(Some(&socket), &["entry", "list"]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1));
        assert!(text.contains(&*socket.to_string_lossy()), "{text}");
        assert!(text.contains("no issuer answers") && text.contains("avouch-issuer --config"), "{text}");
        assert!(text.contains("ISSUER_NOT_RUNNING"), "{text}");
    }
}

#[test]
fn without_any_socket_the_places_that_were_searched_are_named() {
    let temp = tempfile::tempdir().unwrap();
    let runtime = |count: usize| {
        let directory = temp.path().join(count.to_string());
        let sockets: Vec<_> = (0..count)
            .map(|n| {
                std::fs::create_dir_all(directory.join(format!("avouch-{n}"))).unwrap();
                std::os::unix::net::UnixListener::bind(directory.join(format!("avouch-{n}/admin.sock")))
                    .unwrap()
            })
            .collect();
        let output = alone(env!("CARGO_BIN_EXE_avouch"), &directory)
            .env_remove("AVOUCH_ADMIN_SOCKET")
            .args(["entry", "list"])
            .output()
            .unwrap();
        drop(sockets);
        (output.status.code(), stderr(&output), directory)
    };
    let (code, text, _) = runtime(2);
    assert_eq!(code, Some(1));
    assert!(text.contains("several issuers") && text.contains("--socket"), "{text}");
}

#[test]
fn inspecting_needs_no_issuer_and_exits_by_the_verdict() {
    let temp = tempfile::tempdir().unwrap();
    let good = temp.path().join("root.pem");
    std::fs::write(&good, root().pem()).unwrap();
    let output = avouch(None, &["cert", "inspect", &good.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("signing certificate"));

    let bad = temp.path().join("bad.pem");
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(&bad, params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()).unwrap();
    let output = avouch(None, &["cert", "inspect", &bad.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("FAIL  X509-SVID 2 "), "{}", stdout(&output));

    let none = temp.path().join("none.pem");
    std::fs::write(&none, "hello").unwrap();
    let output = avouch(None, &["cert", "inspect", &none.to_string_lossy()]);
    assert!(stderr(&output).contains("holds no certificate") && output.status.code() == Some(1));
    let output = avouch(None, &["cert", "inspect", "/no/such/file"]);
    assert!(stderr(&output).contains("cannot read /no/such/file") && output.status.code() == Some(1));
}

#[test]
fn wrong_usage_exits_with_2_and_help_with_0() {
    let output = avouch(None, &["entry", "add", "orders"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("must start with spiffe://"), "{}", stderr(&output));
    assert_eq!(avouch(None, &["entry", "lsit"]).status.code(), Some(2));
    let output = avouch(None, &["entry", "add", "--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains("Examples:"));
}

//! Every RPC of every service of the running market, by a caller with no certificate, with the wrong role and with the
//! right one. The table of who may call what is not repeated here: it is the policy's, which a golden file reviews.
//!
//! Everybody who holds a role is played by the attacker, with certificates made by the market's own stolen signing key.
//! Requests are empty, so that what the right caller gets is the handler's answer and not a sale.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside of any test function"
)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use avouch_attacker::certificates::Workshop;
use avouch_attacker::forge::Credentials;
use avouch_attacker::grpc::{Answer, Call, Outcome, attempt};
use avouch_attacker::tls::Approach;
use avouch_authz::{Methods, Policy, Subject, matrix};
use avouch_spiffe::contract::Rule;
use avouch_testkit::program::alone;

const NOBODY: Duration = Duration::from_secs(60);

/// A market of the test's own, ended with it.
struct Market {
    child: Child,
    dir: tempfile::TempDir,
}

impl Drop for Market {
    fn drop(&mut self) {
        // Its processes end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Market {
    fn up() -> Self {
        let dir = tempfile::Builder::new().prefix("avr").tempdir().unwrap();
        let log = std::fs::File::create(dir.path().join("up.log")).unwrap();
        let child = alone(env!("CARGO_BIN_EXE_avouch-demo"), dir.path())
            .args(["up", "--dir"])
            .arg(dir.path().join("market"))
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut market = Self { child, dir };
        market.wait_for("is up, with");
        market
    }

    fn wait_for(&mut self, line: &str) {
        let deadline = Instant::now() + NOBODY;
        loop {
            let said = std::fs::read_to_string(self.dir.path().join("up.log")).unwrap_or_default();
            if said.contains(line) {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "the market ended ({ended:?}; are its programs built? ./just build):\n{said}"
            );
            assert!(Instant::now() < deadline, "the market is not up:\n{said}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn of(&self, name: &str) -> PathBuf {
        self.dir.path().join("market").join(name)
    }

    fn address(&self, name: &str) -> SocketAddr {
        let text = std::fs::read_to_string(self.of(name).join("address.json")).unwrap();
        let address: serde_json::Value = serde_json::from_str(&text).unwrap();
        address["grpc"].as_str().unwrap().parse().unwrap()
    }

    /// What the issuer would certify for this workload.
    fn identity(&self, name: &str) -> Credentials {
        let data = self.of("issuer").join("data");
        Workshop::stolen(&data, "market.example", &format!("/{name}")).unwrap().right().unwrap()
    }
}

fn policy(methods: &Methods) -> Policy {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/demo/policy.toml");
    Policy::load("policy.toml", &std::fs::read_to_string(file).unwrap(), methods).unwrap()
}

/// `orders` of `/market.orders.v1.Orders/PlaceOrder`.
fn service(path: &str) -> &str {
    path.split('.').nth(1).unwrap()
}

async fn call(market: &Market, path: &str, credentials: Option<&Credentials>) -> Outcome {
    let call = Call { path, ..Call::default() };
    attempt(market.address(service(path)), Approach::showing(credentials), &call).await.unwrap().outcome
}

fn answered(outcome: Outcome, what: &str) -> Answer {
    match outcome {
        Outcome::Answered(answer) => answer,
        Outcome::Disconnected { .. } => panic!("{what}: {outcome:?}"),
    }
}

/// Names of those who hold one of the roles, and of those who hold others only.
fn holders(policy: &Policy, path: &str) -> (Vec<String>, Vec<String>) {
    let table = matrix(policy);
    let column = table.methods.iter().position(|method| *method == path).unwrap();
    let rows = table.rows.iter().filter(|row| matches!(row.subject, Subject::Role(_)));
    let (may, may_not): (Vec<_>, Vec<_>) = rows.partition(|row| row.allowed[column]);
    let names = |rows: Vec<&avouch_authz::MatrixRow>| -> Vec<String> {
        let ids = rows.into_iter().flat_map(|row| row.callers.clone());
        ids.filter_map(|id| id.strip_prefix("spiffe://market.example/").map(str::to_owned)).collect()
    };
    let may = names(may);
    let may_not = names(may_not).into_iter().filter(|name| !may.contains(name)).collect();
    (may, may_not)
}

#[tokio::test]
async fn every_rpc_of_the_issuer_answers_exactly_whom_its_rule_names() {
    let market = Market::up();
    let known = market.identity("intern");
    for method in avouch_api::CONTRACT.methods {
        for (who, credentials) in [("nobody", None), ("intern", Some(&known))] {
            let what = format!("{} by {who}", method.path);
            let call = Call { path: method.path, ..Call::default() };
            let attempt = attempt(market.address("issuer"), Approach::showing(credentials), &call).await;
            let answer = answered(attempt.unwrap().outcome, &what);
            let refused_by_rule =
                ["NO_ALLOW_RULE", "NO_PEER_IDENTITY", "ROLE_MISSING"].into_iter().find(|it| answer.says(it));
            let expected = match (method.rule, who) {
                (Rule::LocalAdmin, _) => Some("NO_ALLOW_RULE"),
                (Rule::AnyIdentity | Rule::Roles(_), "nobody") => Some("NO_PEER_IDENTITY"),
                // Without a policy of its own nobody holds a role at the issuer.
                (Rule::Roles(_), _) => Some("ROLE_MISSING"),
                (Rule::AnyIdentity | Rule::Unauthenticated, _) => None,
            };
            assert_eq!(refused_by_rule, expected, "{what}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn every_rpc_refuses_no_certificate_and_every_wrong_role_and_answers_the_right_one() {
    let market = Market::up();
    let methods = Methods::new(&[&market_api::CONTRACT]).unwrap();
    let policy = policy(&methods);
    let (mut right, mut wrong) = (0, 0);
    for method in market_api::CONTRACT.methods {
        let path = method.path;
        assert!(matches!(method.rule, Rule::Roles(_)), "{path}: another rule needs another test");
        let nobody = call(&market, path, None).await;
        let Outcome::Disconnected { alert: Some(alert), .. } = &nobody else { panic!("{path}: {nobody:?}") };
        assert_eq!(alert, "CertificateRequired", "{path}");

        let (may, may_not) = holders(&policy, path);
        for name in may_not.iter().map(String::as_str).chain(["intern"]) {
            let what = format!("{path} by {name}");
            let answer = answered(call(&market, path, Some(&market.identity(name))).await, &what);
            assert!(answer.status == 7 && answer.says("ROLE_MISSING"), "{what}: {answer:?}");
            wrong += 1;
        }
        for name in &may {
            let what = format!("{path} by {name}");
            let answer = answered(call(&market, path, Some(&market.identity(name))).await, &what);
            // Whatever the handler makes of an empty request: it was asked.
            assert!(matches!(answer.status, 0 | 3 | 5), "{what}: {answer:?}");
            assert!(!answer.says("avouch"), "{what}: {answer:?}");
            right += 1;
        }
    }
    let rpcs = market_api::CONTRACT.methods.len();
    assert!(right >= rpcs && wrong >= 5 * rpcs, "{right} right and {wrong} wrong callers of {rpcs} RPCs");
}

/// What every process serves beside its own: who observes it, and nobody else.
#[tokio::test]
async fn every_service_tells_its_operator_what_it_remembers_and_nobody_else() {
    let market = Market::up();
    let observe: Vec<_> = avouch_api::CONTRACT
        .methods
        .iter()
        .filter(|rule| rule.path.starts_with("/avouch.observe."))
        .collect();
    assert_eq!(observe.len(), 5);
    let (operator, dev) = (market.identity("operator"), market.identity("dev"));
    for service in ["inventory", "ledger", "orders", "payments", "reports", "storefront"] {
        for rule in &observe {
            let attempt = async |credentials| {
                let call = Call { path: rule.path, ..Call::default() };
                let approach = Approach::showing(credentials);
                attempt(market.address(service), approach, &call).await.unwrap().outcome
            };
            let what = format!("{} of {service}", rule.path);
            let nobody = attempt(None).await;
            assert!(matches!(nobody, Outcome::Disconnected { alert: Some(_), .. }), "{what}: {nobody:?}");
            let answer = answered(attempt(Some(&dev)).await, &what);
            assert!(answer.status == 7 && answer.says("ROLE_MISSING"), "{what}: {answer:?}");
            // An answer without an end is for another test.
            if !rule.server_streaming {
                let answer = answered(attempt(Some(&operator)).await, &what);
                assert_eq!(answer.status, 0, "{what}: {answer:?}");
            }
        }
    }
}

//! All steps and their end, as they are shown.

use super::plan::Plan;
use super::step::Step;
use super::{advice, steps};
use crate::output;
use avouch_identity::examine::{Broken, Examined, ExaminedAddress, Looked};
use avouch_text::{LONGEST_TEXT, shorten_to};
use serde_json::{Value, json};

/// All steps and how they ended.
pub(crate) struct Report {
    target: String,
    steps: Vec<Step>,
    /// At the address that tells how a channel would fare.
    end: End,
    addresses: Vec<AddressOutcome>,
}

/// The end of the steps.
enum End {
    /// Everything worked; the words for what does.
    Works(String),
    /// A step broke: which, what to do about it, and between which addresses.
    Broke { broken: Box<Broken>, help: String, client: Option<String>, server: Option<String> },
}

/// The outcome at one address.
struct AddressOutcome {
    address: String,
    /// The words for what works there, or the step that broke.
    outcome: Result<String, Box<Broken>>,
}

impl Report {
    pub(super) fn of(plan: &Plan, examined: &Examined) -> Self {
        let target = examined.target.clone();
        let mut steps = Vec::new();
        if !examined.addresses.is_empty() {
            let shown: Vec<_> = examined.addresses.iter().map(ToString::to_string).collect();
            steps.push(Step::done("resolve", examined.took, shown.join(", ")));
        }
        let Looked { told, others, .. } = match &examined.outcome {
            Ok(looked) => looked,
            Err(broken) => {
                let end = End::broke(plan, broken, None);
                return Self { target, steps, end, addresses: Vec::new() };
            }
        };
        steps.extend(steps::of(plan, told));
        steps.extend(others.iter().map(|other| elsewhere(plan, other)));
        let end = match &told.broken {
            Some(broken) => End::broke(plan, broken, Some(told)),
            None => End::Works(steps::works(plan, told)),
        };
        let mut addresses: Vec<_> = [told].into_iter().chain(others).collect();
        addresses.sort_by_key(|place| examined.addresses.iter().position(|found| *found == place.remote));
        let addresses = addresses.into_iter().map(|address| AddressOutcome::of(plan, address)).collect();
        Self { target, steps, end, addresses }
    }

    /// Whether everything worked.
    pub(crate) fn works(&self) -> bool {
        matches!(self.end, End::Works(_))
    }

    /// A warning of addresses that do not work beside one that does.
    fn warning(&self) -> Option<String> {
        let bad: Vec<_> = self.addresses.iter().filter(|place| place.outcome.is_err()).collect();
        let first = bad.first().filter(|_| self.works())?;
        let (bad, all, address) = (bad.len(), self.addresses.len(), &first.address);
        Some(format!(
            "{bad} of {all} addresses are no good, and a channel passes over them; one alone, with its steps: `avouch \
             handshake {address}`"
        ))
    }

    /// For people.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("handshake with {}\n", self.target);
        for step in &self.steps {
            text.push_str(&step.to_text());
        }
        match &self.end {
            End::Works(works) => text.push_str(&format!("works: {works}\n")),
            End::Broke { broken, help, .. } => {
                let Broken { step, reason, detail, .. } = broken.as_ref();
                let detail = shorten_to(detail, LONGEST_TEXT);
                text.push_str(&format!("broke at {}: {reason}: {detail}\n", step.as_str()));
                text.push_str(&output::fields(0, &[("help", help.clone())]));
            }
        }
        text.extend(self.warning().map(|warning| output::fields(0, &[("help", warning)])));
        text
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        let steps: Vec<_> = self.steps.iter().map(Step::to_json).collect();
        let addresses: Vec<_> = self.addresses.iter().map(AddressOutcome::to_json).collect();
        let (works, broke) = match &self.end {
            End::Works(works) => (Some(works.clone()), Value::Null),
            End::Broke { broken, help, client, server } => (
                None,
                json!({
                    "step": broken.step.as_str(), "reason": broken.reason.as_str(), "detail": broken.detail,
                    "help": help, "client_address": client, "explain": broken.explain, "server_address": server,
                }),
            ),
        };
        json!({
            "target": self.target, "ok": self.works(), "steps": steps, "works": works, "broke": broke,
            "addresses": addresses, "help": self.warning(),
        })
    }
}

impl End {
    fn broke(plan: &Plan, broken: &Broken, at: Option<&ExaminedAddress>) -> Self {
        let client = at.and_then(|at| at.local).map(|local| local.to_string());
        let server = at.map(|at| at.remote.to_string());
        let help = advice::of(broken, plan, at);
        Self::Broke { broken: Box::new(broken.clone()), help, client, server }
    }
}

impl AddressOutcome {
    fn of(plan: &Plan, address: &ExaminedAddress) -> Self {
        let outcome = match &address.broken {
            Some(broken) => Err(Box::new(broken.clone())),
            None => Ok(steps::works(plan, address)),
        };
        Self { address: address.remote.to_string(), outcome }
    }

    fn to_json(&self) -> Value {
        let broken = self.outcome.as_ref().err();
        json!({
            "address": self.address, "ok": broken.is_none(), "step": broken.map(|broken| broken.step.as_str()),
            "reason": broken.map(|broken| broken.reason.as_str()), "detail": broken.map(|broken| &broken.detail),
            "explain": broken.and_then(|broken| broken.explain.as_ref()),
        })
    }
}

/// The outcome at another address of the name, in a line.
fn elsewhere(plan: &Plan, address: &ExaminedAddress) -> Step {
    let AddressOutcome { address: remote, outcome } = AddressOutcome::of(plan, address);
    let (ok, words) = match outcome {
        Ok(works) => (true, format!("{remote}: works too: {works}")),
        Err(broken) => {
            let Broken { step, reason, detail, .. } = *broken;
            (false, format!("{remote}: broke at {}: {reason}: {detail}", step.as_str()))
        }
    };
    Step::judged("other address", Some(ok), words, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    fn plan(address: SocketAddr) -> Plan {
        let target = address.to_string().parse().unwrap();
        Plan { target, identity: None, roots: None, expect: None }
    }

    /// An HTTP/2 server whose certificate chains to no trusted root.
    async fn good() -> SocketAddr {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(vec!["ledger.test".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let provider = avouch_identity::crypto_provider().clone();
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols.push(b"h2".to_vec());
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let mut stream = acceptor.accept(tcp).await.unwrap();
                stream.write_all(b"\0\0\0\x04\0\0\0\0\0").await.unwrap();
                stream.flush().await.unwrap();
                while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
            }
        });
        address
    }

    async fn closing() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        address
    }

    /// What is said of a name that has both addresses, the first of which tells.
    async fn both(first: SocketAddr, second: SocketAddr) -> Report {
        let mut examined = plan(first).examination().run().await;
        let other = plan(second).examination().run().await;
        examined.addresses.push(second);
        if let (Ok(looked), Ok(other)) = (&mut examined.outcome, other.outcome) {
            looked.others.push(other.told);
        }
        Report::of(&plan(first), &examined)
    }

    #[tokio::test]
    async fn an_address_that_is_no_good_is_a_line_and_a_warning_beside_one_that_is() {
        let (good, closing) = (good().await, closing().await);
        let report = both(good, closing).await;
        let (text, json) = (report.to_text(), report.to_json());
        assert!(report.works());
        for part in [
            format!("{good}, {closing}"),
            format!(
                "FAIL  other address                  {closing}: broke at server hello: PEER_CONNECTION_CLOSED"
            ),
            "works: nobody verified who the server is".to_owned(),
            format!(
                "1 of 2 addresses are no good, and a channel passes over them; one alone, with its steps: `avouch handshake {closing}`"
            ),
        ] {
            assert!(text.contains(&part), "{part} is not in\n{text}");
        }
        assert_eq!(json["addresses"][0]["ok"], true, "{json:#}");
        assert_eq!(json["addresses"][1]["step"], "server hello", "{json:#}");
        assert_eq!(json["addresses"][1]["address"], closing.to_string());
    }

    #[tokio::test]
    async fn where_none_is_good_every_address_says_where_it_broke() {
        let (one, two) = (closing().await, closing().await);
        let report = both(one, two).await;
        let text = report.to_text();
        assert!(!report.works());
        assert!(text.contains(&format!("{two}: broke at server hello")), "{text}");
        assert!(text.contains("broke at server hello: PEER_CONNECTION_CLOSED: "), "{text}");
        assert!(text.contains(&format!("what listens on {one} took the connection and hung up")), "{text}");
        assert!(report.warning().is_none(), "the end says it");
    }

    #[tokio::test]
    async fn one_address_adds_no_line() {
        let good = good().await;
        let report = Report::of(&plan(good), &plan(good).examination().run().await);
        let text = report.to_text();
        assert!(report.works() && !text.contains("other address") && !text.contains("help"), "{text}");
        let names: Vec<_> = report.steps.iter().map(|step| step.name()).collect();
        let steps = ["resolve", "connect", "offer", "server hello", "server chain", "verify"];
        assert_eq!(names, [&steps[..], &["client certificate", "http/2"]].concat());
    }
}

//! What to do about each way a handshake breaks.

use super::ending::Broken;
use avouch_spiffe::Reason;

/// One or two commands, or what to change.
pub(super) fn of(broken: &Broken, target: &str) -> String {
    let record = match broken.command() {
        Some(command) => format!("the server's record says why: `{command}`"),
        None => "the server's log says why".to_owned(),
    };
    match broken.reason {
        Reason::PeerConnectionClosed if broken.step == "resolve" => {
            "look at the name, and at the resolver of this machine: `getent hosts NAME`".to_owned()
        }
        Reason::PeerConnectionClosed if broken.step == "connect" => {
            "see whether the server runs, and where: `avouch check` says who answers, and at which address; so does its log"
                .to_owned()
        }
        Reason::HandshakeTimeout if broken.step == "connect" => {
            "look at the route, firewalls and network policies between here and there".to_owned()
        }
        Reason::HandshakeTimeout => {
            format!("something listens on {target} and does not speak TLS first; is it the right port?")
        }
        Reason::NotTls => format!(
            "something else than TLS answers on {target}, perhaps plain HTTP: is it the health port, or the one of \
             another program?"
        ),
        Reason::ClientCertMissing => {
            "up to here all is well; to be let in, present one with --identity DIR, such as the state_dir of a workload. A \
             client that refuses this server all the same has an old bundle (compare `avouch bundle show` with its own), a \
             wrong clock, or the wrong address"
                .to_owned()
        }
        Reason::ServerIdentityMismatch => {
            "the address leads to another service than expected: compare the caller's [upstreams] address and \
             spiffe_id with what the server presented above"
                .to_owned()
        }
        Reason::CertExpired | Reason::CertNotYetValid => {
            "compare the dates above with the clock on both machines; if the clocks are right, see in its owner's log \
             why it was not renewed"
                .to_owned()
        }
        Reason::CertUntrusted | Reason::CertSignatureInvalid | Reason::ChainIncomplete => {
            "compare the authority that signed the chain above with the bundle: `avouch bundle show`, and `avouch cert \
             inspect FILE` for the one of a file"
                .to_owned()
        }
        Reason::TrustDomainUnknown => {
            "the server is of another trust domain than the bundle: name that domain's with --bundle FILE".to_owned()
        }
        Reason::ProtocolVersionUnsupported => format!(
            "make the server speak TLS 1.3, or see with `openssl s_client -connect {target}` what it is"
        ),
        Reason::NoApplicationProtocol => {
            "is it a gRPC server? One offers h2 in ALPN; a proxy between may take it away".to_owned()
        }
        Reason::CipherSuiteMismatch => "allow one of the suites and groups above on the server".to_owned(),
        Reason::SvidInvalid | Reason::CertPurposeInvalid | Reason::CertMalformed | Reason::CertAlgorithmRefused => {
            "the FAIL lines above name the rule that the server's certificate breaks; whoever issued it must mend it"
                .to_owned()
        }
        _ => record,
    }
}

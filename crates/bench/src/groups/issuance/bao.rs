//! OpenBao: a server with storage that survives a power failure, whose PKI engine signs certificate signing requests.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use super::workloads::GRACE;
use crate::bench::Bench;
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::peers::OPENBAO;
use crate::pki::{Pki, SERVER};
use crate::roles::bao;
use crate::roles::load::{Done, Work};

/// A server, and the process of its callers.
pub(super) struct Bao {
    /// Its name and version.
    pub(super) name: String,
    server: Child,
    callers: Child,
}

impl Bao {
    /// The most callers that it is measured with.
    pub(super) const CALLERS: usize = 64;

    /// What differs.
    pub(super) const NOTE: &str = "OpenBao: `pki/sign` of a P-256 request by a P-256 root over HTTP/1.1 and one-way TLS, \
         authorized by the root token, every certificate stored; the integrated storage (Raft, one node), which writes each \
         of its log's entries to disk before the answer. It keeps whole certificates where avouch-issuer keeps their facts, \
         and has no entry to look up, no certificate of the caller to check, and no line to log for each. On all cores \
         together with the callers; CPU: of OpenBao alone";

    /// Starts it, or says why it is skipped. It takes some seconds until it is its own leader: see [`Bao::ready`].
    pub(super) fn start(bench: &Bench) -> Result<Result<Self, String>, Error> {
        let installed = match OPENBAO.find(&bench.root, "issuance by OpenBao") {
            Ok(installed) => installed,
            Err(skipped) => return Ok(Err(skipped)),
        };
        let dir = bench.dir.join("openbao");
        std::fs::create_dir_all(&dir).map_err(Error::system("make a directory"))?;
        let [address, cluster] = free_addresses()?;
        let config = dir.join("config.hcl");
        let text = configuration(&dir, &bench.pki, address, cluster);
        std::fs::write(&config, text).map_err(Error::system(format!("write {}", config.display())))?;
        let launch = Launch::new("openbao", installed.program).arg("server").arg("-config").arg(config);
        let mut server = launch.start(&bench.dir)?;
        server.listens(address.port())?;
        let options = bao::Options { address, pki: bench.pki.clone() };
        let launch = Launch::role(&bench.today()?.program("avouch-bench"), bao::NAME, &options);
        let callers = launch.named("openbao callers").start(&bench.dir)?;
        Ok(Ok(Self { name: format!("OpenBao {}", installed.version), server, callers }))
    }

    /// Waits until its engine signs.
    pub(super) fn ready(&mut self) -> Result<(), Error> {
        let bao::Ready {} = self.callers.answer(GRACE)?;
        Ok(())
    }

    pub(super) fn measure(&mut self, work: Work) -> Result<Vec<f64>, Error> {
        let cpu = self.server.cpu();
        let done: Done = self.callers.ask(&work, Duration::from_millis(work.milliseconds) + GRACE)?;
        let cpu = self.server.cpu().saturating_sub(cpu);
        done.check(&self.name)?;
        let each = cpu.as_secs_f64() * 1e6 / done.count();
        Ok(vec![done.count() / done.seconds, done.p50, done.p99, each])
    }
}

/// Two addresses of loopback where nobody listens now: it has to be told where to listen.
fn free_addresses() -> Result<[SocketAddr; 2], Error> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::system("find a free port"));
    let (first, second) = (bind()?, bind()?);
    let address = |listener: &TcpListener| listener.local_addr().map_err(Error::system("find a free port"));
    Ok([address(&first)?, address(&second)?])
}

fn configuration(dir: &Path, pki: &Pki, address: SocketAddr, cluster: SocketAddr) -> String {
    let (dir, chain, key) = (dir.display(), pki.chain(SERVER), pki.key(SERVER));
    let (chain, key) = (chain.display(), key.display());
    format!(
        r#"
ui = false
log_level = "error"
api_addr = "https://{address}"
cluster_addr = "https://{cluster}"

storage "raft" {{
  path = "{dir}"
  node_id = "bench"
  performance_multiplier = 1
}}

listener "tcp" {{
  address = "{address}"
  cluster_address = "{cluster}"
  tls_cert_file = "{chain}"
  tls_key_file = "{key}"
  tls_min_version = "tls13"
}}
"#
    )
}

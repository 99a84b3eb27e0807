//! A client that speaks TLS by rustls, believes any server, and lets its records be changed before they are sent.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use avouch_attacker::forge::Credentials;
use avouch_attacker::tls::Approach;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection};

use crate::world::Key;

/// A server that has been told everything answers or closes long before this.
const PATIENCE: Duration = Duration::from_secs(20);
/// After an edit both sides may wait for each other; the client gives up first.
const IMPATIENCE: Duration = Duration::from_millis(20);
/// Type, version, length.
const HEADER: usize = 5;

/// One connection to the listener.
pub(super) struct Client {
    tcp: TcpStream,
    address: SocketAddr,
    tls: Option<ClientConnection>,
}

#[expect(clippy::expect_used, reason = "nothing can be tested without a connection")]
impl Client {
    pub(super) fn connect(server: SocketAddr) -> Self {
        let tcp = TcpStream::connect(server).expect("a connection");
        let address = tcp.local_addr().expect("an address");
        tcp.set_nodelay(true).expect("an option");
        tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // Closing leaves no socket behind to wait for stragglers: there are thousands of these a minute.
        socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO)).expect("an option");
        Self { tcp, address, tls: None }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends; a server that has closed already is none of our business.
    pub(super) fn send(&mut self, octets: &[u8]) {
        let _ = self.tcp.write_all(octets);
    }

    /// Handshakes as far as it goes.
    pub(super) fn handshake(&mut self, presented: Option<(&[Vec<u8>], &Key)>, edits: &mut Edits<'_>) {
        let name = ServerName::try_from("server").expect("a name");
        let mut tls = ClientConnection::new(config(presented), name).expect("a client");
        if edits.any() {
            self.tcp.set_read_timeout(Some(IMPATIENCE)).expect("a timeout");
        }
        while self.flush(&mut tls, edits) && tls.is_handshaking() && self.receive(&mut tls) {}
        self.flush(&mut tls, edits);
        self.tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        self.tls = Some(tls);
    }

    /// Sends what is ready; whether there may be more.
    fn flush(&mut self, tls: &mut ClientConnection, edits: &mut Edits<'_>) -> bool {
        let mut out = Vec::new();
        while tls.wants_write() {
            if tls.write_tls(&mut out).is_err() {
                return false;
            }
        }
        let (changed, goes_on) = edits.apply(&out);
        self.send(&changed);
        goes_on
    }

    fn receive(&mut self, tls: &mut ClientConnection) -> bool {
        match tls.read_tls(&mut self.tcp) {
            Ok(0) | Err(_) => false,
            Ok(_) => tls.process_new_packets().is_ok(),
        }
    }

    /// Sends octets as application data, and says that they were the last.
    pub(super) fn send_secured(&mut self, octets: &[u8]) {
        let Some(mut tls) = self.tls.take() else { return };
        // rustls holds back more than its buffer takes.
        for part in octets.chunks(16 * 1024) {
            let _ = tls.writer().write_all(part);
            self.flush(&mut tls, &mut Edits::none());
        }
        tls.send_close_notify();
        self.flush(&mut tls, &mut Edits::none());
    }

    /// Says that nothing more will come, and waits until the server has closed; whether it has.
    pub(super) fn end(mut self) -> bool {
        let _ = self.tcp.shutdown(Shutdown::Write);
        let mut scratch = [0; 4096];
        loop {
            match self.tcp.read(&mut scratch) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => {
                    use std::io::ErrorKind::{TimedOut, WouldBlock};
                    return !matches!(error.kind(), TimedOut | WouldBlock);
                }
            }
        }
    }
}

/// Changes to the records that a client sends: five octets each, for which record, what, where, and with what.
pub(super) struct Edits<'a> {
    all: Vec<&'a [u8; 5]>,
    sent: usize,
}

impl<'a> Edits<'a> {
    pub(super) fn none() -> Self {
        Self::read(&[])
    }

    pub(super) fn read(data: &'a [u8]) -> Self {
        Self { all: data.as_chunks().0.iter().take(16).collect(), sent: 0 }
    }

    fn any(&self) -> bool {
        !self.all.is_empty()
    }

    /// The records as they are sent, and whether the connection goes on after them.
    fn apply(&mut self, mut records: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        while let Some([_, _, _, high, low, ..]) = records.get(..HEADER) {
            let length = HEADER + usize::from(u16::from_be_bytes([*high, *low]));
            let (record, rest) = records.split_at(length.min(records.len()));
            records = rest;
            let mut record = record.to_vec();
            let number = self.sent;
            self.sent += 1;
            for [which, what, high, low, with] in self.all.iter().copied() {
                if usize::from(which % 6) == number {
                    let at = usize::from(u16::from_be_bytes([*high, *low])) % (record.len() + 1);
                    if what % 10 == 9 {
                        out.extend(record.iter().take(at));
                        return (out, false);
                    }
                    record = edited(record, what % 10, at, *with);
                }
            }
            out.extend(record);
        }
        out.extend_from_slice(records);
        (out, true)
    }
}

fn edited(mut record: Vec<u8>, what: u8, at: usize, with: u8) -> Vec<u8> {
    match what {
        0 => {
            if let Some(octet) = record.get_mut(at) {
                *octet ^= with;
            }
        }
        1 => record.clear(),
        2 => record.extend_from_within(..),
        3 => record.truncate(at),
        4 => record.insert(at, with),
        5 => return split(&record, at),
        6 => {
            if let Some(kind) = record.first_mut() {
                *kind = 0x14 + with % 6;
            }
        }
        7 => {
            if let Some(length) = record.get_mut(HEADER - 1) {
                *length = length.wrapping_add(with);
            }
        }
        _ => return [&[0x15, 3, 3, 0, 2, 1 + with % 2, with], record.as_slice()].concat(),
    }
    record
}

/// The same content in two records.
fn split(record: &[u8], at: usize) -> Vec<u8> {
    let (Some(([kind, ..], content)), at) = (record.split_first_chunk::<HEADER>(), at.saturating_sub(HEADER))
    else {
        return record.to_vec();
    };
    let (one, other) = content.split_at(at.min(content.len()));
    let parts = [one, other].map(|part| {
        let [high, low] = u16::try_from(part.len()).unwrap_or_default().to_be_bytes();
        [&[*kind, 3, 3, high, low], part].concat()
    });
    parts.concat()
}

#[expect(clippy::expect_used, reason = "nothing can be tested without a client")]
fn config(presented: Option<(&[Vec<u8>], &Key)>) -> Arc<ClientConfig> {
    let credentials = presented.map(|(chain, key)| Credentials {
        chain: chain.iter().map(|der| CertificateDer::from(der.clone())).collect(),
        key: PrivateKeyDer::Pkcs8(key.pkcs8().to_vec().into()),
    });
    avouch_attacker::tls::config(Approach::showing(credentials.as_ref())).expect("a client")
}

//! Everything a stranger can do to a listener: our own server on loopback, and a client that means no good.
//!
//! The first octet says what the rest is: octets instead of a handshake; a chain to present in an honest one; edits of
//! an honest one's records; octets after an honest one. Always: exactly one record of the attempt, with a reason if it was
//! refused; no panic on the server's side; the connection ends soon after the client has nothing more to say. Accepted
//! is only who proved an identity that a second reading finds in the chain.

mod client;
mod server;

use avouch_identity::{ConnectionRecord, Verdict};

use self::client::{Client, Edits};
use self::server::harness;
use super::Outcome;
use super::chain::{assert_svid, split, with_key};
use crate::der;
use crate::world::{DOMAIN, FOREIGN_DOMAIN, Key, World, world};

/// Who the client is where it is itself.
const CLIENT: &str = "spiffe://market.example/client";

pub(super) fn run(data: &[u8]) -> Outcome {
    let Some((kind, rest)) = data.split_first() else { return Outcome::Refused };
    let record = match kind % 4 {
        0 => raw(rest),
        1 => presented(rest),
        2 => edited(rest),
        _ => afterwards(rest),
    };
    match record.verdict {
        Verdict::Accepted => Outcome::Accepted,
        Verdict::Refused => Outcome::Refused,
    }
}

/// Octets, then the end.
fn raw(octets: &[u8]) -> ConnectionRecord {
    let mut client = Client::connect(harness().address());
    client.send(octets);
    let record = end(client);
    assert_eq!(record.verdict, Verdict::Refused, "without a handshake: {record:?}");
    record
}

/// An honest handshake with a chain that need not be.
fn presented(chain: &[u8]) -> ConnectionRecord {
    let world = world();
    let key = Key::new();
    let mut chain = split(chain);
    if let Some(leaf) = chain.first_mut()
        && let Some(tbs) = der::first(leaf).and_then(|(outer, _)| der::first(outer.value))
        && let Some(tbs) = with_key(tbs.0.raw, &key.spki)
    {
        *leaf = world.authority.sign(&tbs);
        chain.push(world.authority.der.clone());
    }
    let mut client = Client::connect(harness().address());
    client.handshake(Some((&chain, &key)), &mut Edits::none());
    let record = end(client);
    if record.verdict == Verdict::Accepted {
        let id = record.peer_id.as_ref().map(ToString::to_string).unwrap_or_default();
        assert!(id.starts_with(&format!("spiffe://{DOMAIN}/")), "{id}");
        assert_svid(world, &chain, &id);
    }
    record
}

/// A handshake of somebody, with records that were changed on their way.
fn edited(data: &[u8]) -> ConnectionRecord {
    let (who, edits) = data.split_first().map_or((0, data), |(who, edits)| (who % 4, edits));
    let world = world();
    let key = Key::new();
    let chain = somebody(world, who, &key);
    let mut client = Client::connect(harness().address());
    client.handshake(chain.as_deref().map(|chain| (chain, &key)), &mut Edits::read(edits));
    let record = end(client);
    if record.verdict == Verdict::Accepted {
        assert_eq!((who, record.peer_id.as_ref().map(|id| id.as_str())), (0, Some(CLIENT)));
    }
    record
}

/// Itself; nobody; itself by an authority that may not say so; somebody of another trust domain.
fn somebody(world: &World, who: u8, key: &Key) -> Option<Vec<Vec<u8>>> {
    let (authority, id) = match who {
        0 => (&world.authority, CLIENT.to_owned()),
        1 => return None,
        2 => (&world.foreign_authority, CLIENT.to_owned()),
        _ => (&world.foreign_authority, format!("spiffe://{FOREIGN_DOMAIN}/client")),
    };
    Some(vec![authority.svid(&id, &key.spki), authority.der.clone()])
}

/// An honest client's octets where HTTP/2 is expected.
fn afterwards(octets: &[u8]) -> ConnectionRecord {
    let key = Key::new();
    let chain = somebody(world(), 0, &key).unwrap_or_default();
    let mut client = Client::connect(harness().address());
    client.handshake(Some((&chain, &key)), &mut Edits::none());
    client.send_secured(octets);
    let record = end(client);
    assert_eq!(record.verdict, Verdict::Accepted, "an honest handshake: {record:?}");
    record
}

/// Ends the connection and takes its record.
fn end(client: Client) -> ConnectionRecord {
    let address = client.address();
    let ended = client.end();
    let record = harness().record_of(address);
    assert!(ended, "the server keeps a connection that its client has ended: {record:?}");
    match record.verdict {
        Verdict::Accepted => assert!(record.peer_id.is_some() && record.reason.is_none(), "{record:?}"),
        Verdict::Refused => {
            let detail = record.detail.as_deref().unwrap_or_default();
            assert!(record.reason.is_some() && !detail.is_empty(), "{record:?}");
            assert!(!detail.contains(char::is_control), "{record:?}");
        }
    }
    record
}

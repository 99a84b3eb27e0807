//! Two clients that have the same join tokens and use each at the same moment.
//!
//! Both connect to the issuer first and tell one another that they have; what is raced is the request alone. Afterwards
//! each asks again with the key it came with, on another connection.

use std::net::SocketAddr;
use std::time::Duration;

use avouch_attacker::forge::Key;
use avouch_attacker::grpc::Session;
use avouch_attacker::issuer::{enroll, enroll_on, secret};
use avouch_attacker::tls::{Approach, PATIENCE};
use avouch_attacker::{Error, now_us};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::{say, seen};

/// A race for each token.
pub(crate) async fn run(
    issuer: SocketAddr,
    side: &str,
    address: &str,
    tokens: Vec<String>,
) -> Result<(), Error> {
    let listens = side == "listen";
    let mut other = if listens { accept(address.parse()?).await? } else { dial(address).await? };
    other.set_nodelay(true)?;
    for (race, token) in tokens.iter().enumerate() {
        let (secret, key) = (secret(token)?, Key::generate()?);
        let mut session = Session::open(issuer, Approach::showing(None)).await?;
        let session = session.as_mut().map_err(|refused| format!("no connection: {refused:?}"))?;
        start(&mut other, listens).await?;
        let begun_us = now_us();
        let first = enroll_on(session, &secret, &key, &[]).await?;
        let ended_us = now_us();
        // Nobody asks again before the race is over.
        start(&mut other, listens).await?;
        let again = enroll(issuer, &secret, &key, &[]).await?;
        say(&json!({
            "race": race,
            "key": key.fingerprint(),
            "begun_us": begun_us,
            "ended_us": ended_us,
            "first": seen(&first),
            "again": seen(&again),
        }))?;
    }
    Ok(())
}

/// Ends on both sides when both have come here.
async fn start(other: &mut TcpStream, listens: bool) -> Result<(), Error> {
    let both = async {
        if listens {
            other.read_u8().await?;
            other.write_u8(1).await?;
        } else {
            other.write_u8(1).await?;
            other.read_u8().await?;
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, both).await?
}

async fn accept(port: u16) -> Result<TcpStream, Error> {
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    say(&json!({ "message": "listening" }))?;
    Ok(tokio::time::timeout(3 * PATIENCE, listener.accept()).await??.0)
}

async fn dial(address: &str) -> Result<TcpStream, Error> {
    let connected = async {
        loop {
            match TcpStream::connect(address).await {
                Ok(connected) => return connected,
                Err(_not_yet) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    Ok(tokio::time::timeout(PATIENCE, connected).await?)
}

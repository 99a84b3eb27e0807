//! False servers for honest clients: what each shows is on the list, and made with the issuer's own stolen keys.

use std::net::Ipv4Addr;
use std::path::Path;

use avouch_attacker::Error;
use avouch_attacker::certificates::Workshop;
use avouch_attacker::impostor::Impostor;
use avouch_attacker::list;
use serde_json::json;

use crate::{FILES, say};

/// All of them, one at each port from `first` on, until the process is ended.
pub(crate) async fn listen(first: u16) -> Result<(), Error> {
    let workshop = |path| Workshop::stolen(Path::new(FILES), "market.example", path);
    let mut impostors = Vec::new();
    for (port, shown) in (first..).zip(list::servers(&workshop("/payments")?, &workshop("/orders")?)?) {
        let address = (Ipv4Addr::UNSPECIFIED, port).into();
        impostors.push(Impostor::at(address, &shown.credentials).await?);
        say(&json!({ "port": port, "shows": shown.name, "reason": shown.reason, "names": shown.names }))?;
    }
    say(&json!({ "message": "listening" }))?;
    std::future::pending().await
}

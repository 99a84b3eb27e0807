//! Where what the commands that read show comes from: everybody, asked now, or a dump.

use avouch_spiffe::{HostPort, SpiffeId};
use clap::Args;
use std::path::PathBuf;
use std::str::FromStr;

/// What all commands that read have in common. Flattened into each of them.
#[derive(Debug, Default, Args)]
pub(crate) struct Sources {
    /// Read what `avouch dump` wrote, and ask nobody
    #[arg(long, value_name = "FILE", help_heading = "Whom to ask", conflicts_with_all = ["operator", "workloads"])]
    pub(crate) from: Option<PathBuf>,
    /// Ask with the identity in DIR: svid.pem, key.pem and bundle.pem or bundle.json, or tls.crt, tls.key and ca.crt
    /// [default: enroll, for this run and in memory only, at the issuer whose socket this user may use]
    #[arg(long, value_name = "DIR", env = "AVOUCH_IDENTITY", help_heading = "Whom to ask")]
    pub(crate) identity: Option<PathBuf>,
    /// Ask as SPIFFE_ID, which must be registered; with --identity: the one that must be in DIR [default:
    /// spiffe://TRUST-DOMAIN/operator]
    #[arg(long = "as", value_name = "SPIFFE_ID", help_heading = "Whom to ask")]
    pub(crate) operator: Option<SpiffeId>,
    /// Also ask a workload that the issuer does not list (repeatable)
    #[arg(long = "workload", value_name = "HOST:PORT=SPIFFE_ID", help_heading = "Whom to ask")]
    pub(crate) workloads: Vec<Target>,
}

/// A workload to ask: where it listens, and who has to answer there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) address: String,
    pub(crate) spiffe_id: SpiffeId,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, id) = text
            .split_once('=')
            .ok_or("write HOST:PORT=SPIFFE_ID, as in 127.0.0.1:7001=spiffe://market.example/orders")?;
        address
            .parse::<HostPort>()
            .map_err(|error| format!("{address:?} is not of the form HOST:PORT: {error}"))?;
        let spiffe_id = id.parse().map_err(|error| format!("{id:?} is no SPIFFE ID: {error}"))?;
        Ok(Self { address: address.to_owned(), spiffe_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_an_address_and_who_must_answer_there() {
        let target: Target = "[::1]:7001=spiffe://market.example/orders".parse().unwrap();
        assert_eq!(target.address, "[::1]:7001");
        assert_eq!(target.spiffe_id.as_str(), "spiffe://market.example/orders");
        for nonsense in [
            "",
            "127.0.0.1:7001",
            "=spiffe://market.example/orders",
            "orders=spiffe://market.example/orders",
            "orders:0=spiffe://market.example/orders",
            "or ders:1=spiffe://market.example/orders",
            "user@orders:1=spiffe://market.example/orders",
            "orders/x:1=spiffe://market.example/orders",
            "::1:7001=spiffe://market.example/orders",
            "[orders]:7001=spiffe://market.example/orders",
            "127.0.0.1:7001=market.example/orders",
        ] {
            assert!(nonsense.parse::<Target>().is_err(), "{nonsense}");
        }
    }
}

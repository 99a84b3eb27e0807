//! The command line's grammar, with the examples that `--help` shows. A test runs every example through the parser.

mod fleet;

use avouch_spiffe::SpiffeId;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use fleet::Sources;

/// Looks after an avouch issuer: who may have an identity, tokens to join with, what was issued.
#[derive(Debug, Parser)]
#[command(
    name = "avouch",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  avouch entry add spiffe://market.example/orders --dns localhost
  avouch token create spiffe://market.example/orders > orders.token
  avouch cert list
  avouch cert inspect orders.pem

Exit status: 0 done, 1 refused or failed, 2 wrong usage."
)]
pub(crate) struct Arguments {
    /// The issuer's administration socket [default: the one of the issuer this user runs]
    #[arg(long, global = true, env = "AVOUCH_ADMIN_SOCKET", value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Write JSON to standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Identities the issuer may give out
    #[command(subcommand)]
    Entry(EntryCommand),
    /// Join tokens: the first contact of a workload
    #[command(subcommand)]
    Token(TokenCommand),
    /// The trust bundle: the roots that vouch for everything
    #[command(subcommand)]
    Bundle(BundleCommand),
    /// Certificates: look into one, or list what was issued
    #[command(subcommand)]
    Cert(CertCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum EntryCommand {
    /// Register an identity
    #[command(after_help = "\
Examples:
  avouch entry add spiffe://market.example/orders
  avouch entry add spiffe://market.example/orders --ttl 20s --recovery-window 1h
  avouch entry add spiffe://market.example/web --dns web.market.example --dns localhost")]
    Add(EntryAdd),
    /// List the registered identities
    #[command(
        visible_alias = "ls",
        after_help = "\
Examples:
  avouch entry list
  avouch entry list --json"
    )]
    List,
    /// Show one registered identity
    #[command(after_help = "\
Examples:
  avouch entry show spiffe://market.example/orders")]
    Show(OneEntry),
    /// Remove an identity: nothing more is issued to it, its tokens end, its live certificates run out
    #[command(after_help = "\
Examples:
  avouch entry rm spiffe://market.example/orders")]
    Rm(OneEntry),
}

#[derive(Debug, Args)]
pub(crate) struct EntryAdd {
    /// As in spiffe://market.example/orders
    #[arg(value_name = "SPIFFE_ID")]
    pub(crate) spiffe_id: SpiffeId,
    /// Life of its certificates, as in 20s or 1h [default: the issuer's]
    #[arg(long, value_name = "TIME", value_parser = crate::timespan::parse)]
    pub(crate) ttl: Option<Duration>,
    /// A DNS name its certificates carry for clients that want one (repeatable); it authorizes nothing
    #[arg(long = "dns", value_name = "NAME")]
    pub(crate) dns_names: Vec<String>,
    /// How long after expiry it may still recover, as in 24h [default: the issuer's]
    #[arg(long, value_name = "TIME", value_parser = crate::timespan::parse)]
    pub(crate) recovery_window: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct OneEntry {
    /// As in spiffe://market.example/orders
    #[arg(value_name = "SPIFFE_ID")]
    pub(crate) spiffe_id: SpiffeId,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a join token and print it, once: it is a secret, for one workload, for one use
    #[command(after_help = "\
Examples:
  avouch token create spiffe://market.example/orders > orders.token
  avouch token create spiffe://market.example/orders --ttl 1h
  avouch token create spiffe://market.example/orders --register --out /run/join/token --wait 30s
  avouch token create spiffe://market.example/web --register --dns web.market.example --svid-ttl 1h

--register, --out and --wait make it a step of a start: it can run before the issuer answers, it can
run again, and nobody reads the token on the way.")]
    Create(TokenCreate),
}

#[derive(Debug, Args)]
pub(crate) struct TokenCreate {
    /// The identity to join as; it must be registered, unless --register is given
    #[arg(value_name = "SPIFFE_ID")]
    pub(crate) spiffe_id: SpiffeId,
    /// How long the token may be used, as in 10m or 1h [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = crate::timespan::parse)]
    pub(crate) ttl: Option<Duration>,
    /// Write the token into FILE, for its owner alone (mode 0600), rather than to standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Register the identity first, unless it is registered
    #[arg(long)]
    pub(crate) register: bool,
    /// With --register: a DNS name its certificates carry (repeatable)
    #[arg(long = "dns", value_name = "NAME", requires = "register")]
    pub(crate) dns_names: Vec<String>,
    /// With --register: life of its certificates, as in 20s or 1h [default: the issuer's]
    #[arg(long, value_name = "TIME", requires = "register", value_parser = crate::timespan::parse)]
    pub(crate) svid_ttl: Option<Duration>,
    /// How long to wait for an issuer that does not answer yet, as in 30s [default: not at all]
    #[arg(long, value_name = "TIME", value_parser = crate::timespan::parse)]
    pub(crate) wait: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BundleCommand {
    /// Show the trust bundle; with --json in the SPIFFE bundle format
    #[command(after_help = "\
Examples:
  avouch bundle show
  avouch bundle show --pem > bundle.pem
  avouch bundle show --json > bundle.json")]
    Show(BundleShow),
}

#[derive(Debug, Args)]
pub(crate) struct BundleShow {
    /// Write the root certificates as PEM
    #[arg(long, conflicts_with = "json")]
    pub(crate) pem: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CertCommand {
    /// Look into a certificate or chain (PEM or DER) and check it against the SPIFFE standard, item by item
    #[command(after_help = "\
Examples:
  avouch cert inspect orders.pem
  openssl s_client -connect 127.0.0.1:7001 -showcerts </dev/null | avouch cert inspect -

Needs no issuer. Exit status 1 if a check fails.")]
    Inspect(CertInspect),
    /// List issued certificates, newest first
    #[command(
        visible_alias = "ls",
        after_help = "\
Examples:
  avouch cert list
  avouch cert list --all --id spiffe://market.example/orders
  avouch cert list --json"
    )]
    List(CertList),
}

#[derive(Debug, Args)]
pub(crate) struct CertInspect {
    /// A file with certificates; - reads standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct CertList {
    /// Also certificates that have expired
    #[arg(long)]
    pub(crate) all: bool,
    /// Only this identity's
    #[arg(long, value_name = "SPIFFE_ID")]
    pub(crate) id: Option<SpiffeId>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_grammar_is_consistent() {
        Arguments::command().debug_assert();
    }

    fn examples(command: &clap::Command, found: &mut Vec<String>) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let lines =
            help.lines().filter_map(|line| line.split_once("avouch ")).map(|(_, rest)| rest.to_owned());
        found.extend(lines);
        command.get_subcommands().for_each(|sub| examples(sub, found));
    }

    #[test]
    fn every_example_of_the_help_parses() {
        let mut found = Vec::new();
        examples(&Arguments::command(), &mut found);
        assert!(found.len() >= 15, "{found:?}");
        for example in found {
            let words = example.split_whitespace().take_while(|word| *word != ">");
            Arguments::try_parse_from(std::iter::once("avouch").chain(words))
                .unwrap_or_else(|error| panic!("avouch {example}: {error}"));
        }
    }

    #[test]
    fn every_command_that_does_something_has_an_example() {
        fn check(command: &clap::Command) {
            if command.get_subcommands().next().is_none() && command.get_name() != "help" {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Examples:"), "{}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Arguments::command());
    }

    #[test]
    fn wrong_usage_exits_with_2() {
        for words in [
            &["avouch"][..],
            &["avouch", "entry", "add"],
            &["avouch", "entry", "add", "orders"],
            &["avouch", "entry", "add", "spiffe://market.example/a", "--ttl", "20"],
            &["avouch", "token", "create", "spiffe://market.example/a", "--dns", "localhost"],
            &["avouch", "token", "create", "spiffe://market.example/a", "--svid-ttl", "1h"],
            &["avouch", "bundle", "show", "--pem", "--json"],
            &["avouch", "nonsense"],
        ] {
            let error = Arguments::try_parse_from(words).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{words:?}");
        }
    }
}

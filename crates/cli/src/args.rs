//! The command line's grammar, with the examples that `--help` shows. A test runs every example through the parser.
//!
//! Here stand the options that every command has, and one line per noun; the rest is one file per noun.

mod bundle;
mod cert;
mod check;
mod config;
mod dump;
mod edges;
mod entry;
mod explain;
mod fleet;
mod handshake;
mod policy;
mod tap;
mod token;
mod whois;

pub(crate) use bundle::{BundleCommand, BundleShow};
pub(crate) use cert::{
    CertCommand, CertConvert, CertInspect, CertLint, CertList, CertNeedsRenewal, Form, Within,
};
pub(crate) use check::Check;
use clap::{Args, Parser, Subcommand, ValueEnum};
pub(crate) use config::{ConfigCommand, ConfigShow};
pub(crate) use dump::Dump;
pub(crate) use edges::Edges;
pub(crate) use entry::{EntryAdd, EntryCommand, OneEntry};
pub(crate) use explain::Explain;
pub(crate) use fleet::Sources;
pub(crate) use handshake::HandshakeArgs;
pub(crate) use policy::{Api, PolicyCanI, PolicyCommand, PolicyDiff, PolicyFile, Who};
use std::path::PathBuf;
pub(crate) use tap::{Format, Tap};
pub(crate) use token::{TokenCommand, TokenCreate};
pub(crate) use whois::Whois;

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
    /// Is all well? Looks at the issuer and at every workload, and names the root cause of what is not
    #[command(after_help = check::HELP)]
    Check(Check),
    /// Why was it refused? Finds the record of a decision or a connection, and what would change it
    #[command(after_help = explain::HELP)]
    Explain(Explain),
    /// Who calls whom, and who is refused
    #[command(after_help = edges::EXAMPLES)]
    Edges(Edges),
    /// The records of everybody: connections and decisions, as they are or as they come
    #[command(after_help = tap::EXAMPLES)]
    Tap(Tap),
    /// What everybody knows of an address, a certificate, an identity or a trace
    #[command(after_help = whois::EXAMPLES)]
    Whois(Whois),
    /// Policies: check, test and compare them, and who may call what
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Everything there is to read in one file, for later or for somebody else
    #[command(after_help = dump::EXAMPLES)]
    Dump(Dump),
    /// Connect to a server step by step, and say what works, or where it breaks and why
    #[command(after_help = "\
Examples:
  avouch handshake localhost:7001
  avouch handshake localhost:7001 --identity state/orders --expect spiffe://market.example/ledger
  avouch handshake localhost:7001 --bundle bundle.pem

Without --identity, --bundle and an issuer the server is not verified. Makes no call. Exit status 1 if the connection breaks.")]
    Handshake(HandshakeArgs),
    /// The configuration of a program, and where each value comes from
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Write the completions of a shell
    #[command(after_help = "\
Examples:
  avouch completions bash > /etc/bash_completion.d/avouch
  avouch completions zsh > _avouch
  avouch completions fish > ~/.config/fish/completions/avouch.fish")]
    Completions(Completions),
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// The shells whose completions are kept in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
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
            &["avouch", "cert", "convert", "a.pem", "--to", "pkcs12", "--out", "b"],
            &["avouch", "cert", "convert", "a.pem", "--to", "pem", "--key", "k"],
            &["avouch", "cert", "convert", "a.pem", "--to", "pem", "--force"],
            &["avouch", "cert", "lint"],
            &["avouch", "cert", "needs-renewal", "a.pem", "--within", "20"],
            &["avouch", "handshake", "localhost"],
            &["avouch", "completions", "tcsh"],
            &["avouch", "nonsense"],
        ] {
            let error = Arguments::try_parse_from(words).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{words:?}");
        }
    }
}

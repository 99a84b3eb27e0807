//! The command line's grammar, with the examples that `--help` shows. A test runs every example through the parser.
//!
//! Here stands one line per noun; the rest is one file per noun, which also turns the arguments into the plain values
//! that commands take. Nothing below a command knows this grammar.

mod audit;
mod bundle;
mod cert;
mod check;
mod completions;
mod config;
mod crl;
mod dump;
mod edges;
mod entry;
mod explain;
mod global;
mod handshake;
mod policy;
mod revocations;
mod revoke;
mod sources;
mod tap;
mod token;
mod whois;

use crate::error::CliError;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

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
    #[command(flatten)]
    global: global::GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Identities the issuer may give out
    #[command(subcommand)]
    Entry(entry::EntryCommand),
    /// Join tokens: the first contact of a workload
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// The trust bundle: the roots that vouch for everything
    #[command(subcommand)]
    Bundle(bundle::BundleCommand),
    /// Certificates: look into one, or list what was issued
    #[command(subcommand)]
    Cert(cert::CertCommand),
    /// Cut an identity or a certificate off, now, and watch who refuses it; or take that back
    #[command(after_help = revoke::HELP)]
    Revoke(revoke::RevokeArgs),
    /// The revocations: what, why, and by whom
    #[command(after_help = revocations::HELP)]
    Revocations(revocations::RevocationsArgs),
    /// Who did what: every act of an administrator
    #[command(after_help = audit::HELP)]
    Audit(audit::AuditArgs),
    /// Certificate revocation lists, for verifiers that know no trust stream
    #[command(subcommand)]
    Crl(crl::CrlCommand),
    /// Is all well? Looks at the issuer and at every workload, and names the root cause of what is not
    #[command(after_help = check::HELP)]
    Check(check::CheckArgs),
    /// Why was it refused? Finds the record of a decision or a connection, and what would change it
    #[command(after_help = explain::HELP)]
    Explain(explain::ExplainArgs),
    /// Who calls whom, and who is refused
    #[command(after_help = edges::HELP)]
    Edges(edges::EdgesArgs),
    /// The records of everybody: connections and decisions, as they are or as they come
    #[command(after_help = tap::HELP)]
    Tap(tap::TapArgs),
    /// What everybody knows of an address, a certificate, an identity or a trace
    #[command(after_help = whois::HELP)]
    Whois(whois::WhoisArgs),
    /// Policies: check, test and compare them, and who may call what
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Everything there is to read in one file, for later or for somebody else
    #[command(after_help = dump::HELP)]
    Dump(dump::DumpArgs),
    /// Connect to a server step by step, and say what works, or where it breaks and why
    #[command(after_help = handshake::HELP)]
    Handshake(handshake::HandshakeArgs),
    /// The configuration of a program, and where each value comes from
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Write the completions of a shell
    #[command(after_help = completions::HELP)]
    Completions(completions::CompletionsArgs),
}

impl Arguments {
    /// The arguments, if they also fit together where the grammar cannot say so.
    ///
    /// # Errors
    /// As those of parsing.
    pub(crate) fn checked(self) -> Result<Self, clap::Error> {
        if let Command::Revoke(args) = &self.command {
            args.check()?;
        }
        Ok(self)
    }

    /// Runs the command.
    ///
    /// # Errors
    /// The command's.
    pub(crate) async fn run(&self) -> Result<ExitCode, CliError> {
        let global = &self.global;
        match &self.command {
            Command::Entry(command) => command.run(global).await,
            Command::Token(command) => command.run(global).await,
            Command::Bundle(command) => command.run(global).await,
            Command::Cert(command) => command.run(global).await,
            Command::Revoke(args) => args.run(global).await,
            Command::Revocations(args) => args.run(global).await,
            Command::Audit(args) => args.run(global).await,
            Command::Crl(command) => command.run(global).await,
            Command::Check(args) => args.run(global).await,
            Command::Explain(args) => args.run(global).await,
            Command::Edges(args) => args.run(global).await,
            Command::Tap(args) => args.run(global).await,
            Command::Whois(args) => args.run(global).await,
            Command::Policy(command) => command.run(global).await,
            Command::Dump(args) => args.run(global).await,
            Command::Handshake(args) => args.run(global).await,
            Command::Config(command) => command.run(global),
            Command::Completions(args) => args.run(),
        }
    }

    /// The exit status of a failure. `cert needs-renewal` answers by 0 or 1, so that its failures exit with 2.
    pub(crate) fn failure(&self) -> ExitCode {
        match self.command {
            Command::Cert(cert::CertCommand::NeedsRenewal(_)) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
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
            &["avouch", "revoke"],
            &["avouch", "revoke", "0a1b"],
            &["avouch", "revoke", "serial:0a1b", "--undo", "7"],
            &["avouch", "revoke", "serial:0a1b", "--for", "20"],
            &["avouch", "revoke", "serial:0a1b", "--for", "1h"],
            &["avouch", "revoke", "serial:0a1b", "--reason", "a\u{1b}[2Jb"],
            &["avouch", "revoke", "--undo", "7", "--force"],
            &["avouch", "revocations", "0a1b"],
            &["avouch", "audit", "--since", "yesterday"],
            &["avouch", "entry", "add", "spiffe://market.example/a", "--on-fork", "ignore"],
            &["avouch", "cert", "needs-renewal", "a.pem", "--within", "20"],
            &["avouch", "handshake", "localhost"],
            &["avouch", "completions", "tcsh"],
            &["avouch", "nonsense"],
        ] {
            let error = Arguments::try_parse_from(words).and_then(Arguments::checked).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{words:?}");
        }
    }
}

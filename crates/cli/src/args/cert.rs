//! `avouch cert`.

use super::global::GlobalArgs;
use crate::commands::cert::{self, Conversion, Within};
use crate::convert::Format;
use crate::error::CliError;
use avouch_spiffe::SpiffeId;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum CertCommand {
    /// Look into certificates, a chain, a bundle, a request, or what a server presents, item by item
    #[command(after_help = "\
Examples:
  avouch cert inspect orders.pem
  avouch cert inspect orders.pem --bundle bundle.pem
  avouch cert inspect localhost:7001
  openssl s_client -connect 127.0.0.1:7001 -showcerts </dev/null | avouch cert inspect -

Reads PEM, DER, SPIFFE bundles and certificate signing requests. Of HOST:PORT it takes the chain that the server presents
in a TLS 1.3 handshake, without believing it and without a client certificate; a file of that name wins.

Needs no issuer. Exit status 1 if a check fails.")]
    Inspect(CertInspect),
    /// Find what is wrong with certificates, or could be better, by RFC 5280 and SPIFFE
    #[command(after_help = "\
Examples:
  avouch cert lint orders.pem
  avouch cert lint orders.pem bundle.json --json

One finding a line: FILE:NUMBER: severity: id, what, and the clause. An error breaks a MUST, a warning a SHOULD.

Needs no issuer. Exit status 1 if there is an error.")]
    Lint(CertLint),
    /// Turn certificates into another form: PEM, DER, or PKCS#12 with their key
    #[command(after_help = "\
Examples:
  avouch cert convert orders.der --to pem
  avouch cert convert orders.pem --to der --out orders.der
  avouch cert convert svid.pem --key svid.pem --to pkcs12 --password-file password --out orders.p12
  avouch cert convert bundle.json --to pkcs12 --password-file password --out truststore.p12

Roots in PKCS#12 are a trust store for Java, which wants an ASCII password. A private key goes only into a file, for its owner alone (mode 0600). Needs no issuer.")]
    Convert(CertConvert),
    /// Ask whether a certificate is about to end; the exit status answers
    #[command(after_help = "\
Examples:
  avouch cert needs-renewal orders.pem
  avouch cert needs-renewal orders.pem --within 8h

Exit status: 0 it is time to renew, 1 not yet, 2 the file cannot be read or the usage is wrong. Of a chain, the first
certificate to end decides. Needs no issuer.")]
    NeedsRenewal(CertNeedsRenewal),
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
pub(super) struct CertInspect {
    /// A file, or a server; - reads standard input
    #[arg(value_name = "FILE|HOST:PORT")]
    what: PathBuf,
    /// Also verify the chain against these roots, in PEM or as a SPIFFE bundle
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct CertLint {
    /// Files with certificates, chains or bundles; - reads standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// The forms, as they are typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Pem,
    Der,
    Pkcs12,
}

#[derive(Debug, Args)]
pub(super) struct CertConvert {
    /// A file with certificates, in PEM, in DER, or a SPIFFE bundle; - reads standard input
    #[arg(value_name = "FILE")]
    input: PathBuf,
    /// The form to write
    #[arg(long, value_enum)]
    to: Form,
    /// Where to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// A PEM file with the private key of the first certificate, to be written beside it
    #[arg(long, value_name = "FILE", requires = "out")]
    key: Option<PathBuf>,
    /// A file whose first line is the password of the PKCS#12 archive
    #[arg(long, value_name = "FILE", required_if_eq("to", "pkcs12"))]
    password_file: Option<PathBuf>,
    /// Overwrite what is there
    #[arg(long, requires = "out")]
    force: bool,
}

#[derive(Debug, Args)]
pub(super) struct CertNeedsRenewal {
    /// A file with a certificate or chain; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How little may be left: a part of its life, or a time as in 8h. A workload renews at half of its life, so a third
    /// left means that it did not
    #[arg(long, value_name = "PERCENT|TIME", default_value = "33%")]
    within: Within,
}

#[derive(Debug, Args)]
pub(super) struct CertList {
    /// Also certificates that have expired
    #[arg(long)]
    all: bool,
    /// Only this identity's
    #[arg(long, value_name = "SPIFFE_ID")]
    id: Option<SpiffeId>,
}

impl From<Form> for Format {
    fn from(form: Form) -> Self {
        match form {
            Form::Pem => Self::Pem,
            Form::Der => Self::Der,
            Form::Pkcs12 => Self::Pkcs12,
        }
    }
}

impl CertCommand {
    pub(super) async fn run(&self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let output = global.output();
        match self {
            Self::Inspect(args) => cert::inspect(&args.what, args.bundle.as_deref(), output).await,
            Self::Lint(args) => cert::lint(&args.files, output),
            Self::Convert(args) => cert::convert(&args.conversion()),
            Self::NeedsRenewal(args) => cert::needs_renewal(&args.file, args.within, output),
            Self::List(args) => cert::list(&global.admin(), args.all, args.id.as_ref(), output).await,
        }
    }
}

impl CertConvert {
    fn conversion(&self) -> Conversion<'_> {
        Conversion {
            input: &self.input,
            to: self.to.into(),
            out: self.out.as_deref(),
            key: self.key.as_deref(),
            password_file: self.password_file.as_deref(),
            force: self.force,
        }
    }
}

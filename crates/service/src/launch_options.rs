//! What a process is started with: its arguments and its environment, as values, so that tests can make their own.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{Args, Command, ValueEnum};

/// Flags that every service has.
// No group: its id would be the type's name, and a service's own flags may be called `Flags` too.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
pub struct Flags {
    /// Configuration file (TOML); may be repeated, and of two files that set a key the later wins. Without it
    /// AVOUCH_CONFIG names the files, separated by colons. Keys can be overridden by AVOUCH_SECTION__KEY and by --set.
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// Overrides one configuration key; may be repeated.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// Checks configuration and policy as the start does, then exits.
    #[arg(long)]
    pub check_config: bool,
    /// Shows every key of the configuration, its value, and where that comes from, then exits; secrets are hidden.
    #[arg(
        long,
        value_enum,
        value_name = "FORM",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "table",
        conflicts_with_all = ["check_config", "health"]
    )]
    pub show_config: Option<ShowConfig>,
    /// Asks the process that runs with this configuration whether it is ready, then exits: 0 ready, 1 not.
    #[arg(long, conflicts_with = "check_config")]
    pub health: bool,
}

/// How to show the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ShowConfig {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Arguments and environment of a process.
#[derive(Debug, Clone, Default)]
pub struct LaunchOptions {
    /// The parsed flags.
    pub flags: Flags,
    /// Environment variables. Those called `AVOUCH_SECTION__KEY` are configuration.
    pub env: HashMap<String, String>,
}

impl LaunchOptions {
    /// The options of this process, whose arguments have been parsed to `flags`. Variables that are not Unicode are left out.
    #[must_use]
    pub fn of_process(flags: Flags) -> Self {
        let env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { flags, env }
    }
}

/// No flags of a service's own.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct NoFlags {}

/// Parses `args` (the program's name first) as the common flags and a service's own.
pub(crate) fn parse<A: Args>(
    name: &'static str,
    args: impl IntoIterator<Item = OsString>,
) -> Result<(Flags, A), clap::Error> {
    let command = Command::new(name).version(&*version().leak()).about(format!("The {name} service."));
    let matches = A::augment_args(Flags::augment_args(command)).try_get_matches_from(args)?;
    let mut flags = <Flags as clap::FromArgMatches>::from_arg_matches(&matches)?;
    if flags.config.is_empty() {
        flags.config = files_of(&std::env::var_os(FILES_VARIABLE).unwrap_or_default());
    }
    Ok((flags, A::from_arg_matches(&matches)?))
}

/// Not read by clap, which would split the values of the flag as well.
const FILES_VARIABLE: &str = "AVOUCH_CONFIG";

/// The files of a list as `PATH` has it; empty entries name none.
fn files_of(list: &OsStr) -> Vec<PathBuf> {
    std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty()).collect()
}

/// The version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The source revision, if the build was told.
pub(crate) const REVISION: Option<&str> = option_env!("AVOUCH_REVISION");

fn version() -> String {
    match REVISION {
        Some(revision) => format!("{VERSION} ({revision})"),
        None => VERSION.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    #[derive(Debug, Args)]
    struct Own {
        /// Where the orders come from.
        #[arg(long)]
        orders: Option<String>,
    }

    fn parse_all<A: Args>(args: &[&str]) -> Result<(Flags, A), clap::Error> {
        parse("orders", std::iter::once("orders").chain(args.iter().copied()).map(OsString::from))
    }

    #[test]
    fn a_service_can_have_flags_of_its_own_beside_the_common_ones() {
        let (flags, own) = parse_all::<Own>(&["--set", "a.b=c", "--orders", "-", "--set=d.e=f"]).unwrap();
        assert_eq!(flags.set, ["a.b=c", "d.e=f"]);
        assert_eq!(own.orders.as_deref(), Some("-"));
    }

    #[test]
    fn an_unknown_flag_a_missing_value_and_a_stray_word_are_bad_usage() {
        for (args, kind) in [
            (&["--confg", "x"][..], ErrorKind::UnknownArgument),
            (&["--config"], ErrorKind::InvalidValue),
            (&["serve"], ErrorKind::UnknownArgument),
            (&["--orders", "x"], ErrorKind::UnknownArgument),
        ] {
            assert_eq!(parse_all::<NoFlags>(args).unwrap_err().kind(), kind, "{args:?}");
        }
    }

    #[test]
    fn files_are_named_by_flags_in_their_order_or_by_a_list() {
        let (flags, _) = parse_all::<NoFlags>(&["--config", "base.toml", "--config=a:b.toml"]).unwrap();
        assert_eq!(flags.config, ["base.toml", "a:b.toml"].map(PathBuf::from));
        assert_eq!(
            files_of(OsStr::new("base.toml::/etc/b.toml:")),
            ["base.toml", "/etc/b.toml"].map(PathBuf::from)
        );
        assert!(files_of(OsStr::new("")).is_empty());
    }

    #[test]
    fn the_version_is_asked_for_by_flag() {
        let error = parse_all::<NoFlags>(&["--version"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DisplayVersion);
        assert!(error.to_string().contains(VERSION));
    }
}

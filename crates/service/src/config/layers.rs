//! Gathers the layers into one tree and hands out its sections.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use avouch_identity::IdentityConfig;
use avouch_text::{HIDDEN, looks_secret, suggest};
use config::builder::DefaultState;
use config::{ConfigBuilder, Environment, File, FileFormat, Value, ValueKind};
use serde::de::DeserializeOwned;

use super::error::{ConfigError, ConfigFault, hidden, in_section};
use super::scalar::Scalar;
use crate::launch_options::LaunchOptions;

/// Sections every process has.
const COMMON: &[&str] = &["service", "health", "identity", "authz", "records", "telemetry", "upstreams"];

/// A configuration file has some thousand octets.
const LIMIT: u64 = 1024 * 1024;

/// The merged tree.
#[derive(Debug)]
pub(crate) struct Layers {
    sections: HashMap<String, Value>,
}

impl Layers {
    pub(crate) fn read(name: &str, launch: &LaunchOptions) -> Result<Self, ConfigError> {
        let mut builder = config::Config::builder();
        for path in &launch.flags.config {
            let text =
                read_text(path).map_err(|source| ConfigFault::Unreadable { path: path.clone(), source })?;
            // Parsed here first: the message then names the file, the line and the column.
            toml::from_str::<toml::Table>(&text).map_err(|error| syntax(path, &text, &error))?;
            builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
        }
        builder = builder.add_source(environment(&launch.env));
        for text in &launch.flags.set {
            builder = set(builder, text)?;
        }
        let wrong = |error: config::ConfigError| ConfigFault::Syntax { detail: hidden(&error.to_string()) };
        let sections = builder.build().and_then(|tree| tree.cache.into_table()).map_err(wrong)?;
        let sections: HashMap<_, _> = sections.into_iter().collect();
        for (name, value) in &sections {
            no_secret(name, value, COMMON.contains(&name.as_str()))?;
        }
        let known = || COMMON.iter().copied().chain([name]);
        for section in sections.keys() {
            if !known().any(|known| known == section) {
                let suggestion = suggest(section, known()).map(str::to_owned);
                Err(ConfigFault::UnknownSection { section: hidden(section), suggestion })?;
            }
        }
        Ok(Self { sections })
    }

    /// A section, if it is there.
    pub(crate) fn section<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ConfigError> {
        let value = self.sections.get(name).cloned();
        Ok(value.map(Value::try_deserialize).transpose().map_err(|error| in_section(name, &error))?)
    }

    /// The value of one key, before its section is deserialized. A wrong type is left for the section's deserialization
    /// to report.
    pub(crate) fn scalar(&self, section: &str, key: &str) -> Option<Scalar> {
        self.find(&format!("{section}.{key}"))?.clone().try_deserialize().ok()
    }

    /// The value of a whole key, as in `service.limits.max_connections`, if it is there.
    pub(crate) fn find(&self, key: &str) -> Option<&Value> {
        let mut parts = key.split('.');
        let section = self.sections.get(parts.next()?)?;
        parts.try_fold(section, |value, part| match &value.kind {
            ValueKind::Table(entries) => entries.get(part),
            _ => None,
        })
    }

    /// The `[identity]` section. Read by its source and not as one type, whose errors would not name the key.
    pub(crate) fn identity(&self) -> Result<Option<IdentityConfig>, ConfigFault> {
        let Some(value) = self.sections.get("identity").cloned() else { return Ok(None) };
        let wrong = |error| in_section("identity", &error);
        let mut keys = value.into_table().map_err(wrong)?;
        let source = keys.remove("source").and_then(|source| source.into_string().ok()).unwrap_or_default();
        let rest = Value::new(None, keys);
        match source.as_str() {
            "issuer" => Ok(Some(IdentityConfig::Issuer(rest.try_deserialize().map_err(wrong)?))),
            "files" => Ok(Some(IdentityConfig::Files(rest.try_deserialize().map_err(wrong)?))),
            _ => Err(ConfigFault::value("identity.source", source, "must be issuer or files")),
        }
    }

    /// A section; an absent one counts as empty.
    pub(crate) fn section_or_empty<T: DeserializeOwned>(&self, name: &str) -> Result<T, ConfigError> {
        let empty = || Value::new(None, config::Map::<String, Value>::new());
        let value = self.sections.get(name).cloned().unwrap_or_else(empty);
        Ok(value.try_deserialize().map_err(|error| in_section(name, &error))?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.sections.iter()
    }
}

/// The text of a configuration file.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    let bytes = avouch_files::read(path, LIMIT)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "it is not text in UTF-8")),
    }
}

/// The position and cause of a TOML syntax error. The parser's own text quotes the line, which may contain a pasted
/// key.
fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> ConfigFault {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = 1 + before.matches('\n').count();
    let column = 1 + before.rsplit('\n').next().unwrap_or_default().chars().count();
    let why = hidden(error.message());
    ConfigFault::Syntax { detail: format!("{}, line {line}, column {column}: {why}", path.display()) }
}

/// Refuses a secret where the path of its file belongs: the error of opening that path would show it, here or in a log,
/// and other processes can read the environment and the arguments of this one. `common`: for sections whose values
/// are all known; in them base64 is refused too, since no valid value is base64.
fn no_secret(key: &str, value: &Value, common: bool) -> Result<(), ConfigFault> {
    let found = |text: &str| looks_secret(text).filter(|what| common || !what.starts_with("base64"));
    match &value.kind {
        ValueKind::Table(entries) => entries.iter().try_for_each(|(name, value)| match found(name) {
            Some(what) => Err(ConfigFault::Secret { key: format!("{key}.{HIDDEN}"), what }),
            None => no_secret(&format!("{key}.{name}"), value, common),
        }),
        ValueKind::Array(values) => values.iter().try_for_each(|value| no_secret(key, value, common)),
        ValueKind::String(text) => {
            found(text).map_or(Ok(()), |what| Err(ConfigFault::Secret { key: key.to_owned(), what }))
        }
        _ => Ok(()),
    }
}

/// The variables that name a section and a key; others that begin with `AVOUCH_` are no configuration of this process.
fn environment(env: &HashMap<String, String>) -> Environment {
    let ours = env
        .iter()
        .filter(|(name, _)| name.strip_prefix("AVOUCH_").is_some_and(|key| key.contains("__")))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Environment::with_prefix("AVOUCH")
        .prefix_separator("_")
        .separator("__")
        .ignore_empty(true)
        .try_parsing(true)
        .list_separator(",")
        .with_list_parse_key("identity.addresses")
        .source(Some(ours))
}

/// One `--set SECTION.KEY=VALUE`. The value is TOML if it reads as TOML, else a string.
fn set(builder: ConfigBuilder<DefaultState>, text: &str) -> Result<ConfigBuilder<DefaultState>, ConfigError> {
    let wrong = || ConfigFault::Override(hidden(text));
    let (key, value) = text.split_once('=').ok_or_else(wrong)?;
    let (key, value) = (key.trim(), value.trim());
    let plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-')
    };
    if key.split('.').count() < 2 || !key.split('.').all(plain) {
        Err(wrong())?;
    }
    let quoted = serde_json::to_string(value).map_err(|_| wrong())?;
    let candidates = [format!("{key} = {value}"), format!("{key} = {quoted}")];
    // One key and nothing else: a value cannot bring in keys of its own.
    let one_key = |line: &&String| toml::from_str::<toml::Table>(line).is_ok() && !line.contains('\n');
    let line = candidates.iter().find(one_key).ok_or_else(wrong)?;
    Ok(builder.add_source(File::from_str(line, FileFormat::Toml)))
}

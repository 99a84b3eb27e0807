//! The configuration a process would start with, key by key, and where each value comes from.
//!
//! The values come from the same tree that the process reads, so the output shows what is in effect; the layers are
//! searched again only to name the one that set each value. Secrets are hidden as in the start line. Only the syntax is
//! checked: a wrong value is shown, since the operator may be looking for it.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::defaults::{self, flat};
use super::error::ConfigError;
use super::layers::{Layers, read_text};
use super::redact;
use crate::launch_options::LaunchOptions;

/// One key with its value and its origin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The key with its section, as in `service.listen`.
    key: String,
    /// The value as JSON.
    value: Value,
    origin: String,
}

/// The rows, in the order of their keys.
pub(crate) fn rows(name: &'static str, launch: &LaunchOptions) -> Result<Vec<Row>, ConfigError> {
    let layers = Layers::read(name, launch)?;
    let sources = Sources::of(launch);
    let mut all: BTreeMap<String, (Value, String)> = defaults::of(name, &layers)?
        .into_iter()
        .map(|(key, value)| (key, (value, "default".to_owned())))
        .collect();
    for (key, value) in flat(&redact::redacted(&layers)) {
        let origin = sources.origin(&key);
        all.insert(key, (value, origin));
    }
    for (key, variable) in STANDARD {
        if let Some(value) = launch.env.get(*variable).filter(|value| !value.trim().is_empty()) {
            let value = redact::redact(key, Value::from(value.trim()));
            all.insert((*key).to_owned(), (value, format!("{variable}, which wins over [telemetry]")));
        }
    }
    Ok(all.into_iter().map(|(key, (value, origin))| Row { key, value, origin }).collect())
}

/// Standard variables without the `AVOUCH_` prefix, which override the key; if two are set for one key, the later wins.
const STANDARD: &[(&str, &str)] = &[
    ("telemetry.log", "RUST_LOG"),
    ("telemetry.otlp_endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ("telemetry.otlp_endpoint", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
    ("telemetry.sampling_ratio", "OTEL_TRACES_SAMPLER"),
];

/// The rows as a text table.
pub(crate) fn to_text(rows: &[Row]) -> String {
    let cells: Vec<[String; 3]> =
        rows.iter().map(|row| [row.key.clone(), row.value.to_string(), row.origin.clone()]).collect();
    let head = ["KEY", "VALUE", "ORIGIN"].map(str::to_owned);
    let all: Vec<_> = std::iter::once(&head).chain(&cells).collect();
    let width = |pick: fn(&[String; 3]) -> &String| {
        all.iter().map(|row| pick(row).chars().count()).max().unwrap_or(0)
    };
    let (keys, values) = (width(|[key, _, _]| key), width(|[_, value, _]| value));
    all.iter().map(|[key, value, origin]| format!("{key:keys$}  {value:values$}  {origin}\n")).collect()
}

/// The rows as JSON.
pub(crate) fn to_json(rows: &[Row]) -> String {
    let all: Vec<_> =
        rows.iter().map(|row| json!({ "key": row.key, "value": row.value, "origin": row.origin })).collect();
    format!("{:#}\n", Value::from(all))
}

/// The keys that each layer sets.
struct Sources {
    file: HashMap<String, String>,
    environment: HashMap<String, String>,
    /// The layers in their order; the last one wins.
    overrides: Vec<String>,
}

impl Sources {
    fn of(launch: &LaunchOptions) -> Self {
        let environment = launch.env.iter().filter(|(_, value)| !value.is_empty()).filter_map(|(name, _)| {
            let key = name.strip_prefix("AVOUCH_")?;
            key.contains("__").then(|| (key.to_ascii_lowercase().replace("__", "."), name.clone()))
        });
        let overrides =
            launch.flags.set.iter().filter_map(|text| Some(text.split_once('=')?.0.trim().to_owned()));
        Self { file: file_lines(launch), environment: environment.collect(), overrides: overrides.collect() }
    }

    fn origin(&self, key: &str) -> String {
        // A table in one piece, as in `--set upstreams.a={url="…"}`, names all keys in it.
        let names = |named: &str| {
            key.strip_prefix(named).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if let Some(named) = self.overrides.iter().rev().find(|named| names(named)) {
            return format!("--set {named}");
        }
        let lower = key.to_ascii_lowercase();
        if let Some(variable) = self.environment.get(&lower) {
            return variable.clone();
        }
        self.file.get(key).cloned().unwrap_or_else(|| "unknown".to_owned())
    }
}

/// `file:line` of every key in the files; for a key in two files, the line in the later file, whose value wins.
fn file_lines(launch: &LaunchOptions) -> HashMap<String, String> {
    let mut found = HashMap::new();
    for path in &launch.flags.config {
        let Ok(text) = read_text(path) else { continue };
        let Ok(table) = toml::de::DeTable::parse(&text) else { continue };
        let mut add = |key: String, at: usize| {
            let line = 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
            found.insert(key, format!("{}:{line}", path.display()));
        };
        keys("", table.get_ref(), &mut add);
    }
    found
}

fn keys(above: &str, table: &toml::de::DeTable<'_>, add: &mut impl FnMut(String, usize)) {
    for (name, value) in table {
        let key = match above {
            "" => name.get_ref().to_string(),
            above => format!("{above}.{}", name.get_ref()),
        };
        match value.get_ref() {
            toml::de::DeValue::Table(inner) => keys(&key, inner, add),
            _ => add(key, name.span().start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch_options::Flags;

    fn launch(file: &str, env: &[(&str, &str)], set: &[&str]) -> (tempfile::TempDir, LaunchOptions) {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("orders.toml");
        std::fs::write(&path, file).unwrap();
        let set = set.iter().map(|text| (*text).to_owned()).collect();
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        (temp, LaunchOptions { flags: Flags { config: vec![path], set, ..Flags::default() }, env })
    }

    fn found(launch: &LaunchOptions, key: &str) -> (String, String) {
        let rows = rows("orders", launch).unwrap();
        let row = rows.into_iter().find(|row| row.key == key).unwrap_or_else(|| panic!("no row {key}"));
        (row.value.to_string(), row.origin.rsplit('/').next().unwrap().to_owned())
    }

    #[test]
    fn each_value_is_said_with_the_layer_that_had_the_last_word() {
        let file = "[service]\nlisten = \"127.0.0.1:1\"\n\n[service.limits]\nmax_connections = 7\n\n[orders]\nqueue = 1\n\n[records]\nfile = \"r\"\n";
        let env = [
            ("AVOUCH_SERVICE__LISTEN", "127.0.0.1:2"),
            ("AVOUCH_ORDERS__QUEUE", "2"),
            ("AVOUCH_CONFIG", "x"),
        ];
        let (_temp, launch) = launch(
            file,
            &env,
            &["orders.queue=3", "upstreams.a={url = \"https://a:1\", id = \"spiffe://b/c\"}"],
        );
        for (key, value, origin) in [
            ("service.limits.max_connections", "7", "orders.toml:5"),
            ("service.listen", "\"127.0.0.1:2\"", "AVOUCH_SERVICE__LISTEN"),
            ("orders.queue", "3", "--set orders.queue"),
            ("upstreams.a.id", "\"spiffe://b/c\"", "--set upstreams.a"),
            ("service.drain_timeout", "\"10s\"", "default"),
            ("health.listen", "\"127.0.0.1:0\"", "default"),
            ("telemetry.log", "\"info\"", "default"),
            ("records.rotate_keep", "4", "default"),
            ("service.limits.max_handshakes", "1024", "default"),
        ] {
            let (shown, from) = found(&launch, key);
            assert_eq!((shown.as_str(), from.as_str()), (value, origin), "{key}");
        }
        let all = rows("orders", &launch).unwrap();
        assert!(all.iter().all(|row| row.origin != "unknown"), "{all:?}");
        let text = to_text(&all);
        let columns: Vec<_> = text.lines().filter_map(|line| line.find("default")).collect();
        assert!(columns.len() > 10 && columns.iter().all(|column| Some(column) == columns.first()), "{text}");
    }

    #[test]
    fn of_two_files_the_later_wins_for_each_key_and_is_named() {
        let base = "[service]\nlisten = \"127.0.0.1:1\"\ndrain_timeout = \"3s\"\n[orders]\nsizes = [1, 2]\n\
                    [upstreams.a]\nid = \"spiffe://b/c\"\n";
        let (temp, mut launch) = launch(base, &[], &[]);
        let place = temp.path().join("place.toml");
        let later = "[upstreams.a]\nurl = \"https://a:1\"\n[service]\nlisten = \"127.0.0.1:2\"\n[orders]\nsizes = [3]\n";
        std::fs::write(&place, later).unwrap();
        launch.flags.config.push(place);
        for (key, value, origin) in [
            ("service.listen", "\"127.0.0.1:2\"", "place.toml:4"),
            ("service.drain_timeout", "\"3s\"", "orders.toml:3"),
            ("upstreams.a.id", "\"spiffe://b/c\"", "orders.toml:7"),
            ("upstreams.a.url", "\"https://a:1\"", "place.toml:2"),
            // A list is one value.
            ("orders.sizes", "[3]", "place.toml:6"),
        ] {
            assert_eq!(found(&launch, key), (value.to_owned(), origin.to_owned()), "{key}");
        }
        launch.flags.config.push(temp.path().join("absent.toml"));
        let error = rows("orders", &launch).unwrap_err();
        assert!(error.fault.to_string().contains("absent.toml"), "{error}");
    }

    #[test]
    fn secrets_are_hidden_whichever_layer_they_are_in() {
        let (_temp, launch) = launch(
            "[orders]\napi_token = \"s1\"\n",
            &[("AVOUCH_ORDERS__PASSWORD", "s2"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:s4@h:1")],
            &["orders.secret=s3"],
        );
        let rows = rows("orders", &launch).unwrap();
        for text in [to_text(&rows), to_json(&rows)] {
            assert!(["s1", "s2", "s3", "s4"].iter().all(|secret| !text.contains(secret)), "{text}");
            assert_eq!(text.matches("(hidden)").count(), 4, "{text}");
        }
    }

    #[test]
    fn a_variable_of_others_that_wins_is_named() {
        let (_temp, launch) = launch("[telemetry]\nlog = \"debug\"\n", &[("RUST_LOG", "warn")], &[]);
        let (value, origin) = found(&launch, "telemetry.log");
        assert_eq!((value.as_str(), origin.as_str()), ("\"warn\"", "RUST_LOG, which wins over [telemetry]"));
    }

    #[test]
    fn a_wrong_value_is_shown_and_a_broken_file_is_an_error() {
        let (_temp, wrong) = launch("[service]\nlisten = \"nowhere\"\n", &[], &[]);
        assert_eq!(found(&wrong, "service.listen").1, "orders.toml:2");
        let (_temp, broken) = launch("[service\n", &[], &[]);
        assert!(rows("orders", &broken).is_err());
    }
}

//! The configuration for the start line: everything but what looks like a secret.
//!
//! Secrets belong into files that are named by path, and those paths are shown. A value whose key sounds like a secret
//! and does not name a path, and credentials inside a URL, are hidden all the same: people make mistakes.

use avouch_text::{HIDDEN, hide_secrets};
use serde_json::{Map, Value};

use super::layers::Layers;

/// The tree as JSON, redacted.
pub(super) fn redacted(layers: &Layers) -> Value {
    let sections = layers.iter().map(|(name, value)| {
        let value = value.clone().try_deserialize().unwrap_or(Value::Null);
        (name.clone(), redact(name, value))
    });
    Value::Object(sections.collect::<Map<_, _>>())
}

/// One value, redacted.
pub(super) fn redact(key: &str, value: Value) -> Value {
    match value {
        Value::Object(entries) => Value::Object(
            entries.into_iter().map(|(key, value)| (key.clone(), redact(&key, value))).collect(),
        ),
        Value::Array(values) => Value::Array(values.into_iter().map(|value| redact(key, value)).collect()),
        Value::Null => Value::Null,
        _ if sounds_secret(key) => Value::from(HIDDEN),
        Value::String(text) => Value::String(hide_secrets(&without_credentials(&text)).into_owned()),
        other => other,
    }
}

fn sounds_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let names_a_path = ["_file", "_path", "_dir"].iter().any(|end| key.ends_with(end));
    let secret = ["secret", "token", "passw", "passphrase", "credential", "api_key", "apikey", "private"];
    !names_a_path && secret.iter().any(|word| key.contains(word))
}

/// `scheme://user:password@host` without what is before the `@`.
pub(super) fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((user, _)) => format!("{scheme}://{HIDDEN}{}", rest.get(user.len()..).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_sounds_like_a_secret_is_hidden_and_its_path_is_not() {
        let shown = redact(
            "identity",
            json!({"join_token": "avjt1.abc", "join_token_file": "/t", "key": "/k.pem", "Password": "p", "list": [{"api_key": 7}]}),
        );
        assert_eq!(
            shown,
            json!({"join_token": HIDDEN, "join_token_file": "/t", "key": "/k.pem", "Password": HIDDEN, "list": [{"api_key": HIDDEN}]})
        );
    }

    #[test]
    fn credentials_in_a_url_are_hidden_and_the_rest_is_shown() {
        assert_eq!(without_credentials("http://u:p@h:1/x?y@z"), "http://(hidden)@h:1/x?y@z");
        assert_eq!(without_credentials("http://a@b@h"), "http://(hidden)@h");
        assert_eq!(without_credentials("http://h:1/a@b"), "http://h:1/a@b");
        assert_eq!(without_credentials("spiffe://market.example/orders"), "spiffe://market.example/orders");
    }
}

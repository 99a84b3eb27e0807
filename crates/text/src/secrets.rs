//! Detection of private keys and join tokens in a text that is about to be shown.
//!
//! A value may be pasted where a path belongs; an error that quotes it would put it into a log. The detection is a
//! heuristic, so it is the last line of defence and not the first: code that reads secrets quotes nothing of them.

use std::borrow::Cow;

/// The text shown in place of a secret.
pub const HIDDEN: &str = "(hidden)";

/// The end of the BEGIN line of a private key. With its dashes, since messages name the label without them.
const KEY_MARK: &str = "PRIVATE KEY-----";
const BEGIN: &str = "-----BEGIN";
const END: &str = "-----END";
const DASHES: &str = "-----";
/// What each join token of this version begins with.
const TOKEN_MARK: &str = "avjt1.";

/// The shortest run of base64 that is hidden: with a lower limit too many ordinary words would be taken for it.
const LEAST: usize = 20;
/// A hidden run has a segment between slashes or dots of at least this length: in base64 one character in 64 is a
/// slash, in paths one in ten.
const SEGMENT: usize = 16;
/// A segment of at least this length counts as random with fewer changes of character class: a line of a PEM file has
/// 64 characters, and no name written by people is as long as this without a separator.
const LINE: usize = 48;

/// The kind of secret that the text appears to be or to hold; `None`: it does not look like one.
#[must_use]
pub fn looks_secret(text: &str) -> Option<&'static str> {
    if let Some(text) = without_nul(text) {
        return looks_secret(&text);
    }
    let blob = || text.split_whitespace().filter(|word| word.bytes().all(is_base64)).any(is_random);
    match text {
        _ if text.contains(KEY_MARK) => Some("a private key"),
        _ if text.contains(TOKEN_MARK) => Some("a join token"),
        _ if blob() => Some("base64, as keys and tokens are"),
        _ => None,
    }
}

/// The text with [`HIDDEN`] in place of private keys (PEM, or their base64 alone) and join tokens.
#[must_use]
pub fn hide_secrets(text: &str) -> Cow<'_, str> {
    if let Some(dense) = without_nul(text)
        && let Cow::Owned(hidden) = hide_secrets(&dense)
    {
        return Cow::Owned(hidden);
    }
    if looks_secret(text).is_none() && !runs(text).any(|(_, run)| is_random(run)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(KEY_MARK) {
        let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
        // The block begins before its label.
        let start = before.rfind(BEGIN).unwrap_or(at);
        hide_base64(before.get(..start).unwrap_or_default(), &mut shown);
        shown.push_str(HIDDEN);
        rest = after_block(from);
    }
    hide_base64(rest, &mut shown);
    Cow::Owned(shown)
}

/// The text without NUL characters, raw or escaped: UTF-16 that was taken for UTF-8 has one before or behind each
/// character. `None`: there are none.
fn without_nul(text: &str) -> Option<String> {
    const NUL: [&str; 3] = ["\0", "\\u0000", "\\0"];
    let has = |text: &str| NUL.iter().any(|nul| text.contains(nul));
    has(text)
        .then(|| NUL.iter().fold(text.to_owned(), |text, nul| text.replace(nul, "")))
        .filter(|text| !has(text))
}

/// What is behind the block whose label `from` begins with; nothing if it has no end.
fn after_block(from: &str) -> &str {
    let ended = from.split_once(END).and_then(|(_, end)| end.split_once(DASHES));
    ended.map_or("", |(_, rest)| rest)
}

/// Appends the text without what looks like base64 of a secret, or like a token.
fn hide_base64(text: &str, shown: &mut String) {
    let mut done = 0;
    let mut hiding = false;
    for (at, run) in runs(text) {
        let between = text.get(done..at).unwrap_or_default();
        // The last line of a key may be shorter than the limit, and is hidden with the lines before it.
        let goes_on = hiding && between.trim().is_empty() && run.len() >= 4 && run.bytes().all(is_base64);
        let token = run.contains(TOKEN_MARK);
        shown.push_str(between);
        if token || goes_on || is_random(run) {
            if !goes_on {
                shown.push_str(HIDDEN);
            }
            hiding = true;
        } else {
            shown.push_str(run);
            hiding = false;
        }
        done = at + run.len();
    }
    shown.push_str(text.get(done..).unwrap_or_default());
}

/// The longest pieces that consist of what base64, base64url and their escapes in JSON consist of, and where they begin.
fn runs(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..)?;
        let start = rest.find(|c: char| is_run(c))?;
        let run = rest.get(start..)?;
        let run = run.get(..run.find(|c: char| !is_run(c)).unwrap_or(run.len()))?;
        let begin = at + start;
        at = begin + run.len();
        Some((begin, run))
    })
}

fn is_run(c: char) -> bool {
    c.is_ascii() && (is_base64(c as u8) || c == '\\' || c == '.')
}

fn is_base64(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/' | b'=' | b'-' | b'_')
}

/// Whether a run changes between capitals, small letters and digits as often as only random octets do; words, paths and
/// hexadecimal numbers do not.
fn is_random(run: &str) -> bool {
    let class = |octet: u8| match octet {
        b'A'..=b'Z' => Some(0),
        b'a'..=b'z' => Some(1),
        b'0'..=b'9' => Some(2),
        _ => None,
    };
    let classes = || run.bytes().map(class);
    let neighbours =
        || classes().zip(classes().skip(1)).filter(|(one, next)| one.is_some() && next.is_some());
    let changes = neighbours().filter(|(one, next)| one != next).count();
    // Judged by its longest segment, so that a path with a directory of random name (of a temporary file) is not
    // hidden.
    let longest = run.split(['/', '.', '\\']).map(str::len).max().unwrap_or_default();
    // In random base64 six in ten pairs of neighbours differ in class; in names in camel case three. The first line of
    // a P-256 key is mostly fixed octets, of whose base64 a third differ.
    let tenths = if longest >= LINE { 3 } else { 4 };
    run.len() >= LEAST
        && longest >= SEGMENT
        && classes().any(|class| class == Some(0))
        && classes().any(|class| class == Some(1))
        && changes * 10 >= neighbours().count() * tenths
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: [&str; 3] = [
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgVxQ9mYB1tGk3yZ0s",
        "Hq8o4RkU2eLw7cXnFjD5ApVbT6uJzEhRANCAAQ1n8WcYh3XvKf0LmSgPq2dOrBt7",
        "iZa9ExU4yVwJ6kTlMhC5sDfGb8R1oQnNpH3jK2uY",
    ];

    fn key() -> String {
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", BODY.join("\n"))
    }

    /// Any 16 characters of the key's text.
    fn leaks(text: &str) -> bool {
        BODY.iter().flat_map(|line| line.as_bytes().windows(16)).any(|part| {
            let part = std::str::from_utf8(part).unwrap();
            text.contains(part)
        })
    }

    #[test]
    fn each_line_of_a_p256_key_is_hidden_by_itself() {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        // PrivateKeyInfo of RFC 5958 up to the private key's own octets.
        const FIXED: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg";
        let mut state = 1_u64;
        let mut digits = |count: usize| -> String {
            let mut digit = || {
                // Knuth's MMIX generator; its high bits are the random ones.
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                char::from(DIGITS[usize::try_from(state >> 58).unwrap()])
            };
            (0..count).map(|_| digit()).collect()
        };
        let missed = (0..2_000).filter(|_| {
            let first = format!("{FIXED}{}", digits(16));
            let shown = hide_secrets(&format!("no file {first}, no more")).into_owned();
            shown.contains(FIXED) || looks_secret(&first).is_none()
        });
        assert_eq!(missed.count(), 0);
    }

    #[test]
    fn utf16_that_was_taken_for_utf8_is_a_secret_all_the_same() {
        for nul in ["\0", "\\u0000", "\\0"] {
            let text: String = BODY[0].chars().map(|c| format!("{nul}{c}")).collect();
            assert!(looks_secret(&text).is_some(), "{text}");
            assert_eq!(hide_secrets(&format!("key = {text}")), format!("key = {HIDDEN}"));
        }
        assert_eq!(hide_secrets("a\0b \\0"), "a\0b \\0");
    }

    #[test]
    fn a_key_is_hidden_however_it_was_damaged_and_what_is_around_it_stays() {
        let key = key();
        for pasted in [
            key.clone(),
            key.replace('\n', " "),
            key.replace('\n', "\\n"),
            key.replace('\n', "\r\n"),
            key.replace('/', "\\/"),
            format!("{key}{key}"),
            key.replace("-----END PRIVATE KEY-----\n", ""),
            key.replace("-----BEGIN PRIVATE KEY-----\n", ""),
            key.replace("PRIVATE", "PRIVATF"),
            BODY.join("\n"),
            BODY.concat(),
            BODY[0].to_owned(),
            BODY[2].to_owned(),
            key.get(..100).unwrap().to_owned(),
            key.get(40..120).unwrap().to_owned(),
        ] {
            let text = format!("cannot read \"{pasted}\": no such file");
            let shown = hide_secrets(&text);
            assert!(!leaks(&shown) && shown.contains(HIDDEN), "{shown}");
            assert!(shown.starts_with("cannot read \""), "{shown}");
            assert!(looks_secret(&pasted).is_some(), "{pasted}");
        }
        let shown = hide_secrets(&key.replace('\n', " ")).into_owned();
        assert_eq!(shown.trim(), HIDDEN);
    }

    #[test]
    fn a_token_is_hidden() {
        let token = "avjt1.eyJpc3N1ZXIiOiJzcGlmZmU6Ly9tYXJrZXQuZXhhbXBsZS9hdm91Y2gvaXNzdWVyIn0";
        assert_eq!(hide_secrets(&format!("no file `{token}`, sorry")), "no file `(hidden)`, sorry");
        assert_eq!(hide_secrets("no file `avjt1.e30`"), "no file `(hidden)`");
        assert_eq!(looks_secret(token), Some("a join token"));
    }

    #[test]
    fn what_people_write_stays_as_it_is() {
        for text in [
            "cannot read /home/Someone/MyProject2024Backend/target/debug/deps/Ledger1.toml: no such file",
            "/tmp/.tmpAbCdE7/minimal.key: no such file, nor /tmp/.tmpQ9rS3t/a/Bc1/De2/Fg3/Hi4/Jk5.pem",
            "/proc/self/fd/63, /run/user/1000/avouch-4bF9A1c2/admin.sock",
            "spiffe://market.example/ns/production-eu-1/sa/order-service",
            "sha256 4bf92f3577b34da6a3ce929d0e0e473600f067aa0ba902b74bf92f3577b34da6",
            "/etc/kubernetes/pki/apiserver-kubelet-client.crt at line 12, column 40",
            "unknown field `max_connection_age_grace`, expected one of `max_connections`",
            "CertificateSignedByUnknownAuthority InvalidHandshakeSignature HTTP2ConnectionError",
            "it holds no private key but a certificate (BEGIN PRIVATE KEY is missing)",
            "decision 01JD3Z7Q-aa, 2026-11-30T10:45:01.123456Z",
            "größer → ×",
            "",
        ] {
            assert_eq!(hide_secrets(text), text);
            assert_eq!(looks_secret(text), None, "{text}");
        }
    }
}

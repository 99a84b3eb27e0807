//! The collector's address: the endpoint of OTLP over gRPC.
//!
//! Specification: OTLP exporter, "Endpoint (OTLP/gRPC)" and "Insecure". gRPC fixes the path of a call, so that a path in
//! the endpoint has no meaning. No text from here repeats a user, a password or a query.

use http::Uri;
use http::uri::Scheme;
use tonic::transport::Endpoint;

/// A collector's address that can be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Over TLS, or without.
    Tcp {
        /// Scheme and authority, no more.
        uri: Uri,
        tls: bool,
    },
    /// A socket on this machine, by its path.
    Unix(String),
}

/// A target, and whether its text had a path that is not used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) target: Target,
    pub(crate) unused_path: bool,
}

impl Target {
    /// Reads an endpoint. One without a scheme is reached over TLS unless `insecure`. The error is a predicate of the
    /// setting it came from.
    pub(crate) fn parse(text: &str, insecure: bool) -> Result<Parsed, String> {
        let (scheme, rest) = match scheme(text) {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None => (if insecure { "http" } else { "https" }.to_owned(), text),
        };
        let tls = match scheme.as_str() {
            "http" => false,
            "https" => true,
            "unix" => return unix(rest),
            _ if scheme.len() <= 16 => return Err(format!("has the scheme `{scheme}`, and {SCHEMES}")),
            _ => return Err(format!("has a scheme that is not known here, and {SCHEMES}")),
        };
        // Parsed without what comes after the authority: it is not used, and need not be well-formed.
        let (authority, after) = rest.find(['/', '?', '#']).map_or((rest, ""), |end| rest.split_at(end));
        let uri = tcp(authority, tls)?;
        Ok(Parsed { target: Self::Tcp { uri, tls }, unused_path: !matches!(after, "" | "/") })
    }

    pub(crate) fn uses_tls(&self) -> bool {
        matches!(self, Self::Tcp { tls: true, .. })
    }

    /// As tonic takes it; `None` when it does not.
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        Endpoint::from_shared(self.to_string()).ok()
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { uri, .. } => {
                let host = uri.authority().map_or("", |authority| authority.as_str());
                write!(f, "{}://{host}", uri.scheme_str().unwrap_or_default())
            }
            Self::Unix(path) => write!(f, "unix://{path}"),
        }
    }
}

const SCHEMES: &str = "only http, https and unix are known here";

/// Splits off the scheme, if there is one: `://` before any other delimiter, or `unix:`.
fn scheme(text: &str) -> Option<(&str, &str)> {
    if let Some((scheme, rest)) = text.split_once("://")
        && !scheme.contains(['/', '?', '#', '@'])
    {
        return Some((scheme, rest));
    }
    text.split_once(':').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("unix"))
}

fn unix(path: &str) -> Result<Parsed, String> {
    if path.starts_with('/') {
        Ok(Parsed { target: Target::Unix(path.to_owned()), unused_path: false })
    } else {
        Err("names a Unix socket without its absolute path".to_owned())
    }
}

fn tcp(authority: &str, tls: bool) -> Result<Uri, String> {
    if authority.contains('@') {
        return Err("holds a user or a password: credentials go into OTEL_EXPORTER_OTLP_HEADERS".to_owned());
    }
    // An empty port means the scheme's default port.
    let authority = authority.strip_suffix(':').unwrap_or(authority);
    if authority.is_empty() {
        return Err("names no host".to_owned());
    }
    let scheme = if tls { Scheme::HTTPS } else { Scheme::HTTP };
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build();
    let uri = uri.map_err(|_| "is no URL".to_owned())?;
    let host = uri.host().unwrap_or_default();
    if host.is_empty() {
        return Err("names no host".to_owned());
    }
    let port = authority.get(host.len()..).unwrap_or_default();
    let port_is_good = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(port) => port.bytes().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|n| n > 0),
    };
    if !port_is_good {
        return Err("has a port that is no number from 1 to 65535".to_owned());
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        Target::parse(text, false).unwrap_or_else(|fault| panic!("{text}: {fault}")).target.to_string()
    }

    #[test]
    fn schemes_are_read_without_regard_to_case() {
        for (text, wanted, tls) in [
            ("http://collector:4317", "http://collector:4317", false),
            ("HTTP://collector:4317", "http://collector:4317", false),
            ("Https://collector:4317/", "https://collector:4317", true),
            ("hTTps://[::1]:4317", "https://[::1]:4317", true),
            ("HTTPS://collector.example", "https://collector.example", true),
            ("https://collector.example:", "https://collector.example", true),
        ] {
            assert_eq!(parsed(text), wanted);
            let target = Target::parse(text, true).unwrap().target;
            assert_eq!(target.uses_tls(), tls, "{text}");
            assert!(target.endpoint().is_some(), "{text}");
        }
        for text in ["unix:/run/otel.sock", "UNIX:///run/otel.sock"] {
            assert_eq!(parsed(text), "unix:///run/otel.sock");
            assert!(Target::parse(text, false).unwrap().target.endpoint().is_some());
        }
    }

    #[test]
    fn an_endpoint_without_a_scheme_is_reached_over_tls_unless_insecure_is_said() {
        assert_eq!(parsed("collector:4317"), "https://collector:4317");
        let insecure = |text| Target::parse(text, true).unwrap().target;
        assert_eq!(insecure("collector:4317").to_string(), "http://collector:4317");
        assert!(insecure("https://collector:4317").uses_tls(), "a scheme wins");
    }

    #[test]
    fn a_path_is_not_used_and_is_not_part_of_the_target() {
        for text in
            ["http://c:4317/v1/traces", "http://c:4317?token=t", "http://c:4317/#x", "http://c:4317//"]
        {
            let parsed = Target::parse(text, false).unwrap();
            assert!(parsed.unused_path, "{text}");
            assert_eq!(parsed.target.to_string(), "http://c:4317");
        }
        assert!(!Target::parse("http://c:4317/", false).unwrap().unused_path);
    }

    #[test]
    fn what_is_no_address_is_refused_and_never_repeated() {
        for (bad, why) in [
            ("not a url", "no URL"),
            ("http://", "no host"),
            ("http:///v1/traces", "no host"),
            ("http://:4317", "no host"),
            ("https://?x", "no host"),
            ("ftp://collector:4317", "`ftp`"),
            ("grpc://collector", "`grpc`"),
            ("://collector", "``"),
            ("http://collector:99999", "port"),
            ("http://collector:0", "port"),
            ("http://collector:4317x", "port"),
            ("http://collector:+1", "port"),
            ("http://[::1", "no URL"),
            ("http://a b", "no URL"),
            ("http://user:hunter2@collector:4317", "password"),
            ("user:hunter2@collector", "password"),
            ("http://@", "password"),
            ("unix:relative", "absolute path"),
            ("http://\u{fffd}", "no URL"),
        ] {
            let fault = Target::parse(bad, true).expect_err(bad);
            assert!(fault.contains(why), "{bad}: {fault}");
            assert!(!fault.contains("hunter2") && !fault.contains("collector"), "{fault}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_fail(text in ".{0,40}", scheme in "(http://|https://|unix:|)") {
            if let Ok(parsed) = Target::parse(&format!("{scheme}{text}"), false) {
                let _ = parsed.target.endpoint();
            }
        }
    }
}

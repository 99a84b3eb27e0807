//! The rules of HTTP that every request has to keep before it is authorized, checked on its head in one place for every
//! listener.
//!
//! gRPC is POST with `content-type: application/grpc` (gRPC over HTTP/2, "Requests"). tonic checks neither, so a web
//! page in a browser that holds a client certificate could run an RPC by the POST of a form, which browsers send across
//! origins without asking. Other HTTP names one host (RFC 9112 §3.2).
//!
//! A request that passes costs no allocation.

use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};

/// The protocol that a listener serves, and so the rules of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serves {
    /// gRPC over HTTP/2.
    Grpc,
    /// HTTP that is not gRPC, over HTTP/2 or HTTP/1.1.
    Http,
}

/// The rule that a request breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuleBroken {
    /// An RPC is a POST.
    Method,
    /// An RPC has one content type, `application/grpc`.
    ContentType,
    /// The request names no host.
    NoHost,
    /// The request has two Host header fields.
    TwoHosts,
    /// The host is not valid.
    InvalidHost,
    /// The target and the Host header field name different hosts.
    HostsDiffer,
}

impl RuleBroken {
    /// The status of the answer.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NoHost | Self::TwoHosts | Self::InvalidHost | Self::HostsDiffer => StatusCode::BAD_REQUEST,
        }
    }

    /// The rule in words, for the peer, the log and the observers. Nothing of the request is in it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Method => "an RPC is a POST (gRPC over HTTP/2)",
            Self::ContentType => "an RPC has the one content type application/grpc (gRPC over HTTP/2)",
            Self::NoHost => "the request names no host (RFC 9112 section 3.2)",
            Self::TwoHosts => "the request has more than one Host header field (RFC 9112 section 3.2)",
            Self::InvalidHost => "the request's host is not HOST or HOST:PORT (RFC 9112 section 3.2)",
            Self::HostsDiffer => "the request's target and its Host header field name different hosts",
        }
    }

    /// The head of the answer to a request of `version`; its body is `body`.
    pub(crate) fn response<B>(self, version: Version, body: B) -> Response<B> {
        let mut response = Response::new(body);
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self == Self::Method {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        // The connection is closed: the end of an invalid HTTP/1.1 request may be ambiguous (request smuggling), so
        // nothing is read after it.
        if version < Version::HTTP_2 {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl Serves {
    /// Whether HTTP/1.1 may be chosen by ALPN: gRPC is HTTP/2.
    pub(crate) fn allows_http1(self) -> bool {
        self == Self::Http
    }

    /// Whether a request is a gRPC call by its head, so that its answer ends with trailers.
    pub(crate) fn is_grpc<B>(self, request: &Request<B>) -> bool {
        self == Self::Grpc || has_grpc_content_type(request.headers())
    }

    /// Judges a request by its head.
    pub(crate) fn check<B>(self, request: &Request<B>) -> Result<(), RuleBroken> {
        one_host(self, request)?;
        if self == Self::Http {
            return Ok(());
        }
        if request.method() != Method::POST {
            return Err(RuleBroken::Method);
        }
        if !has_grpc_content_type(request.headers()) {
            return Err(RuleBroken::ContentType);
        }
        Ok(())
    }
}

/// Whether a head names gRPC as its one content type.
pub(crate) fn has_grpc_content_type(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    // With two values, two implementations could disagree on which one counts.
    matches!((values.next(), values.next()), (Some(value), None) if is_grpc(value.as_bytes()))
}

/// `application/grpc`, `application/grpc+…` or either with `;parameters`; not gRPC-Web, which has trailers of its own form.
fn is_grpc(value: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    // Nearly every client.
    if value == GRPC {
        return true;
    }
    let essence = value.split(|octet| *octet == b';').next().unwrap_or_default().trim_ascii_end();
    match essence.split_at_checked(GRPC.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(GRPC) => match rest {
            [] => true,
            [b'+', format @ ..] => !format.is_empty() && format.iter().copied().all(is_token),
            _ => false,
        },
        _ => false,
    }
}

/// An octet of a token: RFC 9110 §5.6.2.
fn is_token(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet)
}

/// Checks that the request names one host, the same in its target and its Host header field. HTTP/1.0 is held to it
/// too: all its clients of today send Host. Over HTTP/2 `:authority` is enough (RFC 9113 §8.3.1), and a gRPC call may
/// do without, since nothing is chosen by it.
fn one_host<B>(serves: Serves, request: &Request<B>) -> Result<(), RuleBroken> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(RuleBroken::TwoHosts);
    }
    let target = request.uri().authority().map(Authority::as_str).map(str::as_bytes);
    if host.is_none() && request.version() < Version::HTTP_2 {
        return Err(RuleBroken::NoHost);
    }
    let Some(host) = host else {
        return match (serves, target) {
            // No routing depends on the authority of a gRPC call.
            (Serves::Grpc, _) => Ok(()),
            (Serves::Http, None) => Err(RuleBroken::NoHost),
            (Serves::Http, Some(target)) => host_and_port(target).map(|_| ()),
        };
    };
    let (host, port) = host_and_port(host.as_bytes())?;
    let (target, target_port) = target.map_or(Ok((host, port)), host_and_port)?;
    if !host.eq_ignore_ascii_case(target) || port != target_port {
        return Err(RuleBroken::HostsDiffer);
    }
    Ok(())
}

/// The port of an authority that names none: 443, since every listener speaks TLS.
const HTTPS: u16 = 443;

/// `HOST` or `HOST:PORT`.
fn host_and_port(text: &[u8]) -> Result<(&[u8], u16), RuleBroken> {
    split_host_and_port(text).ok_or(RuleBroken::InvalidHost)
}

/// The host is a name of letters, digits, `-`, `.`, `_` and `~` (an IPv4 address is one), or an IPv6 address in
/// brackets. User information has no place there (RFC 9110 §4.2.4).
fn split_host_and_port(text: &[u8]) -> Option<(&[u8], u16)> {
    let text = std::str::from_utf8(text).ok()?;
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => {
            let (address, rest) = inner.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (address, rest)
        }
        None => {
            let (name, rest) = text.split_at_checked(text.find(':').unwrap_or(text.len()))?;
            let is_name = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
            (!name.is_empty() && name.bytes().all(is_name)).then_some((name, rest))?
        }
    };
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => HTTPS,
        Some("") => HTTPS,
        // The digits are looked at because `parse` takes a sign too.
        Some(port) if port.bytes().all(|octet| octet.is_ascii_digit()) => port.parse().ok()?,
        _ => return None,
    };
    Some((host.as_bytes(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, method: &str, uri: &str, headers: &[(&'static str, &str)]) -> Request<()> {
        let mut request = Request::builder().version(version).method(method).uri(uri).body(()).unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        request
    }

    fn call(method: &str, content_types: &[&str]) -> Result<(), RuleBroken> {
        let headers: Vec<_> = content_types.iter().map(|value| ("content-type", *value)).collect();
        Serves::Grpc.check(&request(Version::HTTP_2, method, "https://ledger/a.B/C", &headers))
    }

    #[test]
    fn the_content_types_of_grpc_pass_and_nothing_that_looks_like_them() {
        for good in [
            "application/grpc",
            "Application/GRPC",
            "application/grpc+proto",
            "application/grpc+json",
            "application/grpc;charset=utf-8",
            "application/grpc ; charset=utf-8",
            "APPLICATION/gRPC+Proto;a=b",
        ] {
            assert_eq!(call("POST", &[good]), Ok(()), "{good}");
        }
        for bad in [
            "",
            "text/plain",
            "text/plain; application/grpc",
            "text/plain;a=application/grpc",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/json",
            "application",
            "application/grp",
            "application/grpcx",
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/grpc-web-text",
            "application/grpc+",
            "application/grpc+;a=b",
            "application/grpc+a b",
            "application/grpc+proto, text/plain",
            "application/grpc, text/plain",
            "application/grpc/x",
            " application/grpc",
            ";application/grpc",
            "application/grpc\u{e9}",
        ] {
            assert_eq!(call("POST", &[bad]), Err(RuleBroken::ContentType), "{bad}");
        }
    }

    #[test]
    fn no_content_type_and_two_of_them_are_none() {
        assert_eq!(call("POST", &[]), Err(RuleBroken::ContentType));
        for two in [["application/grpc", "text/plain"], ["application/grpc", "application/grpc"]] {
            assert_eq!(call("POST", &two), Err(RuleBroken::ContentType), "{two:?}");
        }
    }

    #[test]
    fn every_method_but_post_is_refused_whatever_its_content_type() {
        for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post", "POSTS", "QUERY"]
        {
            for content_types in [&["application/grpc"][..], &["text/plain"], &[]] {
                assert_eq!(call(method, content_types), Err(RuleBroken::Method), "{method}");
            }
        }
    }

    #[test]
    fn http_1_names_one_host_in_one_header_field_whatever_the_target_says() {
        for version in [Version::HTTP_11, Version::HTTP_10] {
            let check = |target: &str, hosts: &[&str]| {
                let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
                Serves::Http.check(&request(version, "GET", target, &headers))
            };
            assert_eq!(check("/orders", &[]), Err(RuleBroken::NoHost));
            assert_eq!(check("https://shop.example/orders", &[]), Err(RuleBroken::NoHost));
            for two in
                [["shop.example", "shop.example"], ["shop.example", "other.example"], ["", "shop.example"]]
            {
                assert_eq!(check("/orders", &two), Err(RuleBroken::TwoHosts), "{two:?}");
            }
            for good in
                ["shop.example", "SHOP.example:8443", "127.0.0.1:1", "[::1]:65535", "shop_1", "shop:", "a.b."]
            {
                assert_eq!(check("/orders", &[good]), Ok(()), "{good}");
            }
            for bad in [
                "",
                ":443",
                "shop example",
                "shop.example:x",
                "shop.example:+1",
                "shop.example:65536",
                "shop:1:2",
                "me@shop.example",
                "shop.example/orders",
                "shop.example,other.example",
                "shop.example?",
                "[::1",
                "[]",
                "[::1]x",
                "[shop]",
                "[fe80::1%1]",
                "::1",
                "http://shop.example",
                "sh\u{f6}p",
            ] {
                assert_eq!(check("/orders", &[bad]), Err(RuleBroken::InvalidHost), "{bad}");
            }
        }
    }

    #[test]
    fn a_target_that_names_another_host_than_the_header_field_is_refused_in_every_version() {
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            for serves in [Serves::Http, Serves::Grpc] {
                let check = |target: &str, host: &str| {
                    let headers = [("host", host), ("content-type", "application/grpc")];
                    serves.check(&request(version, "POST", target, &headers))
                };
                for host in ["shop.example", "Shop.Example", "shop.example:443", "shop.example:"] {
                    assert_eq!(check("https://shop.example/", host), Ok(()), "{host}");
                }
                assert_eq!(check("https://[::1]:8443/", "[::1]:8443"), Ok(()));
                for host in ["other.example", "shop.example:444", "shop.example.", "xshop.example"] {
                    assert_eq!(check("https://shop.example/", host), Err(RuleBroken::HostsDiffer), "{host}");
                }
                assert_eq!(check("https://me@shop.example/", "shop.example"), Err(RuleBroken::InvalidHost));
            }
        }
    }

    #[test]
    fn over_http_2_the_authority_is_enough_and_only_a_grpc_call_may_do_without() {
        let get = |target: &str, headers: &[(&'static str, &str)]| {
            Serves::Http.check(&request(Version::HTTP_2, "GET", target, headers))
        };
        assert_eq!(get("https://shop.example/", &[]), Ok(()));
        assert_eq!(get("/", &[("host", "shop.example")]), Ok(()));
        assert_eq!(get("/", &[]), Err(RuleBroken::NoHost));
        let grpc = [("content-type", "application/grpc")];
        assert_eq!(Serves::Grpc.check(&request(Version::HTTP_2, "POST", "/a.B/C", &grpc)), Ok(()));
        let two = [("host", "a"), ("host", "a"), ("content-type", "application/grpc")];
        assert_eq!(
            Serves::Grpc.check(&request(Version::HTTP_2, "POST", "/a.B/C", &two)),
            Err(RuleBroken::TwoHosts)
        );
    }

    #[test]
    fn the_answer_says_what_is_allowed_and_ends_a_connection_of_http_1() {
        let answer = RuleBroken::Method.response(Version::HTTP_2, ());
        assert_eq!((answer.status().as_u16(), answer.headers()["allow"].as_bytes()), (405, &b"POST"[..]));
        assert!(answer.headers().get("connection").is_none(), "HTTP/2 has no such field");
        let answer = RuleBroken::ContentType.response(Version::HTTP_2, ());
        assert_eq!((answer.status().as_u16(), answer.headers().get("allow")), (415, None));
        let answer = RuleBroken::TwoHosts.response(Version::HTTP_11, ());
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["connection"].as_bytes()),
            (400, &b"close"[..])
        );
    }
}

//! The configuration of Envoy as a proxy for gRPC.

use std::net::SocketAddr;
use std::path::Path;

use avouch_testkit::ca::id;
use serde_json::{Value, json};

use super::hop::{Hop, Side, write};
use crate::child::Launch;
use crate::error::Error;
use crate::peers::Installed;
use crate::pki::{CALLER, Pki, SERVER};

/// Requests and connections that Envoy is never asked for: its own limits are below the loads.
const MANY: u32 = 1_000_000;

/// Envoy with a configuration in `dir`.
pub(super) fn launch(envoy: &Installed, hop: &Hop<'_>, dir: &Path) -> Result<Launch, Error> {
    let config = write(dir, "envoy.json", &config(hop).to_string())?;
    let launch = Launch::new("Envoy", &envoy.program).arg("--concurrency").arg("1");
    let launch = launch.arg("--disable-hot-restart").arg("--log-level").arg("warning");
    Ok(launch.arg("--config-path").arg(config))
}

fn config(hop: &Hop<'_>) -> Value {
    let chain = json!({ "filters": [connection_manager(hop.side)] });
    let cluster = cluster(hop.upstream);
    let (chain, cluster) = match hop.side {
        Side::Service => (with(chain, "transport_socket", service_tls(hop.pki)), cluster),
        Side::Caller => (chain, with(cluster, "transport_socket", caller_tls(hop.pki))),
    };
    json!({
        "static_resources": {
            "listeners": [{ "name": "in", "address": address(hop.listen), "filter_chains": [chain] }],
            "clusters": [cluster],
        },
    })
}

fn with(mut object: Value, key: &str, value: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
    object
}

fn address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

/// Mutual TLS with clients below the root.
fn service_tls(pki: &Pki) -> Value {
    let validation = json!({ "trusted_ca": { "filename": pki.root() } });
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": true,
            "common_tls_context": tls(pki, SERVER, &validation),
        },
    })
}

/// Mutual TLS with the server below the root that has the server's SPIFFE ID.
fn caller_tls(pki: &Pki) -> Value {
    let server = id(&format!("/{SERVER}"));
    let validation = json!({
        "trusted_ca": { "filename": pki.root() },
        "match_typed_subject_alt_names": [{ "san_type": "URI", "matcher": { "exact": server.as_str() } }],
    });
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": tls(pki, CALLER, &validation),
        },
    })
}

/// TLS 1.3 and HTTP/2, as all others have, with the certificate of `name`.
fn tls(pki: &Pki, name: &str, validation: &Value) -> Value {
    json!({
        "alpn_protocols": ["h2"],
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_3",
            "tls_maximum_protocol_version": "TLSv1_3",
        },
        "tls_certificates": [{
            "certificate_chain": { "filename": pki.chain(name) },
            "private_key": { "filename": pki.key(name) },
        }],
        "validation_context": validation,
    })
}

fn connection_manager(side: Side) -> Value {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
    });
    let filters = match side {
        Side::Service => vec![rbac(), router],
        Side::Caller => vec![router],
    };
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "codec_type": "HTTP2",
            "stat_prefix": "in",
            "route_config": { "virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "next", "timeout": "0s" } }],
            }] },
            "http_filters": filters,
            "common_http_protocol_options": { "idle_timeout": "0s" },
        },
    })
}

/// The caller may call both methods, and nobody else any.
fn rbac() -> Value {
    let method =
        |name: &str| json!({ "url_path": { "path": { "exact": format!("/avouch.bench.v1.Echo/{name}") } } });
    json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": { "action": "ALLOW", "policies": { "caller": {
                "permissions": [method("Unary"), method("Stream")],
                "principals": [{ "authenticated": {
                    "principal_name": { "exact": id(&format!("/{CALLER}")).as_str() },
                } }],
            } } },
        },
    })
}

fn cluster(upstream: SocketAddr) -> Value {
    json!({
        "name": "next",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": "next",
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address(upstream) } }] }],
        },
        "circuit_breakers": { "thresholds": [{
            "max_connections": MANY, "max_pending_requests": MANY, "max_requests": MANY,
        }] },
        "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "common_http_protocol_options": { "idle_timeout": "0s" },
            "explicit_http_config": { "http2_protocol_options": {} },
        } },
    })
}

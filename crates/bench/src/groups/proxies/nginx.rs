//! The configuration of nginx as a proxy for gRPC.
//!
//! It offers no SPIFFE ID to decide by, so the caller is known by the serial number of its certificate, below a root that
//! gives no number twice: as near as it gets. All limits on the age of a connection are out of reach, since a connection
//! that nginx closes fails the calls that begin on it.

use std::path::Path;

use avouch_spiffe::x509::CertificateInfo;

use super::hop::{Hop, Side, write};
use crate::child::Launch;
use crate::error::Error;
use crate::peers::Installed;
use crate::pki::{CALLER, DNS_NAME, Pki, SERVER};

/// nginx with a configuration in `dir`.
pub(super) fn launch(nginx: &Installed, hop: &Hop<'_>, dir: &Path) -> Result<Launch, Error> {
    let config = write(dir, "nginx.conf", &config(hop, dir)?)?;
    let launch = Launch::new("nginx", &nginx.program);
    Ok(launch.arg("-e").arg("stderr").arg("-p").arg(dir).arg("-c").arg(config))
}

fn config(hop: &Hop<'_>, dir: &Path) -> Result<String, Error> {
    let Hop { side, pki, listen, upstream } = *hop;
    let (map, server) = match side {
        Side::Service => (allowed(pki)?, in_front(pki)),
        Side::Caller => (String::new(), beside_caller(pki)),
    };
    let listens = match side {
        Side::Service => "ssl http2",
        Side::Caller => "http2",
    };
    let dir = dir.display();
    // One process, which is all that one worker is; it ends with the run.
    Ok(format!(
        "daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    keepalive_timeout 1d;
    keepalive_requests 1000000000;
    {map}
    upstream next {{
        server {upstream};
        keepalive 4096;
        keepalive_timeout 1d;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {listen} {listens};
        http2_max_concurrent_streams 1024;
        client_header_timeout 1d;
        grpc_read_timeout 1d;
        {server}
    }}
}}
"
    ))
}

fn allowed(pki: &Pki) -> Result<String, Error> {
    let (chain, _) = pki.credentials(CALLER)?;
    let leaf = chain.first().ok_or_else(|| Error::other("the caller has no certificate"))?;
    let info = CertificateInfo::parse(leaf).map_err(|error| Error::other(error.to_string()))?;
    Ok(format!("map $ssl_client_serial $allowed {{ default 0; {} 1; }}", info.serial.to_uppercase()))
}

fn in_front(pki: &Pki) -> String {
    let (chain, key, root) = (pki.chain(SERVER), pki.key(SERVER), pki.root());
    format!(
        "ssl_certificate {};
        ssl_certificate_key {};
        ssl_client_certificate {};
        ssl_verify_client on;
        ssl_verify_depth 3;
        ssl_protocols TLSv1.3;
        if ($allowed = 0) {{ return 403; }}
        error_page 403 = @denied;
        location / {{ grpc_pass grpc://next; }}
        location @denied {{ default_type application/grpc; add_header grpc-status 7; return 204; }}",
        chain.display(),
        key.display(),
        root.display()
    )
}

fn beside_caller(pki: &Pki) -> String {
    let (chain, key, root) = (pki.chain(CALLER), pki.key(CALLER), pki.root());
    format!(
        "grpc_ssl_certificate {};
        grpc_ssl_certificate_key {};
        grpc_ssl_trusted_certificate {};
        grpc_ssl_verify on;
        grpc_ssl_verify_depth 3;
        grpc_ssl_name {DNS_NAME};
        grpc_ssl_protocols TLSv1.3;
        location / {{ grpc_pass grpcs://next; }}",
        chain.display(),
        key.display(),
        root.display()
    )
}

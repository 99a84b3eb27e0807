//! Channels to the services this one calls, by the name they have in the configuration.

use avouch_authz::Methods;
use avouch_identity::{Channel, ChannelBuilder, Identity};
use avouch_telemetry::{ClientLayer, Metrics, TracedClient, Tracing};
use tower_layer::Layer;

use crate::config::UpstreamConfig;
use crate::error::BootError;

/// A channel that gives each call its span, its trace context and its duration; hand it to any generated client.
pub type TracedChannel = TracedClient<Channel>;

/// Opens a channel to `upstream`; the process's `methods` tell which RPCs stream.
pub(crate) fn open(
    upstream: &UpstreamConfig,
    identity: &Identity,
    tracing: &Tracing,
    metrics: &Metrics,
    methods: &Methods,
    configure: impl FnOnce(ChannelBuilder) -> ChannelBuilder,
) -> Result<TracedChannel, BootError> {
    let id = upstream.id.resolve(identity.spiffe_id().trust_domain()).map_err(BootError::UpstreamId)?;
    let mut builder = identity.channel(&upstream.url, id.clone()).methods(methods.iter());
    if let Some(timeout) = upstream.timeout {
        builder = builder.default_timeout(Some(timeout));
    }
    let channel = configure(builder).build().map_err(BootError::Upstream)?;
    let layer = ClientLayer::new(tracing, metrics, methods.iter().map(|method| method.path))
        .address(upstream.host.clone(), upstream.port)
        .peer(id.as_str());
    Ok(layer.layer(channel))
}

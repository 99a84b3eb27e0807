//! Channels to the services this one calls, by the name they have in the configuration.

use avouch_identity::{Channel, ChannelBuilder, Identity};
use avouch_telemetry::{ClientLayer, Metrics, TracedClient, Tracing};
use tower_layer::Layer;

use crate::boot::BootError;
use crate::config::UpstreamConfig;

/// A channel that gives each call its span, its trace context and its duration; hand it to any generated client.
pub type TracedChannel = TracedClient<Channel>;

/// Opens a channel to `upstream`.
pub(crate) fn open(
    upstream: &UpstreamConfig,
    identity: &Identity,
    tracing: &Tracing,
    metrics: &Metrics,
    methods: impl IntoIterator<Item = &'static str>,
    configure: impl FnOnce(ChannelBuilder) -> ChannelBuilder,
) -> Result<TracedChannel, BootError> {
    let mut builder = identity.channel(&upstream.url, upstream.id.clone());
    if let Some(timeout) = upstream.timeout {
        builder = builder.default_timeout(Some(timeout));
    }
    let channel = configure(builder).build().map_err(BootError::Upstream)?;
    let layer = ClientLayer::new(tracing, metrics, methods)
        .address(upstream.host.clone(), upstream.port)
        .peer(upstream.id.as_str());
    Ok(layer.layer(channel))
}

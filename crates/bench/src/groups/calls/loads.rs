//! The loads: how many calls are under way on how many connections, and what they carry.

use crate::bench::Extent;
use crate::table::{Column, Unit, column};

/// Messages of a server stream.
const MESSAGES: u32 = 100;

/// Bytes of a small message.
const SMALL: usize = 128;

/// Bytes of a large message.
const LARGE: usize = 100_000;

/// The columns of unary calls.
const CALLS: &[Column] = &[
    column("calls", Unit::PerSecond),
    column("p50", Unit::Microseconds),
    column("p99", Unit::Microseconds),
    column("p99.9", Unit::Microseconds),
    column("server CPU per call", Unit::Microseconds),
    column("caller CPU per call", Unit::Microseconds),
];

/// The columns of server streams.
const STREAMS: &[Column] = &[
    column("messages", Unit::PerSecond),
    column("stream p50", Unit::Microseconds),
    column("stream p99", Unit::Microseconds),
    column("stream p99.9", Unit::Microseconds),
    column("server CPU per message", Unit::Microseconds),
    column("caller CPU per message", Unit::Microseconds),
];

/// Who is measured under a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variants {
    /// Bare tonic, the library, and a program as it is shipped.
    Basic,
    /// Also what observes calls, and proxies.
    All,
}

/// How calls are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Connections of the caller.
    pub(super) connections: usize,
    /// Calls under way at the same time on each connection.
    pub(super) in_flight: usize,
    /// Bytes of each message, both ways.
    pub(super) payload: usize,
    /// Messages of the answer of each call; none: unary calls.
    pub(super) messages: Option<u32>,
    /// Who is measured.
    pub(super) variants: Variants,
}

/// The loads of a run: one call at a time for the latency, many for the throughput, and large and many messages.
pub(super) fn all(extent: Extent) -> Vec<Load> {
    let load = |connections, in_flight, payload, messages, variants| Load {
        connections,
        in_flight,
        payload,
        messages,
        variants,
    };
    let (all, basic) = (Variants::All, Variants::Basic);
    match extent {
        Extent::Quick => vec![
            load(1, 1, SMALL, None, basic),
            load(8, 64, SMALL, None, all),
            load(8, 16, LARGE, None, basic),
            load(8, 16, SMALL, Some(MESSAGES), basic),
        ],
        Extent::Whole => vec![
            load(1, 1, SMALL, None, all),
            load(1, 16, SMALL, None, basic),
            load(8, 64, SMALL, None, all),
            load(64, 16, SMALL, None, basic),
            load(8, 16, LARGE, None, basic),
            load(8, 16, SMALL, Some(MESSAGES), basic),
        ],
    }
}

impl Load {
    pub(super) fn title(self) -> String {
        let Self { connections, in_flight, .. } = self;
        let what = self.messages.map_or_else(
            || "unary calls".to_owned(),
            |messages| format!("server streams of {messages} messages"),
        );
        let plural = if connections == 1 { "" } else { "s" };
        let payload = match self.payload {
            bytes if bytes >= 1_000 => format!("{} KB", bytes / 1_000),
            bytes => format!("{bytes} B"),
        };
        format!("{what}, {connections} connection{plural} × {in_flight} in flight, {payload}")
    }

    pub(super) fn columns(self) -> &'static [Column] {
        if self.messages.is_some() { STREAMS } else { CALLS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_tell_connections_calls_in_flight_and_messages() {
        let titles: Vec<_> = all(Extent::Quick).into_iter().map(Load::title).collect();
        let wanted = [
            "unary calls, 1 connection × 1 in flight, 128 B",
            "unary calls, 8 connections × 64 in flight, 128 B",
            "unary calls, 8 connections × 16 in flight, 100 KB",
            "server streams of 100 messages, 8 connections × 16 in flight, 128 B",
        ];
        assert_eq!(titles, wanted);
    }
}

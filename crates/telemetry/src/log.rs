//! Log lines: text for people, JSON for machines, both with the `trace_id` and `span_id` of the current OpenTelemetry
//! context. A `decision_id` given as an event field stands beside them.
//!
//! Spans of `tracing` never reach these layers (what a span knows is in the trace), which is what makes an unsampled
//! handler span cost next to nothing. Nothing here escapes secrets: who logs a secret has already lost.

use std::borrow::Cow;
use std::fmt::{self, Debug, Write as _};

use avouch_text::{escape, escape_json, with_causes};
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// `time LEVEL target: message key=value … trace_id=… span_id=…`
#[derive(Debug, Default)]
pub(crate) struct Text;

/// One JSON object a line; event fields stand at the top level.
#[derive(Debug, Default)]
pub(crate) struct Json;

/// Whether all characters are printable ASCII and need no escaping: a cheap check, and true for nearly every line.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|octet| matches!(octet, b' '..=b'~'))
}

/// The ids of the current context, if it has any.
fn current_ids() -> Option<(String, String)> {
    Context::map_current(|cx| ids(cx.span().span_context()))
}

fn ids(context: &SpanContext) -> Option<(String, String)> {
    context.is_valid().then(|| (context.trace_id().to_string(), context.span_id().to_string()))
}

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, cx: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let ansi = out.has_ansi_escapes();
        let (dim, reset) = if ansi { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        let level = *event.metadata().level();
        out.write_str(dim)?;
        SystemTime.format_time(&mut out)?;
        write!(out, "{reset} {}{level:>5}{reset} ", if ansi { colour(level) } else { "" })?;
        write!(out, "{dim}{}:{reset} ", event.metadata().target())?;
        let mut fields = String::with_capacity(256);
        cx.format_fields(Writer::new(&mut fields), event)?;
        out.write_str(&if is_plain(&fields) { Cow::Borrowed(&*fields) } else { escape(&fields).into() })?;
        if let Some((trace, span)) = current_ids() {
            write!(out, " {dim}trace_id={trace} span_id={span}{reset}")?;
        }
        writeln!(out)
    }
}

const fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut line = Line { text: String::with_capacity(256), message: None };
        line.text.push('{');
        line.push("timestamp", &Value::from(time));
        line.push("level", &Value::from(event.metadata().level().as_str()));
        line.push("target", &Value::from(event.metadata().target()));
        event.record(&mut line);
        if let Some(message) = line.message.take() {
            line.push("message", &message);
        }
        if let Some((trace, span)) = current_ids() {
            line.push("trace_id", &Value::from(trace));
            line.push("span_id", &Value::from(span));
        }
        // The line contains names and texts from peers, and people read logs on terminals.
        let text =
            if is_plain(&line.text) { Cow::Borrowed(&*line.text) } else { escape_json(&line.text).into() };
        writeln!(out, "{text}}}")
    }
}

/// A JSON line being written.
struct Line {
    text: String,
    message: Option<Value>,
}

impl Line {
    fn push(&mut self, key: &str, value: &Value) {
        if self.text.len() > 1 {
            self.text.push(',');
        }
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{}:{value}", Value::from(key));
    }

    fn field(&mut self, field: &Field, value: Value) {
        match field.name() {
            "message" => self.message = Some(value),
            // Reserved names keep their meaning: an event's own field of that name gets the prefix `field_`.
            name @ ("timestamp" | "level" | "target" | "trace_id" | "span_id") => {
                self.push(&format!("field_{name}"), &value);
            }
            name => self.push(name, &value),
        }
    }
}

impl Visit for Line {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.field(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, Value::from(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, Value::from(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.field(field, Value::from(with_causes(value).to_string()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.field(field, Value::from(format!("{value:?}")));
    }
}

#[cfg(test)]
mod tests {
    use avouch_testkit::log::Log;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::parse_traceparent;

    fn logged<E>(format: E, work: impl FnOnce()) -> String
    where
        E: FormatEvent<tracing_subscriber::Registry, tracing_subscriber::fmt::format::DefaultFields>
            + Send
            + Sync
            + 'static,
    {
        let log = Log::default();
        let layer =
            tracing_subscriber::fmt::layer().with_ansi(false).event_format(format).with_writer(log.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        log.text()
    }

    fn in_trace(work: impl FnOnce()) {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        let remote = parse_traceparent(parent.as_bytes()).unwrap();
        let _entered = Context::new().with_remote_span_context(remote).attach();
        work();
    }

    #[test]
    fn a_json_line_carries_the_trace_the_decision_and_typed_fields() {
        let text = logged(Json, || {
            in_trace(|| tracing::warn!(decision_id = "dec-1", tries = 3, ok = false, "call \"refused\""));
        });
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["message"], "call \"refused\"");
        assert_eq!(line["decision_id"], "dec-1");
        assert_eq!(line["tries"], 3);
        assert_eq!(line["ok"], false);
        assert_eq!(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(line["span_id"], "00f067aa0ba902b7");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn a_line_outside_of_any_trace_claims_none() {
        let text = logged(Json, || tracing::info!("hello"));
        let line: Value = serde_json::from_str(&text).unwrap();
        assert!(line.get("trace_id").is_none() && line.get("span_id").is_none());
        let text = logged(Text, || tracing::info!("hello"));
        assert!(!text.contains("trace_id"), "{text}");
    }

    #[test]
    fn a_field_cannot_pose_as_one_of_ours() {
        let text = logged(Json, || in_trace(|| tracing::info!(trace_id = "forged", level = "ERROR", "x")));
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["field_trace_id"], "forged");
        assert_eq!(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn a_newline_in_a_field_stays_inside_its_json_line() {
        let text = logged(Json, || tracing::info!(name = "a\nb", "x\ny"));
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn a_line_holds_nothing_that_a_terminal_obeys_and_means_the_same() {
        let hostile = "a\u{9b}2J\u{202e}b\x1b[31m\u{7f}\u{e0041}c\u{200b} größer";
        let log = || tracing::info!(peer = hostile, shown = %hostile, "met {hostile}");
        let json = logged(Json, log);
        let text = logged(Text, log);
        for line in [&json, &text] {
            assert!(line.trim_end().chars().all(avouch_text::is_printable), "{line:?}");
            assert!(line.contains("größer"), "{line:?}");
        }
        let line: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((line["peer"].as_str(), line["shown"].as_str()), (Some(hostile), Some(hostile)));
        assert!(text.contains("\\u{9b}2J\\u{202e}b"), "{text:?}");
    }

    #[test]
    fn a_line_end_in_a_text_begins_no_line_of_its_own() {
        let forged = "x\n2026-01-01T00:00:00Z  INFO avouch: forged";
        assert_eq!(logged(Text, || tracing::info!(name = %forged, "{forged}")).lines().count(), 1);
    }

    #[test]
    fn an_error_field_shows_its_chain() {
        let error = crate::TelemetryError::Metrics(prometheus::Error::Msg("why".into()));
        let text = logged(Json, || {
            tracing::error!(error = &error as &(dyn std::error::Error + 'static), "failed");
        });
        assert!(text.contains("why"), "{text}");
    }

    #[test]
    fn text_names_level_target_message_fields_and_trace() {
        let text = logged(Text, || in_trace(|| tracing::info!(decision_id = "dec-1", "hello")));
        assert!(text.contains(" INFO avouch_telemetry::log::tests: hello decision_id=\"dec-1\""), "{text}");
        assert!(
            text.trim_end().ends_with("trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7"),
            "{text}"
        );
    }
}

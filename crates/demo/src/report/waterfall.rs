//! One order's trace as a waterfall: who did what, when, called by whom, and what was decided.

use crate::facts::{Facts, Span, Trace};

use super::{esc, micros, percent, push};

pub(super) fn draw(out: &mut String, facts: &Facts) {
    let Some(trace) = &facts.trace else {
        out.push_str("<p>No trace was recorded in this run.</p>");
        return;
    };
    push(
        out,
        format_args!(
            "<p>One connected trace over {} processes, {}, from the storefront’s start and its certificate to its \
             first order: <code>{}</code></p><ol class=\"spans\">",
            trace.services.len(),
            micros(trace.lasted_us),
            esc(&trace.trace_id)
        ),
    );
    for span in &trace.spans {
        row(out, trace, span);
    }
    out.push_str("</ol>");
}

fn row(out: &mut String, trace: &Trace, span: &Span) {
    let whole = trace.lasted_us.max(1);
    let denied = span.decision.as_deref().is_some_and(|decision| decision != "allow");
    push(
        out,
        format_args!(
            "<li class=\"{}{}\"><div class=\"what\" style=\"padding-left:{}px\"><b>{}</b> {}",
            kind_class(&span.kind),
            if denied { " denied" } else { "" },
            span.depth.min(12) * 9,
            esc(&span.service),
            esc(short(&span.name))
        ),
    );
    if let Some(decision) = &span.decision {
        push(
            out,
            format_args!(
                "<small>{} → <span class=\"{}\">{}</span></small>",
                esc(span.caller.as_deref().unwrap_or("no identity")),
                if denied { "deny" } else { "allow" },
                esc(decision)
            ),
        );
    }
    let end = (span.start_us + span.lasted_us).min(whole);
    push(
        out,
        format_args!(
            "</div><div class=\"bar\"><i style=\"left:{};width:{}\"></i>",
            percent(span.start_us, whole),
            percent(span.lasted_us, whole)
        ),
    );
    // Beside the bar where there is room: on its right, else on its left; a span that fills the row goes without.
    let (at, side) = if end * 100 <= whole * 80 { (end, "right") } else { (span.start_us, "left") };
    if side == "right" || at * 100 >= whole * 15 {
        push(
            out,
            format_args!(
                "<span class=\"{side}\" style=\"left:{}\">{}</span>",
                percent(at, whole),
                esc(&micros(span.lasted_us))
            ),
        );
    }
    out.push_str("</div></li>");
}

fn kind_class(kind: &str) -> &'static str {
    match kind {
        "server" => "server",
        "client" => "client",
        _ => "internal",
    }
}

/// `Service/Method` of `package.Service/Method`.
pub(crate) fn short(name: &str) -> &str {
    let name = name.strip_prefix('/').unwrap_or(name);
    match name.split_once('/') {
        Some((service, _)) => service.rfind('.').and_then(|dot| name.get(dot + 1..)).unwrap_or(name),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn a_method_loses_its_package_and_other_names_stay() {
        assert_eq!(short("/market.orders.v1.Orders/PlaceOrder"), "Orders/PlaceOrder");
        assert_eq!(short("market.orders.v1.Orders/PlaceOrder"), "Orders/PlaceOrder");
        assert_eq!(short("hold stock v1.2"), "hold stock v1.2");
        assert_eq!(short(""), "");
    }
}

//! The parts of the page that are text and tables.

use crate::facts::{Attack, AttackKind, Check, Edge, Facts, Outcome, Refusal, Rpc};

use super::{esc, grouped, money, push};

pub(super) fn head(out: &mut String, facts: &Facts) {
    let (class, verdict) =
        if facts.held() { ("held", "all of it held") } else { ("failed", "it did not hold") };
    let services = facts.parties.iter().filter(|p| p.kind == crate::facts::PartyKind::Service).count();
    push(
        out,
        format_args!(
            "<h1>avouch demo</h1><p><span class=\"verdict {class}\" id=\"verdict\">{verdict}</span>\
             An issuer and {services} services in <code>spiffe://{}</code>, each with certificates that live {} s. {}</p>",
            esc(&facts.trust_domain),
            facts.svid_seconds,
            esc(&facts.started_at.replace('T', " ").replace('Z', " UTC"))
        ),
    );
}

pub(super) fn tiles(out: &mut String, facts: &Facts) {
    let t = &facts.totals;
    let sales =
        t.sales.iter().map(|(currency, minor)| money(currency, *minor)).collect::<Vec<_>>().join(", ");
    let tile = |out: &mut String, number: String, class: &str, text: String| {
        push(out, format_args!("<li><b class=\"{class}\">{number}</b><span>{}</span></li>", esc(&text)));
    };
    tile(out, grouped(t.orders), "", format!("orders, {} completed", grouped(t.completed)));
    tile(out, grouped(t.calls), "", "calls between services, authenticated and authorized".into());
    let (class, text) =
        (if t.failed_calls == 0 { "zero" } else { "alarm" }, "calls failed outside the kill windows");
    tile(out, grouped(t.failed_calls), class, text.into());
    tile(out, grouped(t.renewals), "", format!("renewals, {} recovery", grouped(t.recoveries)));
    let held = facts.attacks.iter().filter(|attack| attack.held()).count();
    let (class, text) = if held == facts.attacks.len() {
        ("", "attacks, each refused for its reason".to_owned())
    } else {
        ("alarm", format!("of {} attacks held off", facts.attacks.len()))
    };
    tile(out, grouped(u64::try_from(held).unwrap_or(u64::MAX)), class, text);
    tile(out, grouped(t.postings), "", format!("ledger postings: {sales}"));
}

pub(super) fn edges(out: &mut String, facts: &Facts) {
    open(out, "cards", &["From", "To", "RPCs", "Calls", "TLS", "Key exchange", "Verdict"]);
    for edge in &facts.edges {
        out.push_str("<tr>");
        cell(out, "From", &party(facts, &edge.caller));
        cell(out, "To", &party(facts, &edge.callee));
        cell(out, "RPCs", &edge.rpcs.join(", "));
        cell(out, "Calls", &grouped(edge.calls));
        cell(out, "TLS", edge.tls.as_deref().map_or("–", tls_version));
        cell(out, "Key exchange", edge.group.as_deref().unwrap_or("–"));
        verdict(out, edge);
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table>");
}

fn verdict(out: &mut String, edge: &Edge) {
    match &edge.refused {
        Some(reason) => {
            push(
                out,
                format_args!("<td data-label=\"Verdict\"><span class=\"reason\">{}</span></td>", esc(reason)),
            );
        }
        None => out.push_str("<td data-label=\"Verdict\"><span class=\"allow\">allowed</span></td>"),
    }
}

/// `TLS 1.3` of rustls' `TLSv1_3` or OpenSSL's `TLSv1.3`.
pub(super) fn tls_version(version: &str) -> &str {
    match version {
        "TLSv1.3" | "TLSv1_3" => "TLS 1.3",
        "TLSv1.2" | "TLSv1_2" => "TLS 1.2",
        other => other,
    }
}

fn party(facts: &Facts, name: &str) -> String {
    let id = facts.party(name).and_then(|party| party.spiffe_id.as_deref());
    id.map_or_else(|| name.to_owned(), str::to_owned)
}

pub(super) fn refusals(out: &mut String, facts: &Facts) {
    if facts.refusals.is_empty() {
        out.push_str("<p>Nothing hostile was tried in this run.</p>");
        return;
    }
    open(out, "cards", &["Who", "To", "Tried with", "Caller was told", "Server’s record", "As expected"]);
    for refusal in &facts.refusals {
        refusal_row(out, refusal);
    }
    out.push_str("</tbody></table>");
    if let Some(explained) = &facts.explained {
        let (told, command) = (esc(&explained.told), esc(&explained.command));
        let answer = esc(&explained.answer);
        push(out, format_args!("<pre class=\"explained\">{told}\n\n$ {command}\n{answer}</pre>"));
    }
}

fn refusal_row(out: &mut String, refusal: &Refusal) {
    out.push_str("<tr class=\"refusal\">");
    cell(out, "Who", &refusal.caller);
    cell(out, "To", &refusal.callee);
    cell(out, "Tried with", &refusal.attempt);
    reason(out, "Was told", refusal.caller_reason.as_deref().unwrap_or_default(), &refusal.answer);
    let record = refusal.record.as_ref().map(|record| format!(" · {record}")).unwrap_or_default();
    let detail = format!("{}{record}", refusal.detail);
    reason(out, "Record", refusal.server_reason.as_deref().unwrap_or("–"), &detail);
    let seen = [&refusal.caller_reason, &refusal.server_reason];
    let as_expected = seen.iter().any(|reason| reason.as_deref() == Some(refusal.expected.as_str()));
    expected(out, as_expected);
}

/// The attack list, kind by kind, folded up: what matters of each is that its line is green.
pub(super) fn attacks(out: &mut String, facts: &Facts) {
    for (kind, title) in KINDS {
        let of_kind: Vec<&Attack> = facts.attacks.iter().filter(|attack| attack.kind == *kind).collect();
        if of_kind.is_empty() {
            continue;
        }
        let held = of_kind.iter().filter(|attack| attack.held()).count();
        let class = if held == of_kind.len() { "held" } else { "failed" };
        push(
            out,
            format_args!(
                "<details class=\"attacks\"><summary><span class=\"pill {class}\">{held} of {}</span> {}</summary>",
                of_kind.len(),
                esc(title)
            ),
        );
        open(out, "cards", &["Attack", "At", "Attacker saw", "Record of who refused", "As expected"]);
        of_kind.into_iter().for_each(|attack| attack_row(out, attack));
        out.push_str("</tbody></table></details>");
    }
}

const KINDS: &[(AttackKind, &str)] = &[
    (AttackKind::Handshake, "peers without a certificate or a common protocol"),
    (AttackKind::Certificate, "forged certificates, shown to a service"),
    (AttackKind::Server, "forged certificates, shown to a client by a false server"),
    (AttackKind::Call, "calls by a real identity without the right"),
    (AttackKind::Issuance, "attempts at somebody else’s certificate"),
];

fn attack_row(out: &mut String, attack: &Attack) {
    out.push_str("<tr class=\"attack\">");
    cell(out, "Attack", &attack.name);
    cell(out, "At", &attack.target);
    cell(out, "Saw", &attack.answer);
    reason(out, "Record", attack.recorded.as_deref().unwrap_or("–"), &attack.detail);
    expected(out, attack.held());
}

/// A cell with a reason and what is said with it.
fn reason(out: &mut String, label: &str, reason: &str, said: &str) {
    push(
        out,
        format_args!(
            "<td data-label=\"{}\"><span><span class=\"reason\">{}</span> <span class=\"muted\">{}</span></span></td>",
            esc(label),
            esc(reason),
            esc(said)
        ),
    );
}

fn expected(out: &mut String, as_expected: bool) {
    let (class, word) = if as_expected { ("held", "yes") } else { ("failed", "no") };
    push(
        out,
        format_args!(
            "<td data-label=\"Expected\"><span><span class=\"pill {class}\">{word}</span></span></td></tr>"
        ),
    );
}

pub(super) fn matrix(out: &mut String, facts: &Facts) {
    let roles: Vec<&String> = facts.matrix.roles.keys().collect();
    out.push_str("<table class=\"matrix\"><thead><tr><th>RPC</th>");
    for role in &roles {
        push(out, format_args!("<th class=\"role\" scope=\"col\"><span>{}</span></th>", esc(role)));
    }
    out.push_str("</tr></thead><tbody>");
    let mut service = "";
    for rpc in &facts.matrix.rpcs {
        let (current, method) = split(&rpc.path);
        if current != service {
            service = current;
            push(
                out,
                format_args!(
                    "<tr><th class=\"service\" colspan=\"{}\">{}</th></tr>",
                    roles.len() + 1,
                    esc(service)
                ),
            );
        }
        push(out, format_args!("<tr data-rpc=\"{}\"><td class=\"rpc\">{}</td>", esc(&rpc.path), esc(method)));
        marks(out, rpc, &roles);
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table><dl class=\"holders\">");
    for (role, holders) in &facts.matrix.roles {
        push(out, format_args!("<dt>{}</dt><dd>{}</dd>", esc(role), esc(&holders.join(" "))));
    }
    out.push_str("</dl>");
}

fn marks(out: &mut String, rpc: &Rpc, roles: &[&String]) {
    if rpc.rule != "roles" {
        let words = match rpc.rule.as_str() {
            "any_identity" => "any verified identity",
            "unauthenticated" => "anybody: proves itself in the request",
            "local_admin" => "only over the local socket",
            other => other,
        };
        push(out, format_args!("<td class=\"else\" colspan=\"{}\">{}</td>", roles.len().max(1), esc(words)));
        return;
    }
    for role in roles {
        let may = rpc.roles.contains(role);
        push(
            out,
            format_args!(
                "<td class=\"may{}\">{}</td>",
                if may { " yes" } else { "" },
                if may { "✓" } else { "·" }
            ),
        );
    }
}

/// Service and method of `/package.Service/Method`.
fn split(path: &str) -> (&str, &str) {
    path.trim_start_matches('/').split_once('/').unwrap_or(("", path))
}

pub(super) fn checks(out: &mut String, facts: &Facts) {
    out.push_str("<ul class=\"checks\">");
    for Check { claim, outcome, detail } in &facts.checks {
        let class = match outcome {
            Outcome::Held => "held",
            Outcome::Failed => "failed",
            Outcome::Skipped => "skipped",
        };
        push(
            out,
            format_args!(
                "<li class=\"check\"><span class=\"pill {class}\">{class}</span><span>{}</span>\
                 <span class=\"detail muted\">{}</span></li>",
                esc(claim),
                esc(detail)
            ),
        );
    }
    out.push_str("</ul>");
}

/// Lines that were no orders: part of every run's orders, on purpose.
pub(super) fn problems(out: &mut String, facts: &Facts) {
    if facts.problems.is_empty() {
        return;
    }
    push(
        out,
        format_args!("<details><summary>{} lines that became no order</summary>", facts.problems.len()),
    );
    open(out, "cards", &["Line", "Kind", "Why"]);
    for problem in &facts.problems {
        out.push_str("<tr>");
        cell(out, "Line", &problem.line.to_string());
        cell(out, "Kind", &problem.kind);
        cell(out, "Why", &problem.reason);
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></details>");
}

pub(super) fn next(out: &mut String, facts: &Facts) {
    out.push_str("<ul class=\"commands\">");
    for command in &facts.next {
        push(out, format_args!("<li><code>{}</code></li>", esc(command)));
    }
    out.push_str("</ul>");
}

pub(super) fn foot(out: &mut String, facts: &Facts) {
    push(
        out,
        format_args!(
            "avouch {} · the run took {}.{} s · drawn from <code>facts.json</code> beside this file",
            esc(&facts.version),
            facts.lasted_ms / 1_000,
            facts.lasted_ms % 1_000 / 100
        ),
    );
}

fn open(out: &mut String, class: &str, columns: &[&str]) {
    push(out, format_args!("<table class=\"{class}\"><thead><tr>"));
    for column in columns {
        push(out, format_args!("<th scope=\"col\">{}</th>", esc(column)));
    }
    out.push_str("</tr></thead><tbody>");
}

fn cell(out: &mut String, label: &str, text: &str) {
    push(out, format_args!("<td data-label=\"{}\"><span>{}</span></td>", esc(label), esc(text)));
}

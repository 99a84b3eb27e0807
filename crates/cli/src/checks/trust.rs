//! Checks of trust: whether all processes trust the same roots, and receive updates of them.

use super::check::{Category, Check};
use super::finding::{Finding, Level};
use super::view::{Process, View, shown};
use avouch_api::observe::v1::TrustBundle;
use std::collections::BTreeSet;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "AV-301",
        category: Category::Trust,
        title: "every process has the issuer's bundle",
        meaning: "A process judges its peers by another generation of the trust bundle than the issuer gives out. If \
                  the roots differ too, it refuses those who have new certificates as CERT_UNTRUSTED, or goes on \
                  trusting a root that was taken away.",
        remedy: "A new bundle comes over the trust stream within a second; see AV-302 if that is down. With bundle \
                 files, write the new bundle: `avouch bundle show --pem`.",
        hint: "see whether its trust stream is up; with bundle files: `avouch bundle show --pem`",
        causes: &["AV-303", "AV-302", "AV-101"],
        judge: generation,
    },
    Check {
        id: "AV-302",
        category: Category::Trust,
        title: "every process follows the trust stream",
        meaning: "The stream from the issuer is down. Calls go on; but the process does not hear of new roots, and \
                  the issuer does not know where to find it. The stream is opened again by itself.",
        remedy: "See whether the issuer can be reached from there. The process's log has the error of each attempt.",
        hint: "see in the process's log why it cannot reach the issuer",
        causes: &["AV-101", "AV-102", "AV-201", "AV-601"],
        judge: stream,
    },
    Check {
        id: "AV-303",
        category: Category::Trust,
        title: "the issuer stands for what workloads trust",
        meaning: "No root of the process's own bundle is one of the issuer's: it belongs to another installation of \
                  the same trust domain, or the issuer was set up anew. Nobody of the others can be called from there, \
                  and it cannot renew.",
        remedy: "If the issuer was set up anew, restore its data (docs/operations/backup.md), or let every workload \
                 join again. If the process belongs elsewhere, correct the issuer's address in its configuration.",
        hint: "compare `avouch bundle show` with the issuer that the process was meant for",
        causes: &["AV-101"],
        judge: same_root,
    },
];

fn of_issuer<'a>(view: &View<'a>) -> Option<&'a TrustBundle> {
    view.issuer_process()?.status.bundle.as_ref()
}

fn prints(bundle: &TrustBundle) -> BTreeSet<&str> {
    bundle.roots.iter().map(|root| root.fingerprint.as_str()).collect()
}

/// The process's bundle, if it is of the issuer's trust domain: of a federated one the issuer holds another.
fn of_same_domain<'a>(process: &Process<'a>, issuer: &TrustBundle) -> Option<&'a TrustBundle> {
    let bundle = process.status.bundle.as_ref()?;
    (bundle.trust_domain == issuer.trust_domain).then_some(bundle)
}

fn generation(view: &View<'_>) -> Vec<Finding> {
    let Some(issuer) = of_issuer(view) else { return Vec::new() };
    view.each_workload(|process| {
        let bundle = of_same_domain(process, issuer)?;
        let roots_differ = prints(bundle) != prints(issuer);
        let generations = format!("generation {}, the issuer has {}", bundle.sequence, issuer.sequence);
        Some(match (bundle.sequence == issuer.sequence, roots_differ) {
            (true, false) => (Level::Good, String::new()),
            (false, false) => (Level::Warning, format!("{generations}; the roots are the same")),
            (_, true) => (Level::Bad, format!("{generations}; the roots differ")),
        })
    })
}

fn stream(view: &View<'_>) -> Vec<Finding> {
    view.each_workload(|process| {
        Some(match process.status.trust_stream.as_str() {
            "up" => (Level::Good, String::new()),
            "none" => (Level::Note, "it takes its bundle from files".to_owned()),
            "" => return None,
            other => (Level::Warning, format!("it is {}", shown(other))),
        })
    })
}

fn same_root(view: &View<'_>) -> Vec<Finding> {
    let Some(issuer) = of_issuer(view) else { return Vec::new() };
    view.each_workload(|process| {
        let bundle = of_same_domain(process, issuer)?;
        Some(match prints(bundle).is_disjoint(&prints(issuer)) {
            false => (Level::Good, String::new()),
            true => (Level::Bad, "it shares no root with the issuer".to_owned()),
        })
    })
}

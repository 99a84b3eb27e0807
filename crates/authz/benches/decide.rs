//! How long a decision takes. Callers rotate, so that a look-up is not always the same cache line.
//!
//! Goals: ≤ 50 ns under a typical policy, ≤ 100 ns with 10,000 rules.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark that cannot be set up has nothing to measure"
)]

use std::cell::Cell;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use avouch_authz::contract::{Contract, MethodRule, Rule};
use avouch_authz::{Caller, Certificate, Methods, Policy, PolicyHandle, decide};
use avouch_spiffe::SpiffeId;
use divan::{Bencher, black_box};

/// Prints the allocations of each case; an allowed call has none.
#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

const fn rpc(path: &'static str, rule: Rule) -> MethodRule {
    MethodRule { path, rule, client_streaming: false, server_streaming: false }
}

const CONTRACT: Contract = Contract {
    name: "market",
    methods: &[
        rpc("/market.orders.v1.Orders/PlaceOrder", Rule::Roles(&["order-placer"])),
        rpc("/market.orders.v1.Orders/GetOrder", Rule::Roles(&["order-placer", "auditor"])),
        rpc("/market.inventory.v1.Inventory/Reserve", Rule::Roles(&["stock-keeper"])),
        rpc("/market.inventory.v1.Inventory/Release", Rule::Roles(&["stock-keeper"])),
        rpc("/market.payments.v1.Payments/Charge", Rule::Roles(&["charger"])),
        rpc("/market.ledger.v1.Ledger/Post", Rule::Roles(&["ledger-writer"])),
        rpc("/market.ledger.v1.Ledger/Tail", Rule::Roles(&["ledger-reader"])),
        rpc("/market.reports.v1.Reports/Summary", Rule::Roles(&["auditor"])),
    ],
};

const POST: &str = "/market.ledger.v1.Ledger/Post";
const TYPICAL: &str = r#"[roles]
order-placer = ["spiffe://market.example/storefront"]
stock-keeper = ["spiffe://market.example/orders"]
charger = ["spiffe://market.example/orders"]
ledger-writer = ["spiffe://market.example/payments", "spiffe://market.example/batch/*"]
ledger-reader = ["spiffe://market.example/reports"]
auditor = ["spiffe://market.example/auditors/*"]
[[deny]]
caller = "spiffe://market.example/staff/mallory"
methods = ["/market.ledger.v1.Ledger/*"]
"#;

/// 9,000 exact IDs, 500 prefixes at three depths, 500 denies.
fn large() -> String {
    let mut text = String::from("[roles]\nledger-writer = [\n");
    for i in 0..9000 {
        let _ = writeln!(text, "  \"spiffe://market.example/ns/team-{}/service-{i}\",", i % 97);
    }
    for i in 0..500 {
        let depth = ["", "/eu", "/eu/west"][i % 3];
        let _ = writeln!(text, "  \"spiffe://market.example/region{depth}/zone-{i}/*\",");
    }
    text += "]\n";
    for i in 0..500 {
        let _ = write!(
            text,
            "[[deny]]\ncaller = \"spiffe://market.example/ns/team-0/service-{}\"\n\
             methods = [\"/market.ledger.v1.Ledger/Tail\"]\n",
            i * 97
        );
    }
    text
}

fn policy(text: &str) -> Policy {
    Policy::parse("policy.toml", text, &Methods::new(&[&CONTRACT]).unwrap()).unwrap()
}

fn ids(make: impl Fn(usize) -> String) -> Vec<SpiffeId> {
    (0..64).map(|i| make(i).parse().unwrap()).collect()
}

/// Times `decide` for each of `ids` in turn, after checking that the answer is the expected one.
fn run(bencher: Bencher<'_, '_>, policy: &Policy, ids: &[SpiffeId], allowed: bool) {
    assert!(ids.iter().all(|id| decide(policy, Caller::Peer(id), POST).is_ok() == allowed));
    let next = Cell::new(0_usize);
    bencher.bench_local(|| {
        let i = next.get();
        next.set(i.wrapping_add(1));
        decide(black_box(policy), Caller::Peer(&ids[i % ids.len()]), black_box(POST))
    });
}

#[divan::bench(sample_count = 200, sample_size = 1000)]
fn typical_exact(bencher: Bencher<'_, '_>) {
    run(bencher, &policy(TYPICAL), &ids(|_| "spiffe://market.example/payments".into()), true);
}

#[divan::bench(sample_count = 200, sample_size = 1000)]
fn typical_prefix(bencher: Bencher<'_, '_>) {
    run(bencher, &policy(TYPICAL), &ids(|i| format!("spiffe://market.example/batch/job-{i}")), true);
}

#[divan::bench(sample_count = 200, sample_size = 1000)]
fn typical_refused(bencher: Bencher<'_, '_>) {
    run(bencher, &policy(TYPICAL), &ids(|i| format!("spiffe://market.example/orders-{i}")), false);
}

#[divan::bench(sample_count = 200, sample_size = 1000)]
fn rules_10000_exact(bencher: Bencher<'_, '_>) {
    let ids = ids(|i| format!("spiffe://market.example/ns/team-{}/service-{}", i * 140 % 97, i * 140));
    run(bencher, &policy(&large()), &ids, true);
}

#[divan::bench(sample_count = 200, sample_size = 1000)]
fn rules_10000_prefix(bencher: Bencher<'_, '_>) {
    let ids = ids(|i| format!("spiffe://market.example/region/eu/west/zone-{}/job-1", i * 3 + 2));
    run(bencher, &policy(&large()), &ids, true);
}

#[divan::bench(sample_count = 200, sample_size = 1000)]
fn typical_through_the_reloadable_handle(bencher: Bencher<'_, '_>) {
    let handle = PolicyHandle::fixed(policy(TYPICAL));
    let id: SpiffeId = "spiffe://market.example/payments".parse().unwrap();
    bencher.bench_local(|| black_box(&handle).decide(Caller::Peer(&id), black_box(POST)));
}

/// A caller that holds its role on two conditions, under a policy in which every call looks at them.
#[divan::bench(sample_count = 200, sample_size = 1000)]
fn typical_on_conditions(bencher: Bencher<'_, '_>) {
    let pin = "0".repeat(64);
    let bound = format!(
        "ledger-writer = [{{ caller = \"spiffe://market.example/payments\", max_certificate_age = \"1h\", \
         spki_sha256 = {pin:?} }}]"
    );
    let text = TYPICAL.replace(
        "ledger-writer = [\"spiffe://market.example/payments\", \"spiffe://market.example/batch/*\"]",
        &bound,
    );
    let policy = policy(&text);
    let id: SpiffeId = "spiffe://market.example/payments".parse().unwrap();
    let certificate = Certificate {
        not_before: Some(SystemTime::UNIX_EPOCH),
        now: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(60)),
        spki_sha256: Some(&pin),
        ..Certificate::default()
    };
    let caller = Caller::Certified(&id, certificate);
    assert!(policy.asks_for_the_time() && decide(&policy, caller, POST).is_ok());
    bencher.bench_local(|| decide(black_box(&policy), black_box(caller), black_box(POST)));
}

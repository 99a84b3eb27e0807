//! Policy files. A file that loads decides every call as a naive reading of it does; one that does not says where, and
//! the place is inside the file.

use std::sync::OnceLock;

use avouch_authz::contract::{Contract, MethodRule, Rule};
use avouch_authz::{Caller, Methods, Policy, PolicyError, decide};
use avouch_spiffe::SpiffeId;
use toml::{Table, Value};

use super::Outcome;

pub(super) const WORDS: &[&str] = &[
    "[roles]\n",
    "[[deny]]\n",
    "[deny]\n",
    "staff = ",
    "ledger-writer = ",
    "auditor = ",
    "debug = ",
    "caller = ",
    "methods = ",
    "[",
    "]",
    "\"",
    "'",
    ",",
    "\n",
    "=",
    "#",
    "\\u002a",
    "\"\"\"",
    "{",
    "}",
    ".",
    "roles.",
    "\"spiffe://shop.example/staff/*\"",
    "\"spiffe://shop.example/staff\"",
    "\"spiffe://shop.example/*\"",
    "\"spiffe://shop.example/payments\"",
    "\"/shop.v1.Ledger/Post\"",
    "\"/shop.v1.Ledger/*\"",
    "\"/*\"",
];

const fn rpc(path: &'static str, rule: Rule) -> MethodRule {
    MethodRule { path, rule, client_streaming: false, server_streaming: false }
}

const CONTRACT: Contract = Contract {
    name: "shop",
    methods: &[
        rpc("/shop.v1.Ledger/Post", Rule::Roles(&["ledger-writer"])),
        rpc("/shop.v1.Ledger/Read", Rule::Roles(&["auditor", "staff"])),
        rpc("/shop.v1.LedgerX/Read", Rule::Roles(&["staff"])),
        rpc("/shop.v1.Shop/Look", Rule::AnyIdentity),
        rpc("/shop.v1.Shop/Knock", Rule::Unauthenticated),
        rpc("/shop.v1.Admin/Close", Rule::LocalAdmin),
    ],
};

/// Callers that every policy is asked about, near misses of one another.
const CALLERS: &[&str] = &[
    "spiffe://shop.example/staff",
    "spiffe://shop.example/staff/olga",
    "spiffe://shop.example/staffer",
    "spiffe://shop.example/payments",
    "spiffe://shop.example/payments/eu",
    "spiffe://shop.example.evil/payments",
    "spiffe://audit.example/x/y/z",
];

#[expect(clippy::expect_used, reason = "the contract is a constant")]
fn methods() -> &'static Methods {
    static METHODS: OnceLock<Methods> = OnceLock::new();
    METHODS.get_or_init(|| Methods::new(&[&CONTRACT]).expect("a contract"))
}

pub(super) fn run(data: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(data) else { return Outcome::Refused };
    let parsed = Policy::parse("policy.toml", text, methods());
    match &parsed {
        Ok(policy) => agrees(policy, text),
        Err(error) => names_places(error, text),
    }
    Outcome::from(&parsed)
}

fn names_places(error: &PolicyError, text: &str) {
    let lines: Vec<&str> = text.split('\n').collect();
    let mut last = 0;
    assert!(!error.problems().is_empty());
    for problem in error.problems() {
        let line = problem.place.line.unwrap_or_default();
        assert!(line >= last && (1..=lines.len()).contains(&line), "{problem} of {} lines", lines.len());
        last = line;
        let length = lines.get(line - 1).map_or(0, |line| line.chars().count());
        let column = problem.place.column.unwrap_or(1);
        assert!((1..=length + 1).contains(&column), "{problem} in a line of {length} characters");
    }
}

/// Who holds what, and whom is denied what, as the file says and nobody optimised.
struct Naive {
    roles: Vec<(String, String)>,
    denies: Vec<(String, Option<Vec<String>>)>,
}

impl Naive {
    /// `None` for a file with anything else in it.
    fn read(text: &str) -> Option<Self> {
        let mut file: Table = toml::from_str(text).ok()?;
        let strings = |value: &Value| -> Option<Vec<String>> {
            value.as_array()?.iter().map(|value| Some(value.as_str()?.to_owned())).collect()
        };
        let mut naive = Self { roles: Vec::new(), denies: Vec::new() };
        if let Some(roles) = file.remove("roles") {
            for (role, callers) in roles.as_table()? {
                naive.roles.extend(strings(callers)?.into_iter().map(|caller| (role.clone(), caller)));
            }
        }
        if let Some(denies) = file.remove("deny") {
            for deny in denies.as_array()? {
                let mut deny = deny.as_table()?.clone();
                let caller = deny.remove("caller")?.as_str()?.to_owned();
                let methods = deny.remove("methods").map(|methods| strings(&methods));
                naive.denies.push((caller, methods.map_or(Some(None), |methods| methods.map(Some))?));
                deny.is_empty().then_some(())?;
            }
        }
        file.is_empty().then_some(naive)
    }

    fn denies(&self, id: &str, path: &str) -> bool {
        self.denies.iter().any(|(caller, methods)| {
            let all = methods.is_none();
            let named = methods.iter().flatten().any(|method| match method.strip_suffix('*') {
                Some(service) => path.starts_with(service),
                None => method == path,
            });
            means(caller, id) && (all || named)
        })
    }

    fn allows(&self, id: &str, rule: &MethodRule) -> bool {
        let held = |role: &str| self.roles.iter().any(|(name, caller)| name == role && means(caller, id));
        let allowed = match rule.rule {
            Rule::Roles(names) => names.iter().any(|name| held(name)),
            Rule::AnyIdentity | Rule::Unauthenticated => true,
            Rule::LocalAdmin => false,
        };
        allowed && !self.denies(id, rule.path)
    }
}

/// Segment by segment.
fn means(pattern: &str, id: &str) -> bool {
    let (pattern, id): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), id.split('/').collect());
    match pattern.split_last() {
        Some((&"*", parent)) => id.len() > parent.len() && id.starts_with(parent),
        _ => id == pattern,
    }
}

fn agrees(policy: &Policy, text: &str) {
    let naive = Naive::read(text);
    assert!(naive.is_some(), "a policy with something that nobody has read:\n{text}");
    let Some(naive) = naive else { return };
    for caller in callers(&naive) {
        let Ok(id) = caller.parse::<SpiffeId>() else { continue };
        for rule in methods().iter() {
            let decision = decide(policy, Caller::Peer(&id), rule.path);
            assert_eq!(decision.is_ok(), naive.allows(&caller, rule), "{caller} {} under\n{text}", rule.path);
        }
    }
    for rule in methods().iter() {
        let anonymous = decide(policy, Caller::Anonymous, rule.path).is_ok();
        assert_eq!(anonymous, rule.rule == Rule::Unauthenticated, "{}", rule.path);
        let admin = decide(policy, Caller::LocalAdmin, rule.path).is_ok();
        assert_eq!(admin, matches!(rule.rule, Rule::Unauthenticated | Rule::LocalAdmin), "{}", rule.path);
    }
}

/// The fixed ones, and for each pattern of the file: itself, its parent, below it, beside it.
fn callers(naive: &Naive) -> Vec<String> {
    let patterns =
        naive.roles.iter().map(|(_, caller)| caller).chain(naive.denies.iter().map(|(caller, _)| caller));
    let near = patterns.take(16).flat_map(|pattern| {
        let stem = pattern.strip_suffix("/*").unwrap_or(pattern);
        [
            stem.to_owned(),
            format!("{stem}/x"),
            format!("{stem}/x/y"),
            format!("{stem}x"),
            format!("{stem}x/y"),
        ]
    });
    CALLERS.iter().map(|caller| (*caller).to_owned()).chain(near).collect()
}

//! Policy files. A file that loads decides every call as a naive reading of it does; one that does not says where, and
//! the place is inside the file.

use std::sync::OnceLock;

use avouch_authz::contract::{Contract, MethodRule, Rule};
use avouch_authz::{Caller, Methods, Policy, PolicyError, PolicyFault, decide};
use avouch_spiffe::SpiffeId;
use toml::{Table, Value};

use super::Outcome;

pub(super) const WORDS: &[&str] = &[
    "[roles]\n",
    "\u{feff}",
    "[[deny]]\n",
    "[deny]\n",
    "staff = ",
    "ledger-writer = ",
    "auditor = ",
    "debug = ",
    "caller = ",
    "methods = ",
    "mode = \"audit\"\n",
    "mode = \"enforce\"\n",
    "[[audit]]\n",
    "[[test]]\n",
    "method = ",
    "expect = \"allow\"\n",
    "expect = \"deny\"\n",
    "reason = \"ROLE_MISSING\"\n",
    "max_certificate_age = \"1h\"",
    "certificate_older_than = \"1h\"\n",
    "spki_sha256 = ",
    "issuer_key_id = \"0011223344556677\"",
    "serial = \"0a\"",
    "certificate_age = \"1m\"\n",
    "\"anonymous\"",
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
    let parsed = Policy::load("policy.toml", text, methods());
    match &parsed {
        Ok(policy) => {
            assert!(!says_nothing(text), "no policy was taken for one:\n{text}");
            agrees(policy, text);
        }
        Err(error) => names_places(error, text),
    }
    Outcome::from(&parsed)
}

/// Whether nothing stands below any header, or there is none.
fn says_nothing(text: &str) -> bool {
    let Ok(file) = toml::from_str::<Table>(text) else { return false };
    file.iter().all(|(key, value)| match value {
        Value::Table(table) => table.is_empty(),
        Value::Array(array) => array.is_empty(),
        value => key == "mode" && is_audit(value) != Some(true),
    })
}

fn names_places(error: &PolicyError, text: &str) {
    let lines: Vec<&str> = text.split('\n').collect();
    let mut last = 0;
    assert!(!error.problems().is_empty());
    let nothing = error.problems().iter().any(|problem| matches!(problem.fault, PolicyFault::NoPolicy(_)));
    assert!(!nothing || says_nothing(text), "a policy was taken for none:\n{text}");
    for problem in error.problems() {
        let line = problem.location.line.unwrap_or_default();
        assert!(line >= last && (1..=lines.len()).contains(&line), "{problem} of {} lines", lines.len());
        last = line;
        let length = lines.get(line - 1).map_or(0, |line| line.chars().count());
        let column = problem.location.column.unwrap_or(1);
        assert!((1..=length + 1).contains(&column), "{problem} in a line of {length} characters");
    }
}

/// Who holds what, whom is denied what and what is only recorded, as the file says and nobody optimised. Callers are asked
/// about without their certificate: what depends on it is never held, and always denied.
#[derive(Default)]
struct Naive {
    roles: Vec<(String, String)>,
    denies: Vec<Deny>,
    audit_all: bool,
    /// Callers and methods; none: all.
    audits: Vec<(Option<String>, Option<Vec<String>>)>,
    tests: Vec<Test>,
}

struct Deny {
    caller: String,
    methods: Option<Vec<String>>,
    audit: bool,
}

struct Test {
    caller: String,
    method: String,
    allowed: bool,
}

const CONDITIONS: &[&str] = &[
    "max_certificate_age",
    "certificate_older_than",
    "spki_sha256",
    "cert_sha256",
    "issuer_key_id",
    "serial",
];

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Allowed,
    Audited,
    Refused,
}

impl Answer {
    fn of(policy: &Policy, caller: Caller<'_>, path: &str) -> Self {
        match decide(policy, caller, path) {
            Ok(permit) if permit.audited().is_some() => Self::Audited,
            Ok(_) => Self::Allowed,
            Err(_) => Self::Refused,
        }
    }
}

impl Naive {
    /// `None` for a file with anything else in it.
    fn read(text: &str) -> Option<Self> {
        let mut file: Table = toml::from_str(text).ok()?;
        let mut naive = Self::default();
        if let Some(mode) = file.remove("mode") {
            naive.audit_all = is_audit(&mode)?;
        }
        if let Some(roles) = file.remove("roles") {
            for (role, callers) in roles.as_table()? {
                for caller in callers.as_array()? {
                    naive.roles.extend(unconditional(caller)?.map(|caller| (role.clone(), caller)));
                }
            }
        }
        for deny in tables(&mut file, "deny")? {
            let deny = naive.read_deny(deny)?;
            naive.denies.push(deny);
        }
        for mut audit in tables(&mut file, "audit")? {
            let caller = audit.remove("caller").map(|caller| Some(caller.as_str()?.to_owned()));
            let methods = audit.remove("methods").map(|methods| strings(&methods));
            naive.audits.push((flat(caller)?, flat(methods)?));
            audit.is_empty().then_some(())?;
        }
        for test in tables(&mut file, "test")? {
            naive.tests.extend(read_test(test)?);
        }
        file.is_empty().then_some(naive)
    }

    fn read_deny(&self, mut deny: Table) -> Option<Deny> {
        let caller = deny.remove("caller")?.as_str()?.to_owned();
        let methods = flat(deny.remove("methods").map(|methods| strings(&methods)))?;
        let audit = deny.remove("mode").map_or(Some(self.audit_all), |mode| is_audit(&mode))?;
        deny.keys().all(|key| CONDITIONS.contains(&key.as_str())).then_some(())?;
        Some(Deny { caller, methods, audit })
    }

    fn denies(&self, id: &str, path: &str, audit: bool) -> bool {
        self.denies.iter().any(|deny| {
            deny.audit == audit && means(&deny.caller, id) && names(deny.methods.as_deref(), path)
        })
    }

    fn answer(&self, id: &str, rule: &MethodRule) -> Answer {
        if self.denies(id, rule.path, false) {
            return Answer::Refused;
        }
        let held = |role: &str| self.roles.iter().any(|(name, caller)| name == role && means(caller, id));
        let by_contract = match rule.rule {
            Rule::Roles(names) if names.iter().any(|name| held(name)) => Answer::Allowed,
            Rule::Roles(names) if !names.contains(&"debug") && self.audits(id, rule.path) => Answer::Audited,
            Rule::AnyIdentity | Rule::Unauthenticated => Answer::Allowed,
            Rule::Roles(_) | Rule::LocalAdmin => Answer::Refused,
        };
        let recorded = by_contract == Answer::Allowed && self.denies(id, rule.path, true);
        if recorded { Answer::Audited } else { by_contract }
    }

    fn audits(&self, id: &str, path: &str) -> bool {
        let about = |(caller, methods): &(Option<String>, Option<Vec<String>>)| {
            caller.as_ref().is_none_or(|caller| means(caller, id)) && names(methods.as_deref(), path)
        };
        self.audit_all || self.audits.iter().any(about)
    }

    /// A policy that was taken has no test that fails.
    fn tests_hold(&self, text: &str) {
        for test in &self.tests {
            let Some(rule) = methods().iter().find(|rule| rule.path == test.method) else { continue };
            let allowed = match test.caller.as_str() {
                "anonymous" => rule.rule == Rule::Unauthenticated,
                "local-admin" => matches!(rule.rule, Rule::Unauthenticated | Rule::LocalAdmin),
                id => self.answer(id, rule) == Answer::Allowed,
            };
            assert_eq!(allowed, test.allowed, "{} {} under\n{text}", test.caller, test.method);
        }
    }
}

fn is_audit(mode: &Value) -> Option<bool> {
    match mode.as_str()? {
        "audit" => Some(true),
        "enforce" => Some(false),
        _ => None,
    }
}

fn strings(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|value| Some(value.as_str()?.to_owned())).collect()
}

/// An absent value is fine, a wrong one is not.
#[expect(clippy::option_option, reason = "absent, wrong and right are three things")]
fn flat<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(None) => None,
        Some(Some(value)) => Some(Some(value)),
    }
}

fn tables(file: &mut Table, key: &str) -> Option<Vec<Table>> {
    let Some(value) = file.remove(key) else { return Some(Vec::new()) };
    value.as_array()?.iter().map(|table| table.as_table().cloned()).collect()
}

/// The caller of a role if it holds it on no condition; the outer `None` for what is no caller.
#[expect(clippy::option_option, reason = "no caller and a conditional one are two things")]
fn unconditional(value: &Value) -> Option<Option<String>> {
    if let Some(caller) = value.as_str() {
        return Some(Some(caller.to_owned()));
    }
    let mut table = value.as_table()?.clone();
    let caller = table.remove("caller")?.as_str()?.to_owned();
    table.keys().all(|key| CONDITIONS.contains(&key.as_str())).then_some(())?;
    Some(table.is_empty().then_some(caller))
}

/// A test that does not say anything of a certificate; the outer `None` for what is no test.
#[expect(clippy::option_option, reason = "no test and one about a certificate are two things")]
fn read_test(mut test: Table) -> Option<Option<Test>> {
    let caller = test.remove("caller")?.as_str()?.to_owned();
    let method = test.remove("method")?.as_str()?.to_owned();
    let allowed = match test.remove("expect")?.as_str()? {
        "allow" => true,
        "deny" => false,
        _ => return None,
    };
    test.remove("reason");
    let known = |key: &String| key == "certificate_age" || CONDITIONS.contains(&key.as_str());
    test.keys().all(known).then_some(())?;
    Some(test.is_empty().then_some(Test { caller, method, allowed }))
}

fn names(methods: Option<&[String]>, path: &str) -> bool {
    methods.is_none_or(|methods| {
        methods.iter().any(|method| match method.strip_suffix('*') {
            Some(service) => path.starts_with(service),
            None => method == path,
        })
    })
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
    naive.tests_hold(text);
    for caller in callers(&naive) {
        let Ok(id) = caller.parse::<SpiffeId>() else { continue };
        for rule in methods().iter() {
            let answer = Answer::of(policy, Caller::Peer(&id), rule.path);
            assert_eq!(answer, naive.answer(&caller, rule), "{caller} {} under\n{text}", rule.path);
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
        naive.roles.iter().map(|(_, caller)| caller).chain(naive.denies.iter().map(|deny| &deny.caller));
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

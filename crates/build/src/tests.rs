//! The whole build in a temporary folder, once per way to fail and once per way to succeed.

use std::fs;
use std::path::Path;

use prost_reflect::DescriptorPool;
use tempfile::TempDir;

use super::*;

const HEAD: &str = "syntax = \"proto3\";\npackage shop.v1;\nimport \"avouch/authz/v1/authz.proto\";\n\
                    message Empty {}\n";

struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::create_dir_all(dir.path().join("out")).unwrap();
        Self { dir }
    }

    /// A service `Shop` of the given RPC lines, in `shop.proto`, with the option imported.
    fn shop(rpcs: &str) -> Self {
        Self::new(&[("shop.proto", &format!("{HEAD}service Shop {{\n{rpcs}\n}}\n"))])
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn builder(&self) -> Builder {
        let mut builder = configure();
        builder.out_dir(self.path().join("out")).contract_name("shop");
        builder
    }

    fn compile(&self) -> Result<(), Error> {
        self.builder().compile(&[self.path().join("shop.proto")], &[self.path()])
    }

    fn problems(&self) -> Vec<RuleProblem> {
        match self.compile().unwrap_err() {
            Error::Rules(problems) => problems,
            other => panic!("{other:?}"),
        }
    }

    fn written(&self, name: &str) -> String {
        fs::read_to_string(self.path().join("out").join(name)).unwrap()
    }
}

fn rpc(name: &str, rule: &str) -> String {
    format!("rpc {name}(Empty) returns (Empty) {{ option (avouch.authz.v1.rule) = {{ {rule} }}; }}\n")
}

#[test]
fn every_kind_of_rule_reaches_the_contract_and_the_code_is_written() {
    let rpcs = [
        rpc("Sell", "roles: [\"seller\", \"owner\"]"),
        rpc("Look", "any_identity: true"),
        rpc("Knock", "unauthenticated: true"),
        rpc("Close", "local_admin: true"),
        "rpc Tail(Empty) returns (stream Empty) { option (avouch.authz.v1.rule).roles = \"owner\"; }"
            .to_owned(),
    ];
    let bench = Bench::shop(&rpcs.concat());
    bench.compile().unwrap();

    let contract = bench.written("contract.rs");
    assert!(contract.contains("pub const CONTRACT: ::avouch_authz::contract::Contract ="), "{contract}");
    assert!(contract.contains("name: \"shop\""), "{contract}");
    let flat = contract.split_whitespace().collect::<Vec<_>>().join(" ");
    for (path, rule, server_streaming) in [
        ("Sell", "Roles(&[\"seller\", \"owner\"])", false),
        ("Look", "AnyIdentity", false),
        ("Knock", "Unauthenticated", false),
        ("Close", "LocalAdmin", false),
        ("Tail", "Roles(&[\"owner\"])", true),
    ] {
        let row = format!(
            "path: \"/shop.v1.Shop/{path}\", rule: ::avouch_authz::contract::Rule::{rule}, \
             client_streaming: false, server_streaming: {server_streaming},"
        );
        assert!(flat.contains(&row), "{row} not in {flat}");
    }
    let code = bench.written("shop.v1.rs");
    assert!(code.contains("pub mod shop_server"), "{code}");
    assert!(code.contains("pub mod shop_client"), "{code}");
    assert!(!code.contains("tonic::transport"), "a client must not connect by itself");
    let files: Vec<_> =
        fs::read_dir(bench.path().join("out")).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(files.len(), 3, "code, contract and descriptors, nothing of the imports: {files:?}");
}

#[test]
fn the_descriptor_set_keeps_the_rules_for_reflection() {
    let bench = Bench::shop(&rpc("Sell", "roles: [\"seller\"]"));
    bench.compile().unwrap();
    let bytes = fs::read(bench.path().join("out/descriptor.bin")).unwrap();
    let pool = DescriptorPool::decode(bytes.as_slice()).unwrap();
    let option = pool.get_extension_by_name("avouch.authz.v1.rule").unwrap();
    let method = pool.get_service_by_name("shop.v1.Shop").unwrap().methods().next().unwrap();
    assert!(method.options().has_extension(&option));
}

#[test]
fn an_rpc_without_a_rule_is_named_with_file_line_service_and_the_fix() {
    let bench = Bench::shop(&format!("{}rpc Buy(Empty) returns (Empty);", rpc("Sell", "any_identity: true")));
    let problems = bench.problems();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].fault, RuleFault::Missing);
    let text = problems[0].to_string();
    assert!(text.contains("shop.proto:7: service shop.v1.Shop, rpc Buy"), "{text}");
    assert!(text.contains("option (avouch.authz.v1.rule) = { roles: "), "{text}");
}

#[test]
fn nothing_is_written_when_a_rule_is_missing() {
    let bench = Bench::shop(&format!("{}rpc Buy(Empty) returns (Empty);", rpc("Sell", "any_identity: true")));
    bench.compile().unwrap_err();
    assert_eq!(fs::read_dir(bench.path().join("out")).unwrap().count(), 0);
}

#[test]
fn all_missing_rules_are_reported_at_once() {
    let bench = Bench::shop(&format!(
        "{}rpc Buy(Empty) returns (Empty);\nrpc Steal(Empty) returns (Empty);",
        rpc("Sell", "any_identity: true")
    ));
    assert_eq!(bench.problems().len(), 2);
}

#[test]
fn a_rule_of_two_kinds_is_refused() {
    let bench = Bench::shop(&rpc("Sell", "any_identity: true unauthenticated: true"));
    assert_eq!(bench.problems()[0].fault, RuleFault::Several(vec!["any_identity", "unauthenticated"]));
}

#[test]
fn an_empty_rule_and_a_false_one_are_refused() {
    for rule in ["", "any_identity: false", "roles: []"] {
        assert_eq!(Bench::shop(&rpc("Sell", rule)).problems()[0].fault, RuleFault::Empty, "{rule}");
    }
}

#[test]
fn a_malformed_role_name_is_refused() {
    let bench = Bench::shop(&rpc("Sell", "roles: [\"Seller\"]"));
    assert_eq!(bench.problems()[0].fault, RuleFault::RoleName("Seller".into()));
}

#[test]
fn rpcs_without_any_rule_and_without_the_import_get_told_what_to_import() {
    let text = "syntax = \"proto3\";\npackage shop.v1;\nmessage Empty {}\n\
                service Shop { rpc Sell(Empty) returns (Empty); }\n";
    let error = Bench::new(&[("shop.proto", text)]).compile().unwrap_err();
    assert!(
        matches!(&error, Error::NoRules { rpcs: 1, first } if first == "/shop.v1.Shop/Sell"),
        "{error:?}"
    );
    assert!(error.to_string().contains("import \"avouch/authz/v1/authz.proto\""), "{error}");
}

#[test]
fn options_lost_on_the_way_through_prost_types_are_an_error_of_their_own() {
    let bench = Bench::shop(&rpc("Sell", "any_identity: true"));
    let compiled = source::compile(&[bench.path().join("shop.proto")], &[bench.path()]).unwrap();
    let lossy = protox::compile([bench.path().join("shop.proto")], [bench.path(), &authz_include()]).unwrap();
    let pool = DescriptorPool::from_file_descriptor_set(lossy).unwrap();
    let error = Contract::collect(&pool, &compiled, None).unwrap_err();
    assert!(matches!(error, Error::RulesLost { rpcs: 1, .. }), "{error:?}");
    assert!(error.to_string().contains("options were lost"), "{error}");
}

fn authz_include() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto")
}

#[test]
fn a_package_without_rpcs_compiles_to_an_empty_contract() {
    let bench = Bench::new(&[("shop.proto", HEAD)]);
    bench.compile().unwrap();
    assert!(bench.written("contract.rs").contains("methods: &[\n    ],"));
}

#[test]
fn a_rules_file_stands_in_for_protos_without_options() {
    let text = "syntax = \"proto3\";\npackage shop.v1;\nmessage Empty {}\n\
                service Shop { rpc Sell(Empty) returns (Empty); }\n";
    let rules = "[rules]\n\"/shop.v1.Shop/Sell\" = { roles = [\"seller\"] }\n";
    let bench = Bench::new(&[("shop.proto", text), ("rules.toml", rules)]);
    bench
        .builder()
        .rules_file(bench.path().join("rules.toml"))
        .compile(&[bench.path().join("shop.proto")], &[bench.path()])
        .unwrap();
    assert!(bench.written("contract.rs").contains("Roles(&[\"seller\"])"));
}

#[test]
fn a_rules_file_may_neither_contradict_the_proto_nor_name_what_does_not_exist() {
    let bench = Bench::shop(&rpc("Sell", "any_identity: true"));
    let rules = "[rules]\n\"/shop.v1.Shop/Sell\" = { any_identity = true }\n\
                 \"/shop.v1.Shop/Sel\" = { any_identity = true }\n";
    fs::write(bench.path().join("rules.toml"), rules).unwrap();
    let error = bench
        .builder()
        .rules_file(bench.path().join("rules.toml"))
        .compile(&[bench.path().join("shop.proto")], &[bench.path()])
        .unwrap_err();
    let Error::Rules(problems) = error else { panic!("{error:?}") };
    assert!(
        matches!(&problems[0].fault, RuleFault::Both(location) if location.line == Some(2)),
        "{problems:?}"
    );
    assert!(problems[1].to_string().contains("did you mean \"/shop.v1.Shop/Sell\"?"), "{}", problems[1]);
}

#[test]
fn a_missing_rules_file_is_an_error() {
    let bench = Bench::shop(&rpc("Sell", "any_identity: true"));
    let error = bench
        .builder()
        .rules_file(bench.path().join("absent.toml"))
        .compile(&[bench.path().join("shop.proto")], &[bench.path()])
        .unwrap_err();
    assert!(matches!(error, Error::RulesFileUnreadable { .. }), "{error:?}");
}

#[test]
fn rpcs_of_imported_packages_need_no_rule_and_without_one_stay_out_of_the_contract() {
    let foreign = "syntax = \"proto3\";\npackage foreign.v1;\nmessage Thing {}\n\
                   service Store { rpc Get(Thing) returns (Thing); }\n";
    let shop = format!(
        "{HEAD}import \"foreign.proto\";\nmessage Box {{ foreign.v1.Thing thing = 1; }}\n\
         service Shop {{ {} }}\n",
        rpc("Sell", "any_identity: true")
    );
    let bench = Bench::new(&[("shop.proto", &shop), ("foreign.proto", foreign)]);
    bench.compile().unwrap();
    assert!(!bench.written("contract.rs").contains("foreign"));
    assert!(bench.written("foreign.v1.rs").contains("pub struct Thing"));
}

#[test]
fn a_syntax_error_names_file_line_and_column() {
    let error = Bench::new(&[("shop.proto", "syntax = \"proto3\";\nmessage {\n")]).compile().unwrap_err();
    assert!(matches!(&error, Error::Proto(text) if text.contains("shop.proto:2:9")), "{error:?}");
}

#[test]
fn no_protos_and_a_file_outside_the_includes_are_errors() {
    let bench = Bench::shop(&rpc("Sell", "any_identity: true"));
    let none: &[&str] = &[];
    assert!(matches!(bench.builder().compile(none, &["."]), Err(Error::NoProtos)));
    let outside = bench.builder().compile(&["/nowhere/shop.proto"], &[bench.path()]);
    assert!(matches!(outside, Err(Error::Proto(_))), "{outside:?}");
}

#[test]
fn a_copy_of_the_option_in_the_users_folder_cannot_change_its_meaning() {
    let bench = Bench::shop(&rpc("Sell", "any_identity: true"));
    let fake = bench.path().join("avouch/authz/v1/authz.proto");
    fs::create_dir_all(fake.parent().unwrap()).unwrap();
    fs::write(fake, "syntax = \"proto3\"; package avouch.authz.v1;").unwrap();
    bench.compile().unwrap();
    assert!(bench.written("contract.rs").contains("AnyIdentity"));
}

#[test]
fn well_known_types_map_to_prost_types() {
    let shop = format!(
        "{HEAD}import \"google/protobuf/timestamp.proto\";\n\
         message Sale {{ google.protobuf.Timestamp at = 1; }}\n"
    );
    let bench = Bench::new(&[("shop.proto", &shop)]);
    bench.compile().unwrap();
    assert!(bench.written("shop.v1.rs").contains("::prost_types::Timestamp"));
}

#[test]
fn the_debug_form_that_cargo_prints_reads_like_the_display_form() {
    let error = Bench::shop("rpc Buy(Empty) returns (Empty);").compile().unwrap_err();
    assert_eq!(format!("{error:?}"), error.to_string());
}

#[test]
fn the_rules_of_protos_can_be_read_without_generating_anything() {
    let bench =
        Bench::shop(&[rpc("Sell", "roles: [\"seller\"]"), rpc("Knock", "unauthenticated: true")].concat());
    let declared = rules_of_protos(&[bench.path().join("shop.proto")], &[bench.path()], None).unwrap();
    let found: Vec<_> = declared.iter().map(|rpc| (rpc.path.as_str(), rpc.rule.clone())).collect();
    assert_eq!(
        found,
        [
            ("/shop.v1.Shop/Knock", Rule::Unauthenticated),
            ("/shop.v1.Shop/Sell", Rule::Roles(vec!["seller".to_owned()])),
        ]
    );
    assert!(fs::read_dir(bench.path().join("out")).unwrap().next().is_none());
}

#[test]
fn the_rules_in_descriptors_are_those_of_the_protos_they_were_made_of() {
    let bench =
        Bench::shop(&[rpc("Sell", "roles: [\"seller\"]"), rpc("Look", "any_identity: true")].concat());
    bench.compile().unwrap();
    let encoded = fs::read(bench.path().join("out/descriptor.bin")).unwrap();
    let declared = rules_of_protos(&[bench.path().join("shop.proto")], &[bench.path()], None).unwrap();
    assert_eq!(rules_of_descriptors(&encoded).unwrap(), declared);
}

#[test]
fn descriptors_without_rules_with_an_incomplete_package_or_of_something_else_are_refused() {
    let unruled = "rpc Bare(Empty) returns (Empty);\n";
    let encoded = |rpcs: &str| {
        let bench = Bench::shop(rpcs);
        source::compile(&[bench.path().join("shop.proto")], &[bench.path()]).unwrap().encoded
    };
    assert!(matches!(rules_of_descriptors(&encoded(unruled)), Err(Error::RulesLost { .. })));
    let half = format!("{unruled}{}", rpc("Look", "any_identity: true"));
    assert!(
        matches!(rules_of_descriptors(&encoded(&half)), Err(Error::Rules(problems)) if problems.len() == 1)
    );
    assert!(matches!(rules_of_descriptors(b"\xff\xff"), Err(Error::Descriptor(_))));
}

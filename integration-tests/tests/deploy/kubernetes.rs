//! Manifests for Kubernetes: kubectl renders them, the published schemas accept them, and they keep pods from what they
//! have no business with. No cluster is asked.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests and their helpers")]

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::compose::{SERVICES, assert_as_in_the_demo, assert_configured, calls, configuration};

const OVERLAYS: [&str; 2] = ["demo", "production"];

/// Whose schemas the documents have to meet: the oldest version that is supported, and the newest that is known.
const VERSIONS: [&str; 2] = ["1.25.0", "1.37.0"];

/// What there is, and nothing that gives a pod power over the cluster.
const KINDS: [&str; 6] =
    ["ConfigMap", "Namespace", "NetworkPolicy", "PodDisruptionBudget", "Service", "StatefulSet"];

fn folder() -> PathBuf {
    crate::deploy().join("kubernetes")
}

fn tools() -> PathBuf {
    crate::deploy().join("../target/tools/kubernetes/bin")
}

/// Every kubectl with a kustomize that is not older than the fields in use: those before 1.21 are.
fn kubectls() -> Vec<PathBuf> {
    let recent = |program: &PathBuf| {
        let output = Command::new(program).args(["version", "--client", "--output", "json"]).output().ok();
        let version: Value = serde_json::from_slice(&output?.stdout).ok()?;
        let minor =
            version["clientVersion"]["gitVersion"].as_str()?.split('.').nth(1)?.parse::<u32>().ok()?;
        (minor >= 21).then_some(())
    };
    let found = [tools().join("kubectl"), PathBuf::from("kubectl")].into_iter();
    let found: Vec<_> = found.filter(|program| recent(program).is_some()).collect();
    if found.is_empty() {
        eprintln!("!! SKIPPED: no kubectl of 1.21 or later on this machine, the manifests were not rendered");
    }
    found
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn render(kubectl: &Path, overlay: &str) -> String {
    let output = Command::new(kubectl).arg("kustomize").arg(folder().join("overlays").join(overlay)).output();
    let output = output.unwrap();
    let warnings = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && warnings.is_empty(), "{}: {}", kubectl.display(), text(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn documents(rendered: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(rendered).unwrap()
}

/// Runs `test` for the documents of each overlay.
fn each_overlay(test: impl Fn(&str, &[Value])) {
    if let Some(kubectl) = kubectls().first() {
        OVERLAYS.iter().for_each(|overlay| test(overlay, &documents(&render(kubectl, overlay))));
    }
}

fn of_kind<'a>(documents: &'a [Value], kind: &'a str) -> BTreeMap<&'a str, &'a Value> {
    let found = documents.iter().filter(|document| document["kind"] == kind);
    found.map(|document| (document["metadata"]["name"].as_str().unwrap(), document)).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn labels(name: &str) -> Value {
    json!({ "app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "market" })
}

fn workloads() -> BTreeSet<&'static str> {
    SERVICES.into_iter().chain(["issuer"]).collect()
}

#[test]
fn every_kubectl_there_is_renders_the_same() {
    for overlay in OVERLAYS {
        let rendered: Vec<_> =
            kubectls().iter().map(|kubectl| documents(&render(kubectl, overlay))).collect();
        assert!(rendered.windows(2).all(|pair| pair[0] == pair[1]), "{overlay}");
    }
}

#[test]
fn the_published_schemas_accept_every_document() {
    let validator = tools().join("kubernetes-validate");
    if !validator.is_file() {
        eprintln!(
            "!! SKIPPED: no kubernetes-validate under target/tools, no document was compared with its schema"
        );
        return;
    }
    let Some(kubectl) = kubectls().into_iter().next() else { return };
    let temp = tempfile::tempdir().unwrap();
    for overlay in OVERLAYS {
        let file = temp.path().join(overlay);
        let rendered = render(&kubectl, overlay);
        std::fs::write(&file, &rendered).unwrap();
        for version in VERSIONS {
            let mut validate = Command::new(&validator);
            let output =
                validate.args(["--strict", "--kubernetes-version", version]).arg(&file).output().unwrap();
            assert!(output.status.success(), "{overlay}, {version}: {}", text(&output));
        }
        // It does read what it is given.
        std::fs::write(&file, rendered.replace("serviceName:", "serviceNmae:")).unwrap();
        assert!(!Command::new(&validator).arg("--strict").arg(&file).output().unwrap().status.success());
    }
}

#[test]
fn nothing_gives_a_pod_power_over_the_cluster() {
    each_overlay(|overlay, documents| {
        let kinds: BTreeSet<_> =
            documents.iter().map(|document| document["kind"].as_str().unwrap()).collect();
        assert!(kinds.is_subset(&KINDS.into()), "{overlay}: {kinds:?}");
        let namespaces = of_kind(documents, "Namespace");
        let (name, namespace) = namespaces.first_key_value().unwrap();
        for mode in ["enforce", "audit", "warn"] {
            let label = format!("pod-security.kubernetes.io/{mode}");
            assert_eq!(namespace["metadata"]["labels"][label], "restricted", "{overlay}");
        }
        for document in documents.iter().filter(|document| document["kind"] != "Namespace") {
            assert_eq!(
                document["metadata"]["namespace"], *name,
                "{overlay}: {}",
                document["metadata"]["name"]
            );
        }
        assert_eq!(of_kind(documents, "StatefulSet").into_keys().collect::<BTreeSet<_>>(), workloads());
    });
}

#[test]
fn every_pod_is_restricted() {
    each_overlay(|overlay, documents| {
        for (name, set) in of_kind(documents, "StatefulSet") {
            let at = format!("{overlay}: {name}");
            let pod = &set["spec"]["template"]["spec"];
            let wanted = json!({
                "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
                "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": { "type": "RuntimeDefault" },
            });
            assert_eq!(pod["securityContext"], wanted, "{at}");
            assert_eq!(pod["automountServiceAccountToken"], false, "{at}");
            assert_eq!(pod["enableServiceLinks"], false, "{at}");
            for power in
                ["hostNetwork", "hostPID", "hostIPC", "hostUsers", "serviceAccountName", "initContainers"]
            {
                assert!(pod[power].is_null(), "{at}: {power}");
            }
            let [container] = list(&pod["containers"]) else { panic!("{at}: not one container") };
            let wanted = json!({
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
            });
            assert_eq!(container["securityContext"], wanted, "{at}");
            for bound in ["/requests/cpu", "/requests/memory", "/limits/memory"] {
                assert!(container["resources"].pointer(bound).is_some(), "{at}: {bound}");
            }
            for volume in list(&pod["volumes"]) {
                let kinds = ["configMap", "secret", "emptyDir"];
                assert!(kinds.iter().any(|kind| volume[kind].is_object()), "{at}: {volume}");
                assert!(volume["emptyDir"].is_null() || volume["emptyDir"]["medium"] == "Memory", "{at}");
            }
        }
    });
}

/// The names of the workloads that a list of peers selects; anything but a plain selector is none of ours.
fn peers(rule: &Value, side: &str) -> Vec<String> {
    let peers = list(&rule[side]).iter().map(|peer| {
        let name = peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"].as_str().unwrap().to_owned();
        assert_eq!(*peer, json!({ "podSelector": { "matchLabels": labels(&name) } }));
        name
    });
    peers.collect()
}

#[test]
fn pods_reach_one_another_exactly_where_the_market_calls_and_where_operators_ask() {
    each_overlay(|overlay, documents| {
        let mut wanted = calls();
        for name in SERVICES.map(str::to_owned) {
            wanted.insert((name.clone(), "issuer".to_owned()));
            // By `avouch`, run in the issuer's pod.
            wanted.insert(("issuer".to_owned(), name));
        }
        let (mut let_out, mut let_in) = (BTreeSet::new(), BTreeSet::new());
        let mut policies = of_kind(documents, "NetworkPolicy");

        let all = policies.remove("default-deny").unwrap();
        assert_eq!(
            all["spec"],
            json!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"] }),
            "{overlay}"
        );
        let dns = &policies.remove("dns").unwrap()["spec"];
        assert_eq!((&dns["policyTypes"], &dns["ingress"]), (&json!(["Egress"]), &Value::Null));
        let asking = json!({
            "matchExpressions": [{ "key": "app.kubernetes.io/name", "operator": "NotIn", "values": ["issuer"] }],
        });
        assert_eq!(dns["podSelector"], asking, "{overlay}: pods are asked by their addresses");
        let [rule] = list(&dns["egress"]) else { panic!("not one rule for DNS") };
        assert!(list(&rule["ports"]).iter().all(|port| port["port"] == 53), "{rule}");
        assert_eq!(list(&rule["to"]).len(), 1, "{rule}");

        assert_eq!(policies.keys().copied().collect::<BTreeSet<_>>(), workloads(), "{overlay}");
        for (name, policy) in policies {
            let spec = &policy["spec"];
            assert_eq!(spec["podSelector"], json!({ "matchLabels": labels(name) }), "{overlay}: {name}");
            assert_eq!(spec["policyTypes"], json!(["Ingress", "Egress"]), "{overlay}: {name}");
            let grpc = json!([{ "protocol": "TCP", "port": 7000 }]);
            for rule in list(&spec["egress"]) {
                assert_eq!(rule["ports"], grpc, "{overlay}: {name}");
                let_out.extend(peers(rule, "to").into_iter().map(|to| (name.to_owned(), to)));
            }
            for rule in list(&spec["ingress"]) {
                if rule["from"].is_null() {
                    assert_eq!((name, &rule["ports"][0]["port"]), ("storefront", &7443.into()), "{overlay}");
                    assert_eq!(list(&rule["ports"]).len(), 1);
                    continue;
                }
                assert_eq!(rule["ports"], grpc, "{overlay}: {name}");
                let_in.extend(peers(rule, "from").into_iter().map(|from| (from, name.to_owned())));
            }
        }
        assert_eq!((let_out, let_in), (wanted.clone(), wanted), "{overlay}");
    });
}

#[test]
fn images_are_those_that_are_built_here() {
    let table = std::fs::read_to_string(crate::deploy().join("docker/images")).unwrap();
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let built: BTreeSet<String> =
        rows.filter(|row| row.last() == Some(&"service")).map(|row| format!("avouch/{}", row[0])).collect();
    each_overlay(|overlay, documents| {
        let images = of_kind(documents, "StatefulSet").into_iter().map(|(name, set)| {
            let image = set["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap();
            let (image, tag) = image.rsplit_once(':').unwrap();
            assert!(image.ends_with(&format!("avouch/{name}")), "{overlay}: {image} is not {name}");
            assert_eq!(tag == "latest", overlay == "demo", "{image}:{tag}");
            image.strip_prefix("registry.example/").unwrap_or(image).to_owned()
        });
        assert_eq!(images.collect::<BTreeSet<_>>(), built, "{overlay}");
    });
}

#[test]
fn services_lead_to_their_pods_and_probes_to_the_health_port() {
    each_overlay(|overlay, documents| {
        let services = of_kind(documents, "Service");
        for (name, set) in of_kind(documents, "StatefulSet") {
            let at = format!("{overlay}: {name}");
            let spec = &set["spec"];
            assert_eq!(spec["template"]["metadata"]["labels"], labels(name), "{at}");
            assert_eq!(spec["selector"]["matchLabels"], labels(name), "{at}");
            assert_eq!(
                (&spec["serviceName"], &services[name]["spec"]["selector"]),
                (&name.into(), &labels(name))
            );
            let container = &spec["template"]["spec"]["containers"][0];
            let port = |named: &Value| {
                let found = list(&container["ports"]).iter().find(|port| port["name"] == *named);
                found.unwrap_or_else(|| panic!("{at}: no port {named}"))["containerPort"].as_u64().unwrap()
            };
            let configured = configuration("kubernetes/base", name);
            let listens = |section: &str, key: &str, at: u64| {
                assert_eq!(configured[section][key].as_str(), Some(&*format!("0.0.0.0:{at}")), "{name}");
            };
            listens("service", "listen", port(&"grpc".into()));
            listens("health", "listen", port(&"health".into()));
            for offered in list(&services[name]["spec"]["ports"]) {
                let to = port(&offered["targetPort"]);
                match name {
                    "storefront" => {
                        let listen = environment(set)["AVOUCH_STOREFRONT__INGRESS_LISTEN"].clone();
                        assert_eq!(listen, format!("0.0.0.0:{to}"), "{at}");
                    }
                    _ => assert_eq!((&offered["port"], to), (&7000.into(), 7000), "{at}"),
                }
            }
            for (probe, path) in
                [("startupProbe", "/readyz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")]
            {
                assert_eq!(container[probe]["httpGet"], json!({ "path": path, "port": "health" }), "{at}");
            }
            let drain = configured["service"]["drain_timeout"].as_str().unwrap();
            let drain: u64 = drain.strip_suffix('s').unwrap().parse().unwrap();
            let grace = spec["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
            assert!(grace >= drain + 5, "{at}");
        }
        assert_eq!(services.len(), workloads().len(), "{overlay}");
    });
}

#[test]
fn stores_have_one_writer_and_a_budget_is_for_those_with_replicas() {
    each_overlay(|overlay, documents| {
        let sets = of_kind(documents, "StatefulSet");
        let several = sets.iter().filter(|(_, set)| set["spec"]["replicas"] != 1).map(|(name, _)| *name);
        let several: BTreeSet<_> = several.collect();
        let wanted = if overlay == "production" { BTreeSet::from(["storefront"]) } else { BTreeSet::new() };
        assert_eq!(several, wanted, "{overlay}");
        let budgets = of_kind(documents, "PodDisruptionBudget");
        assert_eq!(budgets.keys().copied().collect::<BTreeSet<_>>(), several, "{overlay}");
        for (name, budget) in budgets {
            assert_eq!(budget["spec"]["selector"]["matchLabels"], labels(name), "{overlay}");
            assert_eq!(budget["spec"]["maxUnavailable"], 1, "{overlay}");
        }
    });
}

#[test]
fn pods_are_configured_as_the_demo_is() {
    SERVICES.iter().for_each(|name| assert_as_in_the_demo("kubernetes/base", name));
    each_overlay(|overlay, documents| {
        let maps = of_kind(documents, "ConfigMap");
        for (name, set) in of_kind(documents, "StatefulSet") {
            let pod = &set["spec"]["template"]["spec"];
            let own = if name == "issuer" { "place.toml" } else { "services.toml" };
            let config = format!("/etc/avouch/config/{name}.toml:/etc/avouch/config/{own}");
            assert_eq!(pod["containers"][0]["env"][0], json!({ "name": "AVOUCH_CONFIG", "value": config }));
            let volume = list(&pod["volumes"]).iter().find(|volume| volume["name"] == "config").unwrap();
            let map = maps[volume["configMap"]["name"].as_str().unwrap()];
            assert!(map["data"][format!("{name}.toml")].is_string(), "{overlay}: {name}");
            takes_its_configuration(name, pod, &maps, environment(set));
        }
    });
}

/// The variables of a pod's container; those that Kubernetes fills in are empty.
fn environment(set: &Value) -> BTreeMap<String, String> {
    let variables = list(&set["spec"]["template"]["spec"]["containers"][0]["env"]).iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    variables.map(|variable| (text(&variable["name"]), text(&variable["value"]))).collect()
}

/// Lays the pod's ConfigMaps out as it mounts them, and lets the program look.
fn takes_its_configuration(
    name: &str,
    pod: &Value,
    maps: &BTreeMap<&str, &Value>,
    mut environment: BTreeMap<String, String>,
) {
    let folder = tempfile::tempdir().unwrap();
    for mount in list(&pod["containers"][0]["volumeMounts"]) {
        let volume = list(&pod["volumes"]).iter().find(|volume| volume["name"] == mount["name"]);
        let Some(map) = volume.and_then(|volume| volume["configMap"]["name"].as_str()) else { continue };
        let at = folder.path().join(mount["mountPath"].as_str().unwrap().trim_start_matches('/'));
        std::fs::create_dir_all(&at).unwrap();
        for (file, text) in maps[map]["data"].as_object().unwrap() {
            std::fs::write(at.join(file), text.as_str().unwrap()).unwrap();
        }
    }
    let etc = folder.path().join("etc").display().to_string();
    for value in environment.values_mut() {
        *value = value.replace("/etc", &etc).replace("$(POD_IP)", "192.0.2.1");
    }
    if name != "issuer" {
        environment.insert("AVOUCH_AUTHZ__POLICY".to_owned(), format!("{etc}/avouch/policy/policy.toml"));
    }
    assert_configured(name, &environment, folder.path());
}

#[test]
fn each_pod_reads_the_token_that_bears_its_name() {
    each_overlay(|overlay, documents| {
        for (name, set) in of_kind(documents, "StatefulSet") {
            let pod = &set["spec"]["template"]["spec"];
            let join = list(&pod["volumes"]).iter().find(|volume| volume["name"] == "join");
            if name == "issuer" {
                assert!(join.is_none(), "{overlay}");
                continue;
            }
            let wanted = json!({ "secretName": format!("{name}-join"), "defaultMode": 0o400 });
            assert_eq!(join.unwrap()["secret"], wanted, "{overlay}: {name}");
            let token = list(&pod["containers"][0]["env"])
                .iter()
                .find(|variable| variable["name"] == "AVOUCH_IDENTITY__JOIN_TOKEN_FILE");
            assert_eq!(token.unwrap()["value"], "/run/avouch/join/$(POD_NAME)", "{overlay}: {name}");
        }
    });
}

#[test]
fn each_pod_tells_the_issuer_its_own_address_and_the_port_it_listens_on() {
    each_overlay(|overlay, documents| {
        for (name, set) in of_kind(documents, "StatefulSet") {
            let container = &set["spec"]["template"]["spec"]["containers"][0];
            let environment = list(&container["env"]);
            let variable = |named: &str| environment.iter().position(|variable| variable["name"] == named);
            let told = variable("AVOUCH_SERVICE__ADDRESS");
            if name == "issuer" {
                assert_eq!(told, None, "{overlay}: `avouch` runs beside it");
                continue;
            }
            let (own, told) = (variable("POD_IP").unwrap(), told.unwrap());
            assert!(own < told, "{overlay}: {name}: a variable knows only those before it");
            let field = json!({ "fieldRef": { "fieldPath": "status.podIP" } });
            assert_eq!(environment[own]["valueFrom"], field, "{overlay}: {name}");
            assert_eq!(environment[told]["value"], "$(POD_IP):7000", "{overlay}: {name}");
        }
    });
}

/// Answers `join.sh` as a cluster would: two storefronts, a new token for each request; keeps what it was told.
const STAND_IN: &str = r#"#!/bin/sh
printf '%s\n' "$*" >>"$SEEN/calls"
case "$*" in
*' exec issuer-0 '*"$REFUSED"*) echo 'the store cannot commit' >&2; exit 1 ;;
*' entry show '*) [ -e "$SEEN/registered" ] ;;
*' entry add '*) echo registered >"$SEEN/registered"; cat "$SEEN/registered" >&2 ;;
*' exec issuer-0 '*) echo x >>"$SEEN/made"; echo "avjt1.secret-$(wc -l <"$SEEN/made")" ;;
*' get statefulset storefront '*) printf 2 ;;
*' get statefulset '*) printf 1 ;;
*' apply '*) { echo ---; cat; } >>"$SEEN/applied" ;;
esac
"#;

/// What `join.sh` comes to, with what the stand-in was told and what was applied.
fn join(arguments: &[&str], refused: &str) -> (Output, String, Vec<Value>) {
    let seen = tempfile::tempdir().unwrap();
    let kubectl = seen.path().join("kubectl");
    std::fs::write(&kubectl, STAND_IN).unwrap();
    std::fs::set_permissions(&kubectl, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut join = Command::new(folder().join("join.sh"));
    join.args(arguments).env("KUBECTL", &kubectl).env("SEEN", seen.path()).env("REFUSED", refused);
    let output = join.output().unwrap();
    let told = std::fs::read_to_string(seen.path().join("calls")).unwrap_or_default();
    let applied = std::fs::read_to_string(seen.path().join("applied")).unwrap_or_default();
    (output, told, if applied.is_empty() { Vec::new() } else { documents(&applied) })
}

#[test]
fn the_operator_lets_each_pod_join_and_no_token_is_on_a_command_line() {
    let (output, told, applied) =
        join(&["--namespace", "shop", "--dns", "shop.example"], "nothing is refused");
    assert!(output.status.success(), "{}", text(&output));
    assert!(!told.contains("avjt1.") && !text(&output).contains("avjt1."), "{told}{}", text(&output));
    assert!(told.lines().all(|line| line.starts_with("--namespace shop ")), "{told}");
    let dns = "create spiffe://market.example/storefront --dns shop.example --register";
    assert_eq!(told.matches(dns).count(), 2, "{told}");
    let operator = "entry add spiffe://market.example/operator --ttl 10m";
    assert_eq!(told.matches(operator).count(), 1, "{told}");
    assert!(told.contains("apply --server-side"), "client-side apply keeps the token in an annotation");
    let secrets = of_kind(&applied, "Secret");
    let names: BTreeSet<_> = secrets.keys().map(|name| name.strip_suffix("-join").unwrap()).collect();
    assert_eq!(names, SERVICES.into());
    let mut tokens = BTreeSet::new();
    for (name, secret) in secrets {
        let pods = secret["stringData"].as_object().unwrap();
        let service = name.strip_suffix("-join").unwrap();
        let replicas = if service == "storefront" { 2 } else { 1 };
        let wanted: Vec<_> = (0..replicas).map(|pod| format!("{service}-{pod}")).collect();
        assert_eq!(pods.keys().cloned().collect::<Vec<_>>(), wanted);
        tokens.extend(pods.values().map(|token| token.as_str().unwrap().to_owned()));
    }
    assert_eq!(tokens.len(), 7, "each pod has a token of its own");
}

#[test]
fn a_token_that_is_refused_ends_it_before_a_secret_is_touched() {
    let (output, _, applied) = join(&["orders"], "market.example/orders");
    assert!(!output.status.success() && text(&output).contains("no token for orders"), "{}", text(&output));
    assert!(applied.is_empty());
    let (output, told, applied) = join(&[], "entry add spiffe://market.example/operator");
    let said = text(&output);
    assert!(!output.status.success() && said.contains("operator: the store cannot commit"), "{said}");
    assert!(applied.is_empty() && !told.contains("token create"), "{told}");
    let (output, told, _) = join(&["--nonsense"], "");
    assert!(!output.status.success() && told.is_empty(), "{}", text(&output));
}

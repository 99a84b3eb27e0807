//! The methods and rules that a policy is judged under.

use crate::error::CliError;
use crate::sources::Sources;
use crate::{contract, input, output};
use avouch_api::observe::v1::Method;
use avouch_authz::Methods;
use avouch_build::{DeclaredRpc, Rule};
use avouch_fleet::{Fleet, Member};
use avouch_text::shorten_path;
use std::path::{Path, PathBuf};

/// The source of methods and their rules.
#[derive(Debug, Clone, Default)]
pub(crate) struct ApiSource {
    /// Folders of protos.
    pub(crate) protos: Vec<PathBuf>,
    /// The folders in which imports of the protos are found.
    pub(crate) includes: Vec<PathBuf>,
    /// The rules of protos that cannot be annotated.
    pub(crate) rules: Option<PathBuf>,
    /// Files with an encoded `FileDescriptorSet`.
    pub(crate) descriptors: Vec<PathBuf>,
    /// The name or SPIFFE ID of a running service.
    pub(crate) service: Option<String>,
    /// Whom to ask for the methods of running services.
    pub(crate) sources: Sources,
}

/// The depth of folders: more than anybody has; a loop of mounts ends here.
const MAX_DEPTH: usize = 32;
/// The largest file of descriptors in octets: those of thousands of protos.
const MAX_DESCRIPTORS: u64 = 64 * 1024 * 1024;

/// The methods that `api` names, with those that every service has.
pub(super) async fn methods(api: &ApiSource) -> Result<Methods, CliError> {
    let said = match &api.service {
        Some(service) => {
            let fleet = api.sources.collect().await?;
            crate::commands::warn_of_silences(&fleet)?;
            of_service(&fleet, service)?
        }
        None if api.protos.is_empty() && api.descriptors.is_empty() => {
            let fleet = api.sources.collect().await?;
            of_everybody(&fleet).ok_or(CliError::NoApi)?
        }
        None => declared(api)?,
    };
    of(&said)
}

/// The methods that a process told or protos declare, with avouch's own that every process serves.
pub(super) fn of(said: &[Method]) -> Result<Methods, CliError> {
    let mut all = said.to_vec();
    let missing = avouch_records::contract()
        .methods
        .iter()
        .filter(|own| !said.iter().any(|method| method.path == own.path));
    all.extend(missing.map(avouch_records::method));
    contract::methods(&all).map_err(|error| CliError::Api(error.to_string()))
}

/// Whether somebody answers to a service's name or SPIFFE ID.
pub(super) fn is(member: &Member, service: &str) -> bool {
    let name = member.status.as_ref().map_or("", |status| &status.service);
    name == service || member.workload.spiffe_id == service
}

fn of_service(fleet: &Fleet, service: &str) -> Result<Vec<Method>, CliError> {
    let mut known = fleet.members.iter().filter(|member| is(member, service));
    let found = known.find_map(|member| member.policy.as_ref());
    found.map(|policy| policy.methods.clone()).ok_or_else(|| {
        let names = fleet.members.iter().filter_map(|member| Some(member.status.as_ref()?.service.clone()));
        CliError::NoService { service: service.to_owned(), known: names.collect() }
    })
}

/// The methods of all who answer; nothing if nobody does. The first to tell of a method is believed.
fn of_everybody(fleet: &Fleet) -> Option<Vec<Method>> {
    let mut all: Vec<Method> = Vec::new();
    for method in
        fleet.members.iter().filter_map(|member| member.policy.as_ref()).flat_map(|policy| &policy.methods)
    {
        if !all.iter().any(|known| known.path == method.path) {
            all.push(method.clone());
        }
    }
    Some(all).filter(|all| !all.is_empty())
}

fn declared(api: &ApiSource) -> Result<Vec<Method>, CliError> {
    let mut all: Vec<Method> = Vec::new();
    let mut add = |rpcs: Vec<DeclaredRpc>| all.extend(rpcs.into_iter().map(method));
    for dir in &api.protos {
        let includes = if api.includes.is_empty() { std::slice::from_ref(dir) } else { &api.includes };
        let mut protos = Vec::new();
        protos_below(dir, includes, 0, &mut protos)?;
        protos.sort();
        let rules = avouch_build::rules_of_protos(&protos, includes, api.rules.as_deref());
        add(rules.map_err(|error| match error {
            avouch_build::Error::NoProtos => CliError::NoProtos(dir.clone()),
            error => CliError::Api(format!("{error:?}")),
        })?);
    }
    for path in &api.descriptors {
        let encoded = input::file(path, MAX_DESCRIPTORS)?;
        let rules = avouch_build::rules_of_descriptors(&encoded);
        add(rules.map_err(|error| CliError::Api(format!("{}: {error:?}", shorten_path(path))))?);
    }
    Ok(all)
}

/// All protos below a folder but avouch's own declaration of the rule, which is built in. Links to folders are not followed.
fn protos_below(
    dir: &Path,
    includes: &[PathBuf],
    depth: usize,
    found: &mut Vec<PathBuf>,
) -> Result<(), CliError> {
    let unreadable = |source| CliError::Read { path: dir.to_owned(), source };
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        let built_in = includes.iter().any(|include| {
            path.strip_prefix(include).is_ok_and(|name| name.to_str().is_some_and(avouch_build::is_built_in))
        });
        if entry.file_type().map_err(unreadable)?.is_dir() {
            if depth < MAX_DEPTH {
                protos_below(&path, includes, depth + 1, found)?;
            } else {
                output::warn(&format!("{} is too deep; what is in it is left out", shorten_path(&path)));
            }
        } else if path.extension().is_some_and(|extension| extension == "proto") && !built_in {
            found.push(path);
        }
    }
    Ok(())
}

fn method(rpc: DeclaredRpc) -> Method {
    let mut method = Method { path: rpc.path, ..Method::default() };
    match rpc.rule {
        Rule::Roles(roles) => method.roles = roles,
        Rule::AnyIdentity => method.any_identity = true,
        Rule::Unauthenticated => method.unauthenticated = true,
        Rule::LocalAdmin => method.local_admin = true,
    }
    method
}

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_api::observe::v1::{GetPolicyResponse, Status};

    #[test]
    fn a_running_services_methods_are_its_own_and_an_unknown_one_is_told_who_there_is() {
        let said = Method { path: "/p.S/M".to_owned(), any_identity: true, ..Method::default() };
        let member = Member {
            status: Some(Status { service: "orders".to_owned(), ..Status::default() }),
            policy: Some(GetPolicyResponse { methods: vec![said.clone()], ..GetPolicyResponse::default() }),
            ..Member::default()
        };
        let fleet = Fleet { members: vec![member], ..Fleet::default() };
        assert_eq!(of_service(&fleet, "orders").unwrap(), std::slice::from_ref(&said));
        assert_eq!(of_everybody(&fleet), Some(vec![said]));
        assert_eq!(of_everybody(&Fleet::default()), None, "a policy is not judged by nothing");
        let error = of_service(&fleet, "ordres").unwrap_err();
        assert_eq!(error.to_string(), "nobody who answers is ordres; there are orders");
    }

    #[test]
    fn avouchs_own_methods_join_and_a_process_that_rules_one_otherwise_is_believed_about_itself() {
        let path = "/avouch.observe.v1.Observe/GetPolicy";
        let rule = |methods: &Methods| methods.rule(methods.index_of(path).unwrap()).unwrap().rule;
        let own = avouch_api::CONTRACT.rule(path).unwrap().rule;
        assert_eq!(rule(&of(&[]).unwrap()), own);
        let said = Method { path: path.to_owned(), roles: vec!["other".to_owned()], ..Method::default() };
        assert_eq!(rule(&of(&[said]).unwrap()), avouch_spiffe::contract::Rule::Roles(&["other"]));
    }
}

//! Whom to ask: the issuer over its socket, and each workload it lists or the user names.

use super::{Fleet, Member, issuer, member, members, operator, problem};
use crate::args::{Arguments, Sources};
use crate::error::CliError;
use crate::{client, timespan};
use avouch_api::admin::v1::ListWorkloadsRequest;
use avouch_api::admin::v1::admin_client::AdminClient;
use avouch_api::observe::v1::observe_client::ObserveClient;
use avouch_identity::Identity;
use avouch_spiffe::clock::{Clock, SystemClock};
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::Channel;

/// How many workloads are asked at once.
const AT_ONCE: usize = 32;

/// Everybody who can be asked, and what the issuer has said already.
pub(crate) struct Live {
    /// The issuer's half; of the members, who and where they are.
    pub(crate) fleet: Fleet,
    /// As who to ask.
    identity: Option<Identity>,
    /// The issuer itself.
    pub(crate) admin: Option<AdminClient<Channel>>,
    /// Who has been found, and where.
    known: HashSet<(String, String)>,
}

/// Finds out whom to ask, and gets an identity to ask with.
///
/// # Errors
/// When an identity was named that cannot be used.
pub(crate) async fn reach(arguments: &Arguments, sources: &Sources) -> Result<Live, CliError> {
    let mut fleet = Fleet { taken_at: timespan::rfc3339(SystemClock.now()), ..Fleet::default() };
    let mut workloads = Vec::new();
    let mut admin = None;
    match client::connect(arguments).await {
        Ok(mut client) => {
            workloads = issuer::ask(&mut client, &mut fleet).await;
            admin = Some(client);
        }
        Err(error) => fleet.issuer_problem = problem::of_error(&error),
    }
    let identity = match (&sources.identity, &mut admin) {
        (Some(dir), _) => Some(operator::from_files(dir, sources.operator.as_ref()).await?),
        (None, Some(client)) if fleet.issuer.is_some() => {
            match operator::enrolled(client, &fleet, sources).await {
                Ok(identity) => Some(identity),
                Err(error) => {
                    fleet.operator_problem = problem::of_error(&error);
                    None
                }
            }
        }
        (None, _) => {
            fleet.operator_problem = "there is no identity to ask with: the issuer makes one for its local \
                                      administrator, or name one with --identity DIR"
                .to_owned();
            None
        }
    };
    if let Some(identity) = &identity {
        let id = identity.spiffe_id();
        fleet.operator = id.to_string();
        if fleet.trust_domain.is_empty() {
            fleet.trust_domain = id.trust_domain().to_string();
        }
    }
    let members = members::all(&workloads, sources, &fleet.operator_problem);
    let known = members.iter().map(who_and_where).collect();
    fleet.members = members::without_replaced(members, &fleet.certificates, &fleet.taken_at);
    Ok(Live { fleet, identity, admin, known })
}

impl Live {
    /// Asks everybody, and waits for the last.
    pub(crate) async fn ask(mut self) -> Fleet {
        let Some(identity) = self.identity else { return self.fleet };
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let mut asked = JoinSet::new();
        for (place, asking) in std::mem::take(&mut self.fleet.members).into_iter().enumerate() {
            let (identity, turns) = (identity.clone(), Arc::clone(&turns));
            asked.spawn(async move {
                if !asking.problem.is_empty() {
                    return (place, asking);
                }
                let _turn = turns.acquire().await; // never closed
                (place, member::ask(&identity, asking).await)
            });
        }
        let mut answers = asked.join_all().await;
        answers.sort_by_key(|(place, _)| *place);
        self.fleet.members = answers.into_iter().map(|(_, member)| member).collect();
        self.fleet
    }

    /// Members that the issuer did not list before.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) async fn newcomers(
        &mut self,
        client: &mut AdminClient<Channel>,
        sources: &Sources,
    ) -> Result<Vec<Member>, Status> {
        let listed = client.list_workloads(ListWorkloadsRequest {}).await?.into_inner().workloads;
        let all = members::all(&listed, sources, &self.fleet.operator_problem);
        Ok(all.into_iter().filter(|member| self.known.insert(who_and_where(member))).collect())
    }

    /// A client of one member for a stream without an end.
    ///
    /// # Errors
    /// When it cannot be asked, in one line.
    pub(crate) fn client(&self, member: &Member) -> Result<ObserveClient<avouch_identity::Channel>, String> {
        if !member.problem.is_empty() {
            return Err(member.problem.clone());
        }
        let identity = self.identity.as_ref().ok_or_else(|| self.fleet.operator_problem.clone())?;
        member::client(identity, &member.address, &member.workload.spiffe_id, None)
    }
}

fn who_and_where(member: &Member) -> (String, String) {
    (member.workload.spiffe_id.clone(), member.address.clone())
}

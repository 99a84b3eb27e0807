//! Asks a running fleet: the issuer over its socket, and each workload that it lists or the user names.

use crate::admin::{AdminClient, AdminSocket};
use crate::ask::{AskAs, AskOptions, WorkloadTarget};
use crate::dialler::{self, Dialler};
use crate::dialling::Admission;
use crate::error::FleetError;
use crate::fleet::{Fleet, Member};
use crate::{issuer, lists, members, operator, problem};
use avouch_api::observe::v1::Filter;
use avouch_identity::Identity;
use avouch_time::clock::{Clock, SystemClock};
use avouch_time::duration::rounded;
use avouch_time::rfc3339;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Status;

/// The number of workloads that are asked at once.
const AT_ONCE: usize = 32;

/// The timeout for all of them together: time for some six hundred addresses at which nobody answers.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Everybody who can be asked, and what the issuer has said already.
#[derive(Debug)]
pub struct Live {
    /// The issuer's half; of the members, who and where they are.
    pub fleet: Fleet,
    /// A connection to the issuer, if it answered.
    pub admin: Option<AdminClient>,
    /// The socket, for connecting to the issuer again.
    socket: AdminSocket,
    /// The identity to ask with.
    identity: Option<Identity>,
    /// The addresses that may be asked.
    admission: Admission,
    /// The workloads that a person named.
    named: Vec<WorkloadTarget>,
    /// The SPIFFE ID and address of each member that has been found.
    known: HashSet<(String, String)>,
}

/// Determines which processes to ask, and gets an identity to ask with.
///
/// Whoever does not answer, the issuer included, is no error but a `problem` in the fleet.
///
/// # Errors
/// When the files of an identity were named that cannot be used.
pub async fn reach(options: &AskOptions) -> Result<Live, FleetError> {
    let mut fleet = Fleet { taken_at: rfc3339(SystemClock.now()), ..Fleet::default() };
    let mut workloads = Vec::new();
    let mut admin = None;
    match options.admin.connect().await {
        Ok(mut client) => {
            workloads = issuer::ask(&mut client, &mut fleet).await;
            admin = Some(client);
        }
        Err(error) => fleet.issuer_problem = problem::of_error(&error),
    }
    let identity = identity(&options.ask_as, admin.as_mut(), &mut fleet).await?;
    if let Some(identity) = &identity {
        let id = identity.spiffe_id();
        fleet.operator = id.to_string();
        if fleet.trust_domain.is_empty() {
            fleet.trust_domain = id.trust_domain().to_string();
        }
    }
    let admission = Admission { loopback: fleet.issuer.as_ref().is_some_and(operator::is_on_loopback) };
    let named = options.workloads.clone();
    let members = members::all(&workloads, &named, admission, &fleet.operator_problem);
    let known = members.iter().map(who_and_where).collect();
    fleet.members = members::without_replaced(members, &fleet.certificates, &fleet.taken_at);
    Ok(Live { fleet, admin, socket: options.admin.clone(), identity, admission, named, known })
}

/// The identity to ask with; without one, the reason is the fleet's `operator_problem`.
async fn identity(
    ask_as: &AskAs,
    admin: Option<&mut AdminClient>,
    fleet: &mut Fleet,
) -> Result<Option<Identity>, FleetError> {
    let enrolled = match (ask_as, admin) {
        (AskAs::Files(files), _) => return operator::from_files(files).await.map(Some),
        (AskAs::Enrolled { operator }, Some(client)) if fleet.issuer.is_some() => {
            operator::enrolled(client, fleet, operator.as_ref()).await
        }
        (AskAs::Enrolled { .. }, _) => {
            fleet.operator_problem = "there is no identity to ask with: the issuer makes one for its local \
                                      administrator, or name one with --identity DIR"
                .to_owned();
            return Ok(None);
        }
    };
    Ok(enrolled.map_err(|error| fleet.operator_problem = problem::of_error(&error)).ok())
}

impl Live {
    /// Asks everybody, and waits for the last.
    pub async fn ask(self) -> Fleet {
        self.ask_filtered(None).await
    }

    /// Asks everybody, of the workloads' records only for those about `what`, and waits for the last.
    pub async fn ask_about(self, what: &str) -> Fleet {
        self.ask_filtered(Some(Filter { refused_only: false, about: what.to_owned() })).await
    }

    async fn ask_filtered(mut self, filter: Option<Filter>) -> Fleet {
        let Some(identity) = self.identity else { return self.fleet };
        let admission = self.admission;
        let ask = |member| dialler::ask(identity.clone(), admission, member, filter.clone());
        self.fleet.members = ask_each(std::mem::take(&mut self.fleet.members), ask).await;
        self.fleet
    }

    /// Members that the issuer did not list before.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn newcomers(&mut self, client: &mut AdminClient) -> Result<Vec<Member>, Status> {
        let listed = lists::list_workloads(client).await?;
        let all = members::all(&listed, &self.named, self.admission, &self.fleet.operator_problem);
        Ok(all.into_iter().filter(|member| self.known.insert(who_and_where(member))).collect())
    }

    /// A new connection to the issuer: one that has been started again has another socket.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn reconnect(&self) -> Result<AdminClient, FleetError> {
        self.socket.connect().await
    }

    /// A dialler of one member, for a stream without an end.
    ///
    /// # Errors
    /// When it cannot be asked, in one line.
    pub fn dialler(&self, member: &Member) -> Result<Dialler, String> {
        if !member.problem.is_empty() {
            return Err(member.problem.clone());
        }
        let identity = self.identity.as_ref().ok_or_else(|| self.fleet.operator_problem.clone())?;
        Ok(Dialler::new(identity, self.admission, member))
    }
}

/// Asks all who may be asked, so many at once, until the time for all is over; at the first address of each before the
/// second of anybody, so that who advertises many does not use up the time of others. Gives them back in their order.
async fn ask_each<F>(members: Vec<Member>, ask: impl Fn(Member) -> F) -> Vec<Member>
where
    F: Future<Output = Member> + Send + 'static,
{
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let end = Instant::now() + TIMEOUT;
    let mut asked = JoinSet::new();
    let mut answers = Vec::new();
    // The semaphore gives turns in the order of asking for them.
    for (place, mut member) in in_turn(members) {
        if !member.problem.is_empty() {
            answers.push((place, member));
            continue;
        }
        let (turns, late) = (Arc::clone(&turns), late(&member));
        let asking = ask(member.clone());
        asked.spawn(async move {
            // The semaphore is never closed, so that `acquire` cannot fail.
            match tokio::time::timeout_at(end, turns.acquire()).await {
                Ok(_turn) => (place, asking.await),
                Err(_elapsed) => {
                    member.problem = late;
                    (place, member)
                }
            }
        });
    }
    answers.extend(asked.join_all().await);
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, member)| member).collect()
}

/// Members with their places, the first of each identity before the second of any.
fn in_turn(members: Vec<Member>) -> Vec<(usize, Member)> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut ranked: Vec<_> = members
        .into_iter()
        .enumerate()
        .map(|(place, member)| {
            let rank = seen.entry(member.workload.spiffe_id.clone()).or_default();
            *rank += 1;
            (*rank, (place, member))
        })
        .collect();
    // A stable sort: within a rank the order of the members stays.
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, member)| member).collect()
}

fn late(member: &Member) -> String {
    format!(
        "not asked: there are more workloads than answer within {}; `--workload {}={}` asks it by itself",
        rounded(TIMEOUT),
        member.address,
        member.workload.spiffe_id
    )
}

fn who_and_where(member: &Member) -> (String, String) {
    (member.workload.spiffe_id.clone(), member.address.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_api::observe::v1::Workload;

    #[tokio::test(start_paused = true)]
    async fn very_many_addresses_at_which_nobody_answers_do_not_keep_an_operator_for_long() {
        let dark = (0..5_000).map(|n| Member { address: format!("10.0.0.1:{n}"), ..Member::default() });
        let begun = Instant::now();
        let asked = ask_each(dark.collect(), |mut member| async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            member.problem = "no answer".to_owned();
            member
        })
        .await;
        assert!(begun.elapsed() <= TIMEOUT + Duration::from_secs(3), "{:?}", begun.elapsed());
        let late =
            asked.iter().filter(|member| member.problem.starts_with("not asked: there are more")).count();
        assert!((4_000..5_000).contains(&late), "{late}");
        assert!(asked.iter().enumerate().all(|(n, member)| member.address == format!("10.0.0.1:{n}")));
    }

    #[test]
    fn who_advertises_many_addresses_has_one_turn_before_everybody_has_had_one() {
        let member = |id: &str, address: &str| Member {
            workload: Workload { spiffe_id: id.to_owned(), ..Workload::default() },
            address: address.to_owned(),
            ..Member::default()
        };
        let members = [("a", "1"), ("a", "2"), ("a", "3"), ("b", "4"), ("c", "5"), ("c", "6")]
            .map(|(id, at)| member(id, at));
        let turns: Vec<_> =
            in_turn(members.to_vec()).into_iter().map(|(place, member)| (place, member.address)).collect();
        let expected = [(0, "1"), (3, "4"), (4, "5"), (1, "2"), (5, "6"), (2, "3")];
        assert_eq!(turns, expected.map(|(place, address)| (place, address.to_owned())));
    }
}

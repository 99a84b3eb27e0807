//! Asking one workload, over mutual TLS: it has to be who it said it is, and its policy decides whether it answers.

use super::{Member, problem};
use crate::timespan;
use avouch_api::observe::v1::observe_client::ObserveClient;
use avouch_api::observe::v1::{GetPolicyRequest, GetStatusRequest, ListEdgesRequest, ListRecordsRequest};
use avouch_identity::{Channel, Identity};
use avouch_spiffe::SpiffeId;
use std::time::Duration;
use tonic::Status;

/// How long one workload is waited for, everything included.
const PATIENCE: Duration = Duration::from_secs(3);

/// Opening the connection; the rest is for the answers.
const CONNECT: Duration = Duration::from_secs(2);

/// The largest answer: some ten thousand records.
const MAX_ANSWER: usize = 64 << 20;

/// A client of the workload at `address`, which must prove that it is `spiffe_id`.
///
/// # Errors
/// When the address or the identity can't be one, in one line.
pub(super) fn client(
    identity: &Identity,
    address: &str,
    spiffe_id: &str,
    timeout: Option<Duration>,
) -> Result<ObserveClient<Channel>, String> {
    let expect: SpiffeId =
        spiffe_id.parse().map_err(|error| format!("{spiffe_id:?} is no SPIFFE ID: {error}"))?;
    let channel = identity
        .channel(&format!("https://{address}"), expect)
        .connect_timeout(CONNECT)
        .patience(Duration::ZERO)
        .default_timeout(timeout)
        .build()
        .map_err(|error| error.to_string())?;
    Ok(ObserveClient::new(channel).max_decoding_message_size(MAX_ANSWER))
}

/// Fills in what the workload says, or why it does not.
pub(super) async fn ask(identity: &Identity, mut member: Member) -> Member {
    let client = client(identity, &member.address, &member.workload.spiffe_id, Some(PATIENCE));
    let asked = match client {
        Ok(client) => tokio::time::timeout(PATIENCE, ask_all(client, &mut member)).await,
        Err(problem) => {
            member.problem = problem;
            return member;
        }
    };
    match asked {
        Ok(Ok(())) => {}
        Ok(Err(status)) => {
            let found = problem::of_workload(&status, identity.spiffe_id().as_str());
            (member.problem, member.reason) = (found.text, found.reason);
        }
        Err(_elapsed) => member.problem = format!("no answer within {}", timespan::display(PATIENCE)),
    }
    member
}

async fn ask_all(mut client: ObserveClient<Channel>, member: &mut Member) -> Result<(), Status> {
    // The first answer says whether the others are worth asking for.
    member.status = client.get_status(GetStatusRequest {}).await?.into_inner().status;
    let (mut first, mut second) = (client.clone(), client.clone());
    let all = ListRecordsRequest { filter: None, limit: 0 };
    let (policy, edges, records) = tokio::join!(
        client.get_policy(GetPolicyRequest {}),
        first.list_edges(ListEdgesRequest {}),
        second.list_records(all)
    );
    member.policy = Some(policy?.into_inner());
    member.edges = edges?.into_inner().edges;
    member.records = records?.into_inner().records;
    Ok(())
}

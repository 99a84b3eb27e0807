//! Asks one workload over mutual TLS: it must prove the expected SPIFFE ID, and its policy decides whether it answers.

use crate::dialling::Admission;
use crate::fleet::Member;
use crate::problem;
use avouch_api::observe::v1::observe_client::ObserveClient;
use avouch_api::observe::v1::{
    Filter, GetPolicyRequest, GetStatusRequest, ListEdgesRequest, ListRecordsRequest,
};
use avouch_identity::{Channel, Identity};
use avouch_spiffe::{HostPort, SpiffeId};
use avouch_time::duration::rounded;
use std::time::Duration;
use tonic::Status;

/// The timeout for one workload, everything included.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The timeout for opening the connection; the rest of [`TIMEOUT`] is for the answers.
const CONNECT: Duration = Duration::from_secs(2);

/// The largest answer: some ten thousand records.
const MAX_ANSWER: usize = 64 << 20;

/// Opens connections to one workload, which must prove that it is who the issuer says it is.
#[derive(Debug, Clone)]
pub struct Dialler {
    identity: Identity,
    admission: Admission,
    address: String,
    spiffe_id: String,
    typed: bool,
}

impl Dialler {
    pub(crate) fn new(identity: &Identity, admission: Admission, member: &Member) -> Self {
        Self {
            identity: identity.clone(),
            admission,
            address: member.address.clone(),
            spiffe_id: member.workload.spiffe_id.clone(),
            typed: member.typed,
        }
    }

    /// A client for each address at which the workload may be, to be tried one after the other. None of them resolves a
    /// name that was advertised: each dials an address that has been judged, whatever the name leads to by then. What they
    /// ask is to be answered within three seconds; records can be watched for as long as one likes.
    ///
    /// # Errors
    /// When it is not to be asked there, or address or identity cannot be one, in one line.
    pub async fn clients(&self) -> Result<Vec<ObserveClient<Channel>>, String> {
        let parsed: HostPort = self.address.parse().map_err(|error| format!("{error}"))?;
        let places = match self.typed {
            true => vec![self.address.clone()],
            false => self.admission.resolve(&parsed).await?.iter().map(ToString::to_string).collect(),
        };
        let each = CONNECT / u32::try_from(places.len()).unwrap_or(u32::MAX).max(1);
        places.iter().map(|place| self.client(place, each)).collect()
    }

    fn client(&self, place: &str, connect: Duration) -> Result<ObserveClient<Channel>, String> {
        let id = &self.spiffe_id;
        let expect: SpiffeId = id.parse().map_err(|error| format!("{id:?} is no SPIFFE ID: {error}"))?;
        let channel = self
            .identity
            .channel(&format!("https://{place}"), expect)
            .connect_timeout(connect)
            .ready_timeout(Duration::ZERO)
            .default_timeout(Some(TIMEOUT))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(ObserveClient::new(channel).max_decoding_message_size(MAX_ANSWER))
    }
}

/// Fills in what the workload says, or why it does not.
pub(crate) async fn ask(
    identity: Identity,
    admission: Admission,
    mut member: Member,
    filter: Option<Filter>,
) -> Member {
    let dialler = Dialler::new(&identity, admission, &member);
    match tokio::time::timeout(TIMEOUT, ask_first(&dialler, &mut member, filter)).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(status))) => {
            let found = problem::of_workload(&status, identity.spiffe_id().as_str());
            (member.problem, member.reason) = (found.text, found.reason);
        }
        Ok(Err(problem)) => member.problem = problem,
        Err(_elapsed) => member.problem = format!("no answer within {}", rounded(TIMEOUT)),
    }
    member
}

/// Asks at the first of the workload's addresses that answers; else what the last one's problem is.
async fn ask_first(
    dialler: &Dialler,
    member: &mut Member,
    filter: Option<Filter>,
) -> Result<Result<(), Status>, String> {
    let mut outcome = Err(Status::unavailable("it has no address"));
    for client in dialler.clients().await? {
        outcome = ask_all(client, member, filter.clone()).await;
        // An address that has answered is the workload's, so no other is tried.
        if outcome.is_ok() || member.status.is_some() {
            break;
        }
    }
    Ok(outcome)
}

async fn ask_all(
    mut client: ObserveClient<Channel>,
    member: &mut Member,
    filter: Option<Filter>,
) -> Result<(), Status> {
    // The first answer says whether the others are worth asking for.
    member.status = client.get_status(GetStatusRequest {}).await?.into_inner().status;
    let (mut first, mut second) = (client.clone(), client.clone());
    let all = ListRecordsRequest { filter, limit: 0 };
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

//! Follows the records of all processes at once.
//!
//! One task for each workload hands lines over, the issuer is asked in between; they are written in the order of their
//! arrival. A stream that breaks is opened again, and what was recorded in between is asked for, so that a gap shows only
//! where memory was lost. Who falls silent, and what was missed, is said on standard error. Workloads that the issuer
//! lists later are followed too.

use super::view::RecordView;
use crate::error::CliError;
use crate::output;
use crate::sources::Sources;
use avouch_api::admin::v1 as admin;
use avouch_api::observe::v1::observe_client::ObserveClient;
use avouch_api::observe::v1::{Filter, ListRecordsRequest, Record, WatchRecordsRequest};
use avouch_fleet::{AdminClient, Dialler, Fleet, Live, Member, Observed, explain};
use avouch_identity::Channel;
use avouch_time::duration::rounded;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::Status;

/// The backoff before a stream is opened again. It doubles with every failure, so that a process that is down is not
/// called all the time, and one that is back is followed again within seconds.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The timeout for opening a stream, and for asking for what was missed.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The pause between two questions to the issuer, which has no stream of records.
const ISSUER_EVERY: Duration = Duration::from_secs(1);
/// The number of the issuer's latest records that are asked for: more than it makes in that time.
const ISSUER_LATEST: u32 = 1_000;
/// The number of lines on their way: more than one burst of one workload.
const ON_THE_WAY: usize = 256;

/// A message of one of the tasks to the writer.
enum Message {
    Line(String),
    Remark(String),
}

/// Follows all processes until the reader of the output closes it.
///
/// # Errors
/// When there is nobody to follow.
pub(crate) async fn run(sources: &Sources, view: RecordView) -> Result<ExitCode, CliError> {
    let mut live = sources.reach().await?;
    let silences = live.fleet.silences();
    let members = std::mem::take(&mut live.fleet.members);
    let (messages, arriving) = mpsc::channel(ON_THE_WAY);
    let following = Arc::new(Following { view, names: live.fleet.clone(), messages });
    let mut anybody = live.admin.is_some();
    for member in members {
        anybody |= following.begin(&live, member);
    }
    if !anybody {
        return Err(CliError::NobodyAnswers { silences });
    }
    silences.iter().for_each(|silence| output::warn(silence));
    // Both run for as long as somebody reads; which is polled first makes no difference.
    tokio::select! {
        outcome = write(arriving) => outcome,
        never = follow_issuer(live, following) => match never {},
    }
}

async fn write(mut arriving: mpsc::Receiver<Message>) -> Result<ExitCode, CliError> {
    while let Some(message) = arriving.recv().await {
        match message {
            Message::Line(line) => output::text(&(line + "\n"))?,
            Message::Remark(remark) => output::warn(&remark),
        }
    }
    Ok(ExitCode::FAILURE) // everybody has gone
}

/// The state that all tasks share.
struct Following {
    view: RecordView,
    /// For the names in the lines; it has no members.
    names: Fleet,
    messages: mpsc::Sender<Message>,
}

impl Following {
    /// Begins to follow a workload, if it can be asked at all.
    fn begin(self: &Arc<Self>, live: &Live, member: Member) -> bool {
        let Ok(dialler) = live.dialler(&member) else { return false };
        let stream = Stream { following: Arc::clone(self), member, latest: Vec::new(), silent: false };
        tokio::spawn(stream.follow(dialler));
        true
    }

    fn filter(&self) -> Option<Filter> {
        Some(Filter { refused_only: self.view.denied, about: self.view.about.clone() })
    }

    /// `false`: nobody reads any more.
    async fn hand_over(&self, by: &str, address: &str, record: &Record) -> bool {
        // Who made it has filtered it.
        let observed = Observed::new(by, address, record).filter(|it| self.view.all || !it.is_asking());
        let Some(observed) = observed else { return true };
        match self.view.line(&self.names, &observed) {
            Ok(None) => true,
            Ok(Some(line)) => self.messages.send(Message::Line(line)).await.is_ok(),
            Err(error) => self.remark(format!("a record cannot be shown: {error}")).await,
        }
    }

    fn name(&self, member: &Member) -> String {
        format!("{} at {}", self.names.short(&member.workload.spiffe_id), member.address)
    }

    async fn remark(&self, text: String) -> bool {
        self.messages.send(Message::Remark(text)).await.is_ok()
    }
}

/// The records of one workload.
struct Stream {
    following: Arc<Following>,
    member: Member,
    /// The records of the latest moment that was shown.
    latest: Vec<Record>,
    /// Whether its silence has been reported.
    silent: bool,
}

impl Stream {
    async fn follow(mut self, dialler: Dialler) {
        let mut pause = FIRST_PAUSE;
        // The workload's addresses that have not failed.
        let mut places = VecDeque::new();
        loop {
            if places.is_empty() {
                match dialler.clients().await {
                    Ok(clients) => places = clients.into(),
                    Err(why) => self.falls_silent(&why).await,
                }
            }
            if let Some(client) = places.front_mut() {
                // Servers retire connections regularly, so only a workload that cannot be reached again counts as
                // silent.
                if let Err(status) = self.once(client, &mut pause).await {
                    places.pop_front();
                    if !places.is_empty() {
                        continue;
                    }
                    self.falls_silent(&explain(&status, &self.following.names.operator)).await;
                }
            }
            if self.following.messages.is_closed() {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Reports why there is no stream, once until there is one again.
    async fn falls_silent(&mut self, why: &str) {
        if !std::mem::replace(&mut self.silent, true) {
            self.following.remark(format!("{} is not heard: {why}; trying on", self.name())).await;
        }
    }

    /// Follows one stream to its end, which is no error; not to be able to open it is one.
    async fn once(
        &mut self,
        client: &mut ObserveClient<Channel>,
        pause: &mut Duration,
    ) -> Result<(), Status> {
        let request = WatchRecordsRequest { filter: self.following.filter() };
        let mut stream = in_time(client.watch_records(request)).await?.into_inner();
        *pause = FIRST_PAUSE;
        if std::mem::take(&mut self.silent) {
            self.following.remark(format!("{} is heard again", self.name())).await;
        }
        // The stream is open: what comes now is in it, what came before is in the list, some may be in both.
        let mut shown = if self.latest.is_empty() { Vec::new() } else { self.catch_up(client).await? };
        while let Ok(Some(message)) = stream.message().await {
            if message.missed > 0 {
                let remark = format!("{} made {} records too fast to follow", self.name(), message.missed);
                self.following.remark(remark).await;
            }
            let Some(record) = message.record else { continue };
            match shown.iter().position(|known| *known == record) {
                Some(place) => drop(shown.swap_remove(place)),
                None => self.show(record).await,
            }
        }
        Ok(())
    }

    /// Shows what was recorded since the last record that came, and returns it.
    async fn catch_up(&mut self, client: &mut ObserveClient<Channel>) -> Result<Vec<Record>, Status> {
        let request = ListRecordsRequest { filter: self.following.filter(), limit: 0 };
        let records = in_time(client.list_records(request)).await?.into_inner().records;
        let since = self.latest.first().map(|record| time(record).to_owned()).unwrap_or_default();
        let is_new = |record: &Record| time(record) >= since.as_str() && !self.latest.contains(record);
        let missed: Vec<_> = records.into_iter().filter(is_new).collect();
        for record in &missed {
            self.show(record.clone()).await;
        }
        Ok(missed)
    }

    async fn show(&mut self, record: Record) {
        let (by, address) = (&self.member.workload.spiffe_id, &self.member.address);
        self.following.hand_over(by, address, &record).await;
        match self.latest.first().map(|known| time(known).cmp(time(&record))) {
            Some(std::cmp::Ordering::Greater) => {}
            Some(std::cmp::Ordering::Equal) => self.latest.push(record),
            _ => self.latest = vec![record],
        }
    }

    fn name(&self) -> String {
        self.following.name(&self.member)
    }
}

fn time(record: &Record) -> &str {
    Observed::new("", "", record).map_or("", |observed| observed.time())
}

async fn in_time<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let late = || Status::deadline_exceeded(format!("no answer within {}", rounded(TIMEOUT)));
    tokio::time::timeout(TIMEOUT, call).await.unwrap_or_else(|_elapsed| Err(late()))
}

/// Asks the issuer for its records and for workloads that are new, again and again. Without one, waits for ever.
async fn follow_issuer(mut live: Live, following: Arc<Following>) -> Infallible {
    let Some(mut admin) = live.admin.take() else { return std::future::pending().await };
    let mut known: Option<Vec<Record>> = None;
    let mut silent = false;
    loop {
        let asked = ask_issuer(&mut admin, &following, &mut known).await;
        let asked = match asked {
            Ok(()) => live.newcomers(&mut admin).await,
            Err(status) => Err(status),
        };
        match asked {
            Ok(newcomers) => {
                if std::mem::take(&mut silent) {
                    following.remark("the issuer is heard again".to_owned()).await;
                }
                for member in newcomers {
                    if !member.problem.is_empty() {
                        let remark = format!("{} is not heard: {}", following.name(&member), member.problem);
                        following.remark(remark).await;
                    }
                    following.begin(&live, member);
                }
            }
            Err(status) => {
                if !std::mem::replace(&mut silent, true) {
                    let why = explain(&status, "");
                    following.remark(format!("the issuer is not heard: {why}; trying on")).await;
                }
                // The socket of an issuer that has been started again is another one.
                if let Ok(again) = live.reconnect().await {
                    admin = again;
                }
            }
        }
        tokio::time::sleep(ISSUER_EVERY).await;
    }
}

/// Shows the issuer's records that were not there the last time; the first time, none.
async fn ask_issuer(
    admin: &mut AdminClient,
    following: &Following,
    known: &mut Option<Vec<Record>>,
) -> Result<(), Status> {
    let request = admin::ListRecordsRequest { filter: following.filter(), limit: ISSUER_LATEST };
    let records = in_time(admin.list_records(request)).await?.into_inner().records;
    if let Some(known) = known {
        let (new, missed) = newer(known, &records);
        if missed {
            following.remark("the issuer made more records than could be followed".to_owned()).await;
        }
        for record in new {
            following.hand_over(following.names.issuer_id(), "", record).await;
        }
    }
    *known = Some(records);
    Ok(())
}

/// The records behind the last known one, and whether some before them may have been missed.
fn newer<'a>(known: &[Record], records: &'a [Record]) -> (&'a [Record], bool) {
    let Some(last) = known.last() else { return (records, false) };
    match records.iter().rposition(|record| record == last) {
        Some(place) => (records.get(place + 1..).unwrap_or_default(), false),
        None => (records, !records.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet_sample as sample;

    fn record(number: u32) -> Record {
        Record { connection: Some(sample::connection(number, "dev", number)), decision: None }
    }

    #[test]
    fn what_is_new_begins_behind_the_last_known_record() {
        let all: Vec<_> = (0..5).map(record).collect();
        assert_eq!(newer(&all[..3], &all), (&all[3..], false));
        assert_eq!(newer(&all, &all), (&all[5..], false));
        assert_eq!(newer(&[], &all), (&all[..], false));
        assert_eq!(newer(&all[..1], &all[1..]), (&all[1..], true), "the known one has gone");
        assert_eq!(newer(&all, &[]), (&[][..], false), "it has been started again");
    }
}

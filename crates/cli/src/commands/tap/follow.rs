//! Records as they come, from everybody at once.
//!
//! One task for each workload hands lines over, the issuer is asked in between; they are written in the order of their
//! arrival. A stream that breaks is opened again, and what was recorded in between is asked for, so that a gap shows only
//! where memory was lost. Who falls silent, and what was missed, is said on standard error. Workloads that the issuer
//! lists later are followed too.

use super::Show;
use crate::args::{Arguments, Sources};
use crate::client;
use crate::error::CliError;
use crate::fleet::{self, Fleet, Live, Member, Observed};
use crate::output;
use avouch_api::admin::v1 as admin;
use avouch_api::admin::v1::admin_client::AdminClient;
use avouch_api::observe::v1::observe_client::ObserveClient;
use avouch_api::observe::v1::{Filter, ListRecordsRequest, Record, WatchRecordsRequest};
use avouch_identity::Channel;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::Status;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long opening a stream, and asking for what was missed, may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The issuer has no stream: it is asked again and again.
const ISSUER_EVERY: Duration = Duration::from_secs(1);
/// The issuer's latest records, more than it makes in that time.
const ISSUER_LATEST: u32 = 1_000;
/// Lines on their way: more than one burst of one workload.
const ON_THE_WAY: usize = 256;

/// What a task hands over.
enum News {
    Line(String),
    Remark(String),
}

/// Follows everybody until the reader of the output goes.
///
/// # Errors
/// When there is nobody to follow.
pub(super) async fn run(arguments: &Arguments, sources: &Sources, show: Show) -> Result<ExitCode, CliError> {
    let mut live = fleet::reach(arguments, sources).await?;
    let silences = live.fleet.silences();
    let members = std::mem::take(&mut live.fleet.members);
    let (news, arriving) = mpsc::channel(ON_THE_WAY);
    let following = Arc::new(Following { show, names: live.fleet.clone(), news });
    let mut anybody = live.admin.is_some();
    for member in members {
        anybody |= following.begin(&live, member);
    }
    if !anybody {
        return Err(CliError::NobodyAnswers { silences });
    }
    silences.iter().for_each(|silence| output::warn(silence));
    tokio::select! {
        outcome = write(arriving) => outcome,
        never = follow_issuer(arguments, sources, live, following) => match never {},
    }
}

async fn write(mut arriving: mpsc::Receiver<News>) -> Result<ExitCode, CliError> {
    while let Some(news) = arriving.recv().await {
        match news {
            News::Line(line) => output::text(&(line + "\n"))?,
            News::Remark(remark) => output::warn(&remark),
        }
    }
    Ok(ExitCode::FAILURE) // everybody has gone
}

/// What all tasks share.
struct Following {
    show: Show,
    /// For the names in the lines; it has no members.
    names: Fleet,
    news: mpsc::Sender<News>,
}

impl Following {
    /// Begins to follow a workload, if it can be asked at all.
    fn begin(self: &Arc<Self>, live: &Live, member: Member) -> bool {
        let Ok(client) = live.client(&member) else { return false };
        let stream = Stream { following: Arc::clone(self), member, latest: Vec::new(), silent: false };
        tokio::spawn(stream.follow(client));
        true
    }

    fn filter(&self) -> Option<Filter> {
        Some(Filter { refused_only: self.show.denied, about: self.show.about.clone() })
    }

    /// `false`: nobody reads any more.
    async fn hand_over(&self, by: &str, address: &str, record: &Record) -> bool {
        // Who made it has filtered it.
        let observed = Observed::new(by, address, record).filter(|it| self.show.all || !it.is_asking());
        let Some(observed) = observed else { return true };
        match self.show.line(&self.names, &observed) {
            Ok(None) => true,
            Ok(Some(line)) => self.news.send(News::Line(line)).await.is_ok(),
            Err(error) => self.remark(format!("a record cannot be shown: {error}")).await,
        }
    }

    async fn remark(&self, text: String) -> bool {
        self.news.send(News::Remark(text)).await.is_ok()
    }
}

/// One workload's records.
struct Stream {
    following: Arc<Following>,
    member: Member,
    /// The records of the latest moment that was shown.
    latest: Vec<Record>,
    /// Whether it was said that it is silent.
    silent: bool,
}

impl Stream {
    async fn follow(mut self, mut client: ObserveClient<Channel>) {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.once(&mut client, &mut pause).await {
                // Connections retire all the time; only who can't be reached again is silent.
                Ok(()) => {}
                Err(_) if self.following.news.is_closed() => return,
                Err(status) if !self.silent => {
                    self.silent = true;
                    let why = fleet::explain(&status, &self.following.names.operator);
                    let name = self.name();
                    self.following.remark(format!("{name} is not heard: {why}; trying on")).await;
                }
                Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
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
        let id = self.following.names.short(&self.member.workload.spiffe_id);
        format!("{id} at {}", self.member.address)
    }
}

fn time(record: &Record) -> &str {
    Observed::new("", "", record).map_or("", |observed| observed.time())
}

async fn in_time<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let late = || Status::deadline_exceeded(format!("no answer within {PATIENCE:?}"));
    tokio::time::timeout(PATIENCE, call).await.unwrap_or_else(|_elapsed| Err(late()))
}

/// Asks the issuer for its records and for workloads that are new, again and again. Without one, waits for ever.
async fn follow_issuer(
    arguments: &Arguments,
    sources: &Sources,
    mut live: Live,
    following: Arc<Following>,
) -> std::convert::Infallible {
    let Some(mut admin) = live.admin.take() else { return std::future::pending().await };
    let mut known: Option<Vec<Record>> = None;
    let mut silent = false;
    loop {
        let asked = ask_issuer(&mut admin, &following, &mut known).await;
        let asked = match asked {
            Ok(()) => live.newcomers(&mut admin, sources).await,
            Err(status) => Err(status),
        };
        match asked {
            Ok(newcomers) => {
                if std::mem::take(&mut silent) {
                    following.remark("the issuer is heard again".to_owned()).await;
                }
                for member in newcomers {
                    following.begin(&live, member);
                }
            }
            Err(status) => {
                if !std::mem::replace(&mut silent, true) {
                    let why = fleet::explain(&status, "");
                    following.remark(format!("the issuer is not heard: {why}; trying on")).await;
                }
                // The socket of an issuer that has been started again is another one.
                if let Ok(again) = client::connect(arguments).await {
                    admin = again;
                }
            }
        }
        tokio::time::sleep(ISSUER_EVERY).await;
    }
}

/// Shows the issuer's records that were not there the last time; the first time, none.
async fn ask_issuer(
    admin: &mut AdminClient<tonic::transport::Channel>,
    following: &Following,
    known: &mut Option<Vec<Record>>,
) -> Result<(), Status> {
    let request = admin::ListRecordsRequest { filter: following.filter(), limit: ISSUER_LATEST };
    let records = in_time(admin.list_records(request)).await?.into_inner().records;
    if let Some(known) = known {
        let (new, missed) = news(known, &records);
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
fn news<'a>(known: &[Record], records: &'a [Record]) -> (&'a [Record], bool) {
    let Some(last) = known.last() else { return (records, false) };
    match records.iter().rposition(|record| record == last) {
        Some(place) => (records.get(place + 1..).unwrap_or_default(), false),
        None => (records, !records.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::sample;

    fn record(number: u32) -> Record {
        Record { connection: Some(sample::connection(number, "dev", number)), decision: None }
    }

    #[test]
    fn what_is_new_begins_behind_the_last_known_record() {
        let all: Vec<_> = (0..5).map(record).collect();
        assert_eq!(news(&all[..3], &all), (&all[3..], false));
        assert_eq!(news(&all, &all), (&all[5..], false));
        assert_eq!(news(&[], &all), (&all[..], false));
        assert_eq!(news(&all[..1], &all[1..]), (&all[1..], true), "the known one has gone");
        assert_eq!(news(&all, &[]), (&[][..], false), "it has been started again");
    }
}

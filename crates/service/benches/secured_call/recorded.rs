//! The call of a process that keeps no records, keeps them in memory, and writes each to a file.

use std::sync::Arc;
use std::time::Duration;

use avouch_identity::Channel;
use avouch_records::{FileConfig, Recorder, RecordsConfig};
use avouch_telemetry::{CallToken, CallWatcher, Metrics, ServerLayer, Tracing, current_trace_id};
use http::Extensions;
use tonic_health::pb::health_client::HealthClient;
use tower_layer::Layer as _;

use crate::pki::Pki;
use crate::{CALLS, ROUNDS, WARM_UP, calls, median, process_time, secured, spread};

/// Counts how calls end, as the service shell does.
#[derive(Debug)]
struct Ends(Recorder);

impl CallWatcher for Ends {
    fn begun(&self, extensions: &Extensions) -> Option<CallToken> {
        self.0.begun(extensions)
    }

    fn failed(&self, token: &CallToken, method: &'static str, _: tonic::Code, response: Option<&Extensions>) {
        self.0.failed(&**token, method, response);
    }
}

fn telemetry(metrics: &Metrics) -> ServerLayer {
    let methods = secured::methods();
    let paths: Vec<_> = methods.iter().map(|method| method.path).collect();
    ServerLayer::new(&Tracing::off(), metrics, paths)
}

async fn plain(pki: &Pki) -> Channel {
    let metrics = Metrics::new("bench", "0").expect("metrics");
    let layer = telemetry(&metrics);
    secured::serve(pki, Arc::new(()), |server, service| (server, layer.layer(service))).await
}

async fn recorded(pki: &Pki, file: Option<FileConfig>) -> (Channel, Recorder) {
    let config = RecordsConfig { file, ..RecordsConfig::default() };
    let recorder =
        Recorder::builder(config, secured::methods()).trace(current_trace_id).start().expect("a recorder");
    let metrics = Metrics::new("bench", "0").expect("metrics");
    let layer = telemetry(&metrics).watcher(Arc::new(Ends(recorder.clone())));
    let observer = Arc::new(recorder.clone());
    let channel = secured::serve(pki, observer.clone(), |server, service| {
        (server.observer(observer), layer.layer(service))
    });
    (channel.await, recorder)
}

/// Runs the cases in turn and prints what of the throughput is left.
pub(crate) async fn compare(pki: &Pki) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = FileConfig {
        path: directory.path().join("records.jsonl"),
        rotate_bytes: 16 * 1024 * 1024,
        rotate_keep: 4,
        allowed: true,
    };
    let refusals =
        FileConfig { path: directory.path().join("refusals.jsonl"), allowed: false, ..file.clone() };
    let (in_memory, memory) = recorded(pki, Some(refusals)).await;
    let (in_file, written) = recorded(pki, Some(file)).await;
    let clients = [plain(pki).await, in_memory, in_file].map(HealthClient::new);
    for client in &clients {
        calls(client.clone(), WARM_UP).await;
    }
    let mut costs: [Vec<f64>; 3] = Default::default();
    for round in 0..ROUNDS {
        for case in 0..clients.len() {
            let case = (case + round) % clients.len();
            let Some((client, costs)) = clients.get(case).zip(costs.get_mut(case)) else { continue };
            let recorder = if case == 2 { &written } else { &memory };
            costs.push(cost(client, recorder).await);
        }
    }
    for recorder in [memory, written] {
        let state = recorder.state();
        assert!(state.dropped == 0 && state.problem.is_empty(), "{state:?}");
    }
    let [without, in_memory, in_file] = costs;
    for (what, mut with) in
        [("records in memory, refusals in a file", in_memory), ("every decision in a file", in_file)]
    {
        let mut ratios: Vec<f64> = without.iter().zip(&with).map(|(without, with)| without / with).collect();
        let (low, high) = spread(&ratios);
        println!(
            "{what}: {:.2} µs CPU per call instead of {:.2}; throughput {:.1} % (rounds {:.1}–{:.1} %)",
            median(&mut with),
            median(&mut without.clone()),
            100.0 * median(&mut ratios),
            100.0 * low,
            100.0 * high
        );
    }
}

/// Microseconds of the process's CPU time for each call, with what the recorder's thread does meanwhile.
async fn cost(client: &HealthClient<Channel>, recorder: &Recorder) -> f64 {
    let began = process_time();
    calls(client.clone(), CALLS).await;
    recorder.finish();
    let took: Duration = process_time().checked_sub(began).expect("CPU time grows");
    took.as_secs_f64() * 1e6 / f64::from(CALLS)
}

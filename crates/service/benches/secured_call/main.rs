//! The secured unary call against bare tonic over mutual TLS, as a ratio.
//!
//! Both ends of a case run on one pinned thread, and its CPU time is what counts: what a call costs, not how lucky
//! the scheduler was. Rounds of the cases are interleaved, so that limit and result come from the same seconds, and
//! the spread of the rounds is printed beside the ratio. Cases:
//!
//! * `tonic`: tonic's server and channel over tokio-rustls, mutual TLS by webpki, no identity, no authorization;
//! * `avouch`: the accept loop, the channel, peer identity, deadline and the role check of every call.
//!
//! And the same call as a process serves it, telemetry included, without and with records: in memory, and with every
//! decision written to a file. There the CPU time of the whole process counts, since another thread collects and writes.
//!
//! Run with `./just bench`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark may stop and print"
)]

mod bare;
mod pki;
mod recorded;
mod secured;

use std::time::Duration;

use tonic::body::Body;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const ROUNDS: usize = 15;
const CALLS: u32 = 3_000;
const WARM_UP: u32 = 2_000;

fn main() {
    if std::env::args().any(|arg| arg == "--list" || arg == "--test") {
        return;
    }
    pin_to_one_core();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let pki = pki::Pki::new();
        let bare = HealthClient::new(bare::channel(&pki).await);
        let secured = HealthClient::new(secured::channel(&pki).await);
        calls(bare.clone(), WARM_UP).await;
        calls(secured.clone(), WARM_UP).await;
        let mut ratios = Vec::new();
        let mut costs = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let (of_bare, of_secured) = if round % 2 == 0 {
                let of_bare = calls(bare.clone(), CALLS).await;
                (of_bare, calls(secured.clone(), CALLS).await)
            } else {
                let of_secured = calls(secured.clone(), CALLS).await;
                (calls(bare.clone(), CALLS).await, of_secured)
            };
            ratios.push(of_bare.as_secs_f64() / of_secured.as_secs_f64());
            costs.0.push(of_bare.as_secs_f64() * 1e6 / f64::from(CALLS));
            costs.1.push(of_secured.as_secs_f64() * 1e6 / f64::from(CALLS));
        }
        let (low, high) = spread(&ratios);
        println!("bare tonic mTLS      {:6.2} µs CPU per call, both ends", median(&mut costs.0));
        println!("avouch               {:6.2} µs CPU per call, both ends", median(&mut costs.1));
        println!(
            "throughput per CPU-second, avouch / tonic: {:.1} % (rounds {:.1}–{:.1} %)",
            100.0 * median(&mut ratios),
            100.0 * low,
            100.0 * high
        );
        recorded::compare(&pki).await;
    });
}

/// CPU time of `count` calls made one after the other.
async fn calls<S>(mut client: HealthClient<S>, count: u32) -> Duration
where
    S: tonic::client::GrpcService<Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <S::ResponseBody as http_body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    let began = thread_time();
    for _ in 0..count {
        client.check(HealthCheckRequest { service: String::new() }).await.expect("a call");
    }
    thread_time().checked_sub(began).expect("CPU time grows")
}

fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("nanoseconds"))
}

fn process_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("nanoseconds"))
}

fn pin_to_one_core() {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(0);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &cores) {
        println!("not pinned to one core: {error}");
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn spread(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, 0.0), |(low, high), value| (value.min(low), value.max(high)))
}

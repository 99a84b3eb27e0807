//! A program on the service shell that answers the benchmarks' calls.

use std::process::ExitCode;

use avouch_bench::echo::{CONTRACT, FILE_DESCRIPTOR_SET, Service, v1::echo_server::EchoServer};
use avouch_bench::roles::bare;
use avouch_service::{App, BoxError};

async fn serve(app: App) -> Result<(), BoxError> {
    app.announce::<EchoServer<Service>>();
    app.reflect(FILE_DESCRIPTOR_SET);
    Ok(app.serve(tonic::service::Routes::new(bare::service())).await?)
}

fn main() -> ExitCode {
    avouch_service::run("bench", &[&CONTRACT], serve)
}

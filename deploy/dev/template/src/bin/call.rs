//! Calls __name__ as whoever its identity says: `__name__-call --config services/__name__/call.toml`.

use std::io::Write as _;
use std::process::ExitCode;

use avouch_service::{App, BoxError};
use __ident__::v1::GreetRequest;
use __ident__::v1::__ident___client::__Name__Client;

#[derive(clap::Args)]
struct Flags {
    /// Whom to greet.
    #[arg(long, default_value = "world")]
    name: String,
}

async fn call(app: App, flags: Flags) -> Result<(), BoxError> {
    let mut client = __Name__Client::new(app.channel("__name__")?);
    let answer = client.greet(GreetRequest { name: flags.name }).await;
    // The status of a refusal names its reason and the command that tells more.
    let answer = answer.map_err(|status| format!("{:?}: {}", status.code(), status.message()))?;
    writeln!(std::io::stdout(), "{}", answer.get_ref().greeting)?;
    app.finish().await;
    Ok(())
}

fn main() -> ExitCode {
    avouch_service::run_with("__name__-call", &[&__ident__::CONTRACT], call)
}

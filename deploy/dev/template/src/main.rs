//! The process of __name__: identity, policy, telemetry, health and drain come with the shell.

fn main() -> std::process::ExitCode {
    avouch_service::run("__name__", &[&__ident__::CONTRACT], __ident__::serve)
}

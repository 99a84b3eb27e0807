//! Compiles the proto of the service that the benchmarks call, and keeps what they are compiled with.

use std::io::{Write as _, stdout};
use std::process::Command;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    avouch_build::configure()
        .contract_crate("::avouch_spiffe")
        .contract_name("bench")
        .compile(&["proto/avouch/bench/v1/bench.proto"], &["proto"])?;
    // Another compiler makes other instructions: counts are compared with those of the same one only.
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(rustc).arg("--version").output()?.stdout;
    writeln!(stdout(), "cargo::rustc-env=BENCH_RUSTC={}", String::from_utf8(said)?.trim())?;
    writeln!(stdout(), "cargo::rustc-env=BENCH_TARGET={}", std::env::var("TARGET")?)?;
    Ok(())
}

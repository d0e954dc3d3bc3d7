//! The command `sim` without the server around it: `cargo run --release -p steadfast-sim --example sim -- --seeds 100`.

use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let start = Instant::now();
    let well = steadfast_sim::cli::run(std::env::args().skip(1), &|| start.elapsed(), &mut std::io::stdout());
    if well.is_ok_and(|well| well) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

//! `ocelli bench`: the raw engine in-process, the limit that served figures are held against.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Failure, print, version_dir};
use crate::engine::{Batch, BatchMode};
use crate::repository::choice::sample;
use crate::repository::load::LoadedVersion;
use crate::tune::time_runs;

#[derive(clap::Args)]
pub struct BenchArgs {
    /// A model directory (its newest version) or a version directory
    model: PathBuf,
    /// Rows of a batch
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Batches that run at once. 0 takes one for each CPU
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Threads of the engine within one batch
    #[arg(long, default_value_t = 1)]
    intra_op: usize,
    /// How long to measure
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: super::engine::EngineChoice,
}

pub(super) fn run(args: &BenchArgs) -> Result<(), Failure> {
    let (model_dir, dir) = version_dir(&args.model)?;
    let started = Instant::now();
    let threads = match args.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n,
    };
    let version = args.engine.load(&model_dir, &dir, args.intra_op, threads)?;
    let load_seconds = started.elapsed().as_secs_f64();
    let rows = match version.model.signature().batch_mode {
        BatchMode::Fixed(n) => n,
        BatchMode::Rows | BatchMode::Whole => args.batch.max(1),
    };
    // As requests have them: zeros need not take as long.
    let inputs = sample(&version.spec, version.model.signature(), rows, 1)
        .ok_or("the model's inputs have dimensions of any length; declare [input] size")?;
    if std::io::stderr().is_terminal() {
        eprintln!("warming up, then measuring for {} s …", args.seconds);
    }
    let (batch, lasts) = (Batch::of(&inputs), Duration::try_from_secs_f64(args.seconds)?);
    let model = version.model.as_ref();
    let latencies = time_runs(version.engine, model, &batch, threads, lasts, 0)?;
    report(args, &version, rows, threads, load_seconds, latencies)
}

fn report(
    args: &BenchArgs,
    version: &LoadedVersion,
    rows: usize,
    threads: usize,
    load_seconds: f64,
    mut latencies: Vec<f64>,
) -> Result<(), Failure> {
    latencies.sort_by(f64::total_cmp);
    let quantile = |q: f64| {
        let last = latencies.len().saturating_sub(1);
        latencies.get((q * last as f64).round() as usize).map_or(f64::NAN, |s| s * 1e3)
    };
    let mean = latencies.iter().sum::<f64>() / latencies.len().max(1) as f64;
    // Every thread runs without a pause, so its rate is one over its mean time.
    let rate = threads as f64 * rows as f64 / mean;
    if args.json {
        let told = json!({
            "engine": version.engine, "precision": version.precision.name(), "why": version.why, "batch": rows, "threads": threads,
            "intra_op": args.intra_op, "runs": latencies.len(), "load_seconds": load_seconds,
            "rows_per_second": rate, "p50_ms": quantile(0.5), "p99_ms": quantile(0.99),
            "mean_ms": mean * 1e3,
        });
        return print(&format!("{told:#}\n"));
    }
    print(&format!(
        "engine {} {}, batch {rows}, {threads} threads × {} intra-op, loaded in {load_seconds:.2} s\n\
         {rate:.1} rows/s   p50 {:.2} ms   p99 {:.2} ms   mean {:.2} ms   ({} runs)\n",
        version.engine,
        version.precision,
        args.intra_op,
        quantile(0.5),
        quantile(0.99),
        mean * 1e3,
        latencies.len()
    ))
}

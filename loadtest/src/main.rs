//! Load for HTTP and gRPC inference servers: closed-loop or open-loop, timed from the intended start.
//!
//! [`arrivals`] says when requests start, [`drive`] starts them, [`client`] sends them ([`grpc`] the calls),
//! [`record`] counts what came of them, [`watch`] looks at the server's process, and [`report`]
//! tells it all. [`script`] hands over to a script beside this crate.

mod arrivals;
mod cli;
mod client;
mod drive;
mod grpc;
mod record;
mod report;
mod script;
mod watch;

use clap::Parser;

fn main() -> anyhow::Result<()> {
    match cli::Cli::parse().command {
        cli::Command::Run(args) => run(&args),
        cli::Command::Compare(args) => script::run("compare.py", &args),
        cli::Command::Simulate(args) => script::run("simulate.py", &args),
    }
}

fn run(args: &cli::RunArgs) -> anyhow::Result<()> {
    // One thread: the generator shall not take from the server more than it must.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let plan = args.plan()?;
    let outcome = tokio::task::LocalSet::new().block_on(&runtime, drive::run(plan))?;
    let report = report::Report::new(&outcome, args.slo);
    match args.json.as_deref() {
        Some("-") => {
            eprint!("{}", report.table());
            println!("{}", serde_json::to_string_pretty(&report)?);
        }
        Some(file) => {
            print!("{}", report.table());
            std::fs::write(file, serde_json::to_string_pretty(&report)?)?;
        }
        None => print!("{}", report.table()),
    }
    Ok(())
}

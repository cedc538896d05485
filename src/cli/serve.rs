//! `ocelli serve`.

use clap::ArgMatches;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::rustls::crypto::ring;

use super::{Failure, ServeArgs, print};
use crate::app::{App, ThreadPlan};
use crate::config::parse_serve;
use crate::memory;
use crate::telemetry::logs;

pub(super) fn run(args: &ServeArgs, matches: &ArgMatches) -> Result<(), Failure> {
    let (config, printed) = parse_serve(matches, args.config.as_deref())?;
    if args.print_config {
        return print(&printed);
    }
    logs::init(config.log_format, &config.log_level)?;
    // What fetches models takes the process' own; there is no other one to be in its way.
    drop(ring::default_provider().install_default());
    memory::few_arenas();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(ThreadPlan::of(&config).io)
        .thread_name("ocelli-io")
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let app = App::start(&config).await?;
        let ready = async {
            app.ready().await;
            tracing::info!("ready");
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = ready => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // A second signal means: now.
        tokio::select! {
            drained = app.stop() => if drained { Ok(()) } else { Err("some requests were cut off".into()) },
            _ = terminate.recv() => Err("stopped by a second signal".into()),
            _ = interrupt.recv() => Err("stopped by a second signal".into()),
        }
    })
}

//! The command line: one story a command.

mod admin;
mod bench;
mod engine;
mod engines;
mod inspect;
mod keys;
mod manifest;
mod predict;
mod serve;
mod tune;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::ServeConfig;

/// Failed to do what was asked.
const FAILED: u8 = 1;
/// Asked wrongly; `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;

#[derive(Parser)]
#[command(name = "ocelli", version, about, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the models of a directory, or of a bucket or web server
    #[command(after_help = "Examples:
  ocelli serve                                   the models in ./models, REST on port 8501
  ocelli serve --models /srv/models --max-batch 16
  ocelli serve --models s3://bucket/models --model-cache /var/cache/ocelli
  ocelli serve --config ocelli.toml --print-config

  curl --data-binary @photo.jpg localhost:8501/v1/models/NAME:predict")]
    Serve(Box<ServeArgs>),
    /// Show what is in a model file
    #[command(after_help = "Examples:
  ocelli inspect models/efficientnet_lite0/1/model.onnx
  ocelli inspect models/efficientnet_lite0 --json")]
    Inspect(inspect::InspectArgs),
    /// Classify image files without a server
    #[command(after_help = "Examples:
  ocelli predict models/efficientnet_lite0 models/photos/chelsea.jpg
  ocelli predict models/efficientnet_lite0/1 --json *.jpg")]
    Predict(predict::PredictArgs),
    /// Drive the raw engine: the limit that served figures are held against
    #[command(after_help = "Examples:
  ocelli bench models/efficientnet_lite0
  ocelli bench models/efficientnet_lite0 --batch 8 --threads 2 --seconds 10 --json")]
    Bench(bench::BenchArgs),
    /// Find the settings with which a model does most here, and write them into its model.toml
    #[command(after_help = "Examples:
  ocelli tune models/efficientnet_lite0 --slo p99=50ms
  ocelli tune models/efficientnet_lite0 --slo p99=50ms --dry-run --plot frontier.svg")]
    Tune(tune::TuneArgs),
    /// Show which engines are here, where, and what they can do on this machine
    #[command(after_help = "Examples:
  ocelli engines
  ocelli engines --onnxruntime-library /opt/onnxruntime/lib --json")]
    Engines(engines::EnginesArgs),
    /// Write the manifest of a directory of models: what is fetched from there is checked by it
    #[command(after_help = "Examples:
  ocelli manifest models > ocelli-models.json && mv ocelli-models.json models/
  minisign -S -m models/ocelli-models.json         sign it; `serve --trusted-key` then asks for that
  ocelli serve --models s3://bucket/models --require-digest true")]
    Manifest(manifest::ManifestArgs),
    #[command(flatten)]
    Admin(Box<admin::AdminCommand>),
    /// Make the API keys that a server asks for (`serve --keys-file`)
    #[command(after_help = "Examples:
  ocelli keys new --name scanner >> keys.toml              the token goes to the terminal, once
  ocelli keys new --name ops --right predict --right admin
  ocelli keys hash --name old < token.txt                  for a token that there is already")]
    Keys(keys::KeysArgs),
}

#[derive(clap::Args)]
struct ServeArgs {
    /// TOML file of settings; flags and OCELLI_ variables are stronger
    #[arg(long, env = "OCELLI_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the settings that hold and where each comes from, and exit
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    settings: ServeConfig,
}

/// What went wrong, in one line.
type Failure = Box<dyn std::error::Error>;

/// Parses the command line and runs it.
pub fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(e) => e.exit(),
    };
    let done = match cli.command {
        Command::Serve(args) => match matches.subcommand() {
            Some((_, matches)) => serve::run(&args, matches).map(|()| 0),
            None => return ExitCode::from(USAGE),
        },
        Command::Inspect(args) => inspect::run(&args).map(|()| 0),
        Command::Predict(args) => predict::run(&args).map(|()| 0),
        Command::Bench(args) => bench::run(&args).map(|()| 0),
        Command::Tune(args) => tune::run(&args).map(|()| 0),
        Command::Engines(args) => engines::run(&args).map(|()| 0),
        Command::Manifest(args) => manifest::run(&args).map(|()| 0),
        Command::Admin(command) => admin::run(&command),
        Command::Keys(args) => keys::run(&args).map(|()| 0),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let style = anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Red.into()));
            // If stderr is gone there is nobody left to tell.
            let _ = writeln!(anstream::stderr(), "{style}error{style:#}: {error}");
            let usage = error.is::<crate::config::ConfigError>();
            ExitCode::from(if usage { USAGE } else { FAILED })
        }
    }
}

/// Writes to stdout; a reader that has seen enough (`| head`) is no error.
fn print(text: &str) -> Result<(), Failure> {
    match anstream::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

/// The version directory a person means: itself, or the newest of a model's directory.
fn version_dir(path: &std::path::Path) -> Result<(PathBuf, PathBuf), Failure> {
    use crate::repository::load::find_version;
    find_version(path).map_err(Into::into)
}

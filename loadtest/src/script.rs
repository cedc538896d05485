//! `loadtest compare` and `loadtest simulate`: the scripts of that name beside this crate, with this very program as
//! their load generator.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::cli::ScriptArgs;

/// Becomes the script; comes back only if it can't.
pub fn run(name: &str, args: &ScriptArgs) -> anyhow::Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    ensure!(script.is_file(), "{} is not there: run this from a source tree", script.display());
    let me = std::env::current_exe().context("can't tell where this program is")?;
    let error =
        Command::new("python3").arg(&script).args(&args.given).env("LOADTEST_BIN", me).exec();
    Err(error).with_context(|| format!("can't run python3 {}", script.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn the_script_gets_its_flags_as_they_are() {
        let given = ["tiny", "mosec", "--rounds", "2", "--help"];
        for name in ["compare", "simulate"] {
            let line = ["loadtest", name].into_iter().chain(given);
            let args = match Cli::try_parse_from(line).unwrap().command {
                Command::Compare(args) if name == "compare" => args,
                Command::Simulate(args) if name == "simulate" => args,
                _ => panic!("another command was understood"),
            };
            assert_eq!(args.given, given);
        }
    }

    #[test]
    fn a_script_that_is_not_there_is_named() {
        let error = run("nothing.py", &ScriptArgs { given: Vec::new() }).unwrap_err().to_string();
        assert!(error.contains("/nothing.py is not there"), "{error}");
    }
}

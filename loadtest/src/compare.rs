//! `loadtest compare`: the script compare.py, with this very program as its load generator.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::cli::CompareArgs;

/// Becomes the script; comes back only if it can't.
pub fn run(args: &CompareArgs) -> anyhow::Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("compare.py");
    ensure!(script.is_file(), "{} is not there: run this from a source tree", script.display());
    let me = std::env::current_exe().context("can't tell where this program is")?;
    let error =
        Command::new("python3").arg(&script).args(&args.given).env("LOADTEST_BIN", me).exec();
    Err(error).with_context(|| format!("can't run python3 {}", script.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::{Cli, Command};

    #[test]
    fn the_script_gets_its_flags_as_they_are() {
        let given = ["tiny", "mosec", "--rounds", "2", "--help"];
        let line = ["loadtest", "compare"].into_iter().chain(given);
        let Command::Compare(args) = Cli::try_parse_from(line).unwrap().command else {
            panic!("another command was understood")
        };
        assert_eq!(args.given, given);
    }
}

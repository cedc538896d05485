//! The `ocelli` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    ocelli::cli::main()
}

//! `ocelli manifest`: what a repository is made of, for a source to be checked against.

use std::path::PathBuf;

use super::{Failure, print};
use crate::source::manifest::Manifest;

#[derive(clap::Args)]
pub struct ManifestArgs {
    /// Directory of models, as `serve` takes it
    dir: PathBuf,
}

pub(super) fn run(args: &ManifestArgs) -> Result<(), Failure> {
    let dir = args.dir.display();
    let manifest = Manifest::of_directory(&args.dir)
        .map_err(|e| format!("can't read {dir}: {e}; name a directory of models"))?;
    if manifest.files().is_empty() {
        return Err(format!("{dir} has no model: its files are NAME/VERSION/model.onnx").into());
    }
    print(&manifest.text()?)
}

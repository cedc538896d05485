//! Which engine a command runs a model with: `model.toml`'s, unless it is told otherwise.

use std::path::Path;

use super::Failure;
use crate::config::EngineArgs;
use crate::engine::Precision;
use crate::repository::choice::Memory;
use crate::repository::load::{LoadedVersion, Loader};
use crate::repository::spec::{AskedPrecision, ModelSpecFile};

#[derive(clap::Args)]
pub(super) struct EngineChoice {
    /// The engine: auto, or one that `ocelli engines` lists; model.toml says otherwise
    #[arg(long, value_name = "NAME")]
    engine: Option<String>,
    /// What it computes in: f32, bf16 or auto; model.toml says otherwise
    #[arg(long, value_name = "PRECISION", value_parser = precision)]
    precision: Option<AskedPrecision>,
    #[command(flatten)]
    engines: EngineArgs,
}

impl EngineChoice {
    /// Loads a version for so many threads within a run, and so many runs at once.
    pub fn load(
        &self,
        model_dir: &Path,
        version_dir: &Path,
        threads: usize,
        instances: usize,
    ) -> Result<LoadedVersion, Failure> {
        let engines = self.engines.engines();
        let memory = Memory::at(&self.engines.engine_cache);
        let loader = Loader { engines, threads, instances, memory };
        let mut spec = ModelSpecFile::read(model_dir, Some(version_dir))?;
        spec.engine = self.engine.clone().or(spec.engine);
        spec.precision = self.precision.unwrap_or(spec.precision);
        let loaded = loader.load_as(spec, model_dir, version_dir, None);
        loaded.map_err(|e| format!("{}: {e}", version_dir.display()).into())
    }
}

pub(super) fn precision(text: &str) -> Result<AskedPrecision, String> {
    match text {
        "auto" => Ok(AskedPrecision::Auto),
        named => named.parse::<Precision>().map(AskedPrecision::from),
    }
}

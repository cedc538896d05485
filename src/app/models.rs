//! Where models come from: a directory, or the mirror of a source in one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{StartError, other};
use crate::config::{Models, ServeConfig};
use crate::repository::Waker;
use crate::source::{Running, Source, Standing};
use crate::telemetry::metrics::Metrics;

/// The directory to serve from, and what keeps it filled.
pub(super) struct ModelsDir {
    pub root: PathBuf,
    /// How long files must rest there before they count as whole.
    pub settle: Duration,
    /// Whether what is to be there at the start is.
    pub filled: watch::Receiver<bool>,
    pub standing: Option<Arc<Standing>>,
    source: Option<Source>,
}

/// What of the settings is known to be wrong before anything is started.
pub(super) fn check(config: &ServeConfig) -> Result<(), StartError> {
    match &config.models {
        Models::In(dir) if !dir.is_dir() => Err(StartError::NoModels(dir.display().to_string())),
        _ => Ok(()),
    }
}

impl ModelsDir {
    pub async fn open(config: &ServeConfig, metrics: &Metrics) -> Result<ModelsDir, StartError> {
        let place = match &config.models {
            Models::At(place) => place,
            Models::In(dir) => {
                let settle = Duration::from_millis(config.settle_ms);
                let filled = watch::channel(true).1;
                let (root, standing, source) = (dir.clone(), None, None);
                return Ok(ModelsDir { root, settle, filled, standing, source });
            }
        };
        let settings = config.source.settings(place).ok_or_else(|| {
            other("there is no cache directory (HOME is not set): name one with --model-cache")
        })?;
        let metrics = metrics.source().map_err(other)?;
        let root = settings.models_dir();
        // It reads all that is there.
        let open = tokio::task::spawn_blocking(move || Source::open(&settings, metrics));
        let source = open.await.map_err(other)?.map_err(other)?;
        let (filled, standing) = (source.filled(), Some(source.standing()));
        // Files come there whole, and all of a model's at once.
        Ok(ModelsDir { root, settle: Duration::ZERO, filled, standing, source: Some(source) })
    }

    /// Starts what keeps it filled.
    pub fn start(self, waker: Waker) -> Result<Option<Running>, StartError> {
        let start = |source: Source| source.start(move || waker.wake());
        self.source.map(start).transpose().map_err(other)
    }
}

//! An engine that fails on purpose, for tests alone (feature `faults`): a model is computed by the default
//! engine, and `faults.json` beside its file says what goes wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Deserialize;

use super::tract::Tract;
use super::{About, Batch, Engine, EngineError, LoadOptions, Model, ModelFile, Signature};
use crate::tensor::Tensor;

const NAME: &str = "faults";

/// The engine that fails.
pub(super) struct Faults;

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Plan {
    /// Each run takes so much longer.
    delay_ms: u64,
    /// Every so many runs, one fails.
    error_every: u64,
    /// Every so many runs, one panics.
    panic_every: u64,
}

struct Faulty {
    model: Arc<dyn Model>,
    plan: Plan,
    runs: AtomicU64,
    /// Warm-up goes well: what breaks there never serves.
    spared: u64,
}

impl Engine for Faults {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> About {
        Tract.about()
    }

    fn competes(&self) -> bool {
        false
    }

    fn load(
        &self,
        file: &ModelFile<'_>,
        options: &LoadOptions<'_>,
    ) -> Result<Arc<dyn Model>, EngineError> {
        let wrong = |reason: String| EngineError::Load { engine: NAME, reason };
        let path = file.path.with_file_name("faults.json");
        let text = std::fs::read(&path).map_err(|e| wrong(format!("{}: {e}", path.display())))?;
        let plan = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        let model = Tract.load(file, options)?;
        Ok(Arc::new(Faulty { model, plan, runs: AtomicU64::new(0), spared: 16 }))
    }
}

impl Model for Faulty {
    fn signature(&self) -> &Signature {
        self.model.signature()
    }

    fn run(&self, batch: &Batch) -> Result<Vec<Tensor>, EngineError> {
        let run = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        let due = |every: u64| run > self.spared && every > 0 && run.is_multiple_of(every);
        if run > self.spared {
            std::thread::sleep(Duration::from_millis(self.plan.delay_ms));
        }
        assert!(!due(self.plan.panic_every), "a panic on purpose");
        if due(self.plan.error_every) {
            return Err(EngineError::Run {
                engine: NAME,
                reason: "an error on purpose".to_owned(),
            });
        }
        self.model.run(batch)
    }
}

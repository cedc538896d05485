//! ONNX Runtime, loaded at run time if its library is there. Only this room names it.
//!
//! One session serves all compute threads. ONNX Runtime documents that `Run` may be called by several
//! threads on one session, and on the CPU, which is all that is used here, it keeps nothing of a run in
//! the session; a session for each thread would hold the weights as many times. With one thread within
//! a run, which is the default, it computes on the thread that calls and has no threads of its own.
//! With more, the runs of a session share its threads. None of them spins: an idle core is others' to use.

mod library;
mod model;
mod session;
mod value;

use std::path::PathBuf;
use std::sync::Arc;

use super::{About, Engine, EngineError, Library, LoadOptions, Model, ModelFile, Precision};

const NAME: &str = "onnxruntime";

/// What a CPU build computes in: a model's own types. Its bf16 is a matter of ARM only.
const PRECISIONS: [Precision; 1] = [Precision::F32];

/// The engine, with where its library lies.
pub(super) struct OnnxRuntime {
    located: Result<PathBuf, String>,
}

impl OnnxRuntime {
    /// Looks for the library, and loads nothing yet.
    pub fn find(setting: &Library) -> OnnxRuntime {
        OnnxRuntime { located: library::WANTED.locate(setting) }
    }

    fn runtime(&self) -> Result<&'static library::Runtime, String> {
        library::load(self.located.as_deref().map_err(Clone::clone)?)
    }
}

impl Engine for OnnxRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> About {
        self.runtime().map_or_else(About::missing, |runtime| runtime.about(&PRECISIONS))
    }

    fn load(
        &self,
        file: &ModelFile<'_>,
        options: &LoadOptions<'_>,
    ) -> Result<Arc<dyn Model>, EngineError> {
        options.refuse_others(NAME, &PRECISIONS)?;
        let unavailable = |reason| EngineError::Unavailable { engine: NAME, reason };
        let runtime = self.runtime().map_err(unavailable)?;
        let refused = |reason| EngineError::Load { engine: NAME, reason };
        let session = session::build(&runtime.environment, file, options)
            .map_err(|e| refused(one_line(&e)))?;
        let signature = session::signature(&session).map_err(refused)?.or_known(options.known);
        Ok(Arc::new(model::SessionModel::new(session, signature).map_err(refused)?))
    }
}

fn one_line<R>(error: &ort::Error<R>) -> String {
    error.message().replace('\n', " ").trim().to_owned()
}

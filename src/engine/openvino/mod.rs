//! OpenVINO, loaded at run time if its library is there. Only this room names it.
//!
//! It computes in what it is told, and not in what it thinks is good enough: without a word it would take
//! bf16 where the processor has it. A run is made on the thread that calls, in one of as many streams as
//! runs may be made at once.

mod library;
mod model;
mod network;

use std::path::PathBuf;
use std::sync::Arc;

use super::{About, Engine, EngineError, Format, Library, LoadOptions, Model, ModelFile};

const NAME: &str = "openvino";

/// The engine, with where its library lies.
pub(super) struct OpenVino {
    located: Result<PathBuf, String>,
}

impl OpenVino {
    /// Looks for the library, and loads nothing yet.
    pub fn find(setting: &Library) -> OpenVino {
        OpenVino { located: library::WANTED.locate(setting) }
    }

    fn runtime(&self) -> Result<&'static library::Runtime, String> {
        library::load(self.located.as_deref().map_err(Clone::clone)?)
    }
}

impl Engine for OpenVino {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> About {
        self.runtime().map_or_else(About::missing, library::Runtime::about)
    }

    fn reads(&self, format: Format) -> bool {
        matches!(format, Format::Onnx | Format::TfLite)
    }

    fn load(
        &self,
        file: &ModelFile<'_>,
        options: &LoadOptions<'_>,
    ) -> Result<Arc<dyn Model>, EngineError> {
        let unavailable = |reason| EngineError::Unavailable { engine: NAME, reason };
        let runtime = self.runtime().map_err(unavailable)?;
        options.refuse_others(NAME, &runtime.precisions)?;
        let refused = |reason| EngineError::Load { engine: NAME, reason };
        let (compiled, signature) = network::compile(runtime, file, options).map_err(refused)?;
        let signature = signature.or_known(options.known);
        Ok(Arc::new(model::CompiledNetwork::new(compiled, signature)))
    }
}

/// Its errors tell of its own source files, line by line; what matters comes last.
fn one_line(error: &openvino::InferenceError) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim).filter(|line| {
        !line.is_empty() && !line.starts_with("Exception from") && !line.starts_with("Check '")
    });
    let told: Vec<_> = lines.collect();
    if told.is_empty() { text.replace('\n', " ") } else { told.join(" ") }
}

//! Where engines are and what was found out about them: settings of the server and of the commands that
//! run a model.

use clap::Args;

use super::OptionalFile;
use crate::engine::{Engines, Libraries, Library};

/// Settings of engines.
#[derive(Args, Clone, Debug)]
pub struct EngineArgs {
    /// ONNX Runtime's library, or its directory; auto: looked for; off: not used
    #[arg(long, env = "OCELLI_ONNXRUNTIME_LIBRARY", default_value = "auto", value_name = "PATH")]
    pub onnxruntime_library: Library,

    /// OpenVINO's library (libopenvino_c), or its directory; auto: looked for; off: not used
    #[arg(long, env = "OCELLI_OPENVINO_LIBRARY", default_value = "auto", value_name = "PATH")]
    pub openvino_library: Library,

    /// Directory that remembers which engine was the fastest for a model here; off: none is kept.
    /// Empty: ocelli in the user's cache directory
    #[arg(
        long,
        env = "OCELLI_ENGINE_CACHE",
        default_value = "",
        hide_default_value = true,
        value_name = "DIR"
    )]
    pub engine_cache: OptionalFile,
}

impl EngineArgs {
    /// The engines there are.
    pub fn engines(&self) -> Engines {
        Engines::find(&Libraries {
            onnxruntime: self.onnxruntime_library.clone(),
            openvino: self.openvino_library.clone(),
        })
    }
}

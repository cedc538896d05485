//! The shared library: found once, loaded once, and kept until the process ends.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::ep::{CUDA, ExecutionProvider};
use ort::logging::LogLevel;

use super::one_line;
use crate::engine::library::Wanted;
use crate::engine::{About, Found, Precision};

pub(super) const WANTED: Wanted = Wanted {
    file: "libonnxruntime.so",
    variable: "ORT_DYLIB_PATH",
    package: "onnxruntime/capi",
    install: "pip install onnxruntime",
    setting: "onnxruntime_library",
    installed: &["/opt/onnxruntime/lib"],
};

/// The loaded library.
pub(super) struct Runtime {
    pub environment: Environment,
    path: PathBuf,
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();
static LOADING: Mutex<()> = Mutex::new(());

/// Loads the library at `path`, unless it is loaded. A process can have one.
pub(super) fn load(path: &Path) -> Result<&'static Runtime, String> {
    let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = match RUNTIME.get() {
        Some(runtime) => runtime,
        None => {
            let environment = environment(path)?;
            RUNTIME.get_or_init(|| Runtime { environment, path: path.to_owned() })
        }
    };
    if runtime.path != path {
        let loaded = runtime.path.display();
        return Err(format!("this process already has {loaded}, and can't load another"));
    }
    Ok(runtime)
}

fn environment(path: &Path) -> Result<Environment, String> {
    let builder = ort::init_from(path).map_err(|e| e.to_string().replace('\n', " "))?;
    let environment = builder
        .with_name("ocelli")
        .with_telemetry(false)
        .with_logger(Arc::new(|level, _category, _id, place, message| match level {
            LogLevel::Error | LogLevel::Fatal => {
                tracing::warn!(engine = super::NAME, place, "{message}");
            }
            _ => tracing::debug!(engine = super::NAME, place, "{message}"),
        }))
        .build()
        .map_err(|e| one_line(&e))?;
    // What it says below this would be put into words on every run.
    environment.set_log_level(LogLevel::Warning);
    Ok(environment)
}

impl Runtime {
    pub fn about(&self, precisions: &[Precision]) -> About {
        let mut devices = vec!["CPU".to_owned()];
        if matches!(CUDA::is_available(), Ok(true)) {
            devices.push("CUDA".to_owned());
        }
        About {
            found: Found::At(self.path.clone()),
            version: Some(self.version()),
            precisions: precisions.to_vec(),
            devices,
        }
    }

    /// The file says it, behind its links; the library's own words are about its build.
    fn version(&self) -> String {
        let file = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        let name = file.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let version = name.strip_prefix(WANTED.file).and_then(|rest| rest.strip_prefix('.'));
        version.map_or_else(|| ort::info().to_owned(), str::to_owned)
    }
}

//! The shared library: found once, loaded once, and kept until the process ends.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use openvino::{Core, DeviceType, PropertyKey};

use super::one_line;
use crate::engine::library::Wanted;
use crate::engine::{About, Found, Precision};

pub(super) const WANTED: Wanted = Wanted {
    file: "libopenvino_c.so",
    variable: "OPENVINO_LIB_PATH",
    package: "openvino/libs",
    install: "pip install openvino",
    setting: "openvino_library",
    installed: &[
        "/opt/intel/openvino/runtime/lib/intel64",
        "/opt/intel/openvino/runtime/lib/aarch64",
    ],
};

/// The loaded library.
pub(super) struct Runtime {
    /// What a model is compiled with are properties of the core, so one is compiled at a time.
    pub core: Mutex<Core>,
    /// What it computes in on this processor.
    pub precisions: Vec<Precision>,
    path: PathBuf,
    version: String,
    devices: Vec<String>,
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();
static LOADING: Mutex<()> = Mutex::new(());

/// Loads the library at `path`, unless it is loaded. A process can have one.
pub(super) fn load(path: &Path) -> Result<&'static Runtime, String> {
    let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = match RUNTIME.get() {
        Some(runtime) => runtime,
        None => {
            let runtime = Runtime::load(path)?;
            RUNTIME.get_or_init(|| runtime)
        }
    };
    if runtime.path != path {
        let loaded = runtime.path.display();
        return Err(format!("this process already has {loaded}, and can't load another"));
    }
    Ok(runtime)
}

impl Runtime {
    fn load(path: &Path) -> Result<Runtime, String> {
        openvino_sys::library::load_from(path.to_owned())?;
        let core = Core::new().map_err(|e| e.to_string().replace('\n', " "))?;
        let capabilities = core.get_property(&DeviceType::CPU, &PropertyKey::DeviceCapabilities);
        let capabilities = capabilities.map_err(|e| one_line(&e))?;
        let bf16 = capabilities.split_whitespace().any(|c| c == "BF16");
        let can = |p: &Precision| *p == Precision::F32 || bf16;
        let devices = core.available_devices().map_err(|e| one_line(&e))?;
        let devices = devices.iter().map(|d| d.as_ref().to_owned()).collect();
        Ok(Runtime {
            core: Mutex::new(core),
            precisions: Precision::ALL.into_iter().filter(can).collect(),
            path: path.to_owned(),
            version: openvino::version().build_number,
            devices,
        })
    }

    pub fn about(&self) -> About {
        About {
            found: Found::At(self.path.clone()),
            // What follows names the commit it was built from.
            version: self.version.split('-').next().map(str::to_owned),
            precisions: self.precisions.clone(),
            devices: self.devices.clone(),
        }
    }
}

//! The engines of this build, each with where its library lies.

use std::fmt;
use std::sync::Arc;

use super::{Engine, EngineError, Library};

/// Where the libraries of engines are to be looked for.
#[derive(Clone, Debug, Default)]
pub struct Libraries {
    /// ONNX Runtime's.
    pub onnxruntime: Library,
    /// OpenVINO's.
    pub openvino: Library,
}

impl Libraries {
    /// None: what is embedded has to do.
    pub fn off() -> Libraries {
        Libraries { onnxruntime: Library::Off, openvino: Library::Off }
    }
}

/// Every engine of this build. Clones share them.
#[derive(Clone)]
pub struct Engines {
    all: Vec<Arc<dyn Engine>>,
}

impl Engines {
    /// The embedded one first, which is the reference. A library is located now and loaded when its engine
    /// is first asked for something.
    pub fn find(libraries: &Libraries) -> Engines {
        let Libraries { onnxruntime, openvino } = libraries;
        let all: Vec<Arc<dyn Engine>> = vec![
            Arc::new(super::tract::Tract),
            #[cfg(feature = "onnxruntime")]
            Arc::new(super::onnxruntime::OnnxRuntime::find(onnxruntime)),
            #[cfg(feature = "openvino")]
            Arc::new(super::openvino::OpenVino::find(openvino)),
            #[cfg(feature = "faults")]
            Arc::new(super::faults::Faults),
        ];
        // A build without an engine has no use for its library.
        let _ = (onnxruntime, openvino);
        Engines { all }
    }

    /// Those that need no library.
    pub fn embedded() -> Engines {
        Engines::find(&Libraries::off())
    }

    /// All there are.
    pub fn all(&self) -> &[Arc<dyn Engine>] {
        &self.all
    }

    /// The engine called `name`.
    pub fn by_name(&self, name: &str) -> Result<Arc<dyn Engine>, EngineError> {
        let known = || self.all.iter().map(|e| e.name()).collect::<Vec<_>>().join(", ");
        let found = self.all.iter().find(|e| e.name() == name).cloned();
        found.ok_or_else(|| EngineError::Unknown { name: name.to_owned(), known: known() })
    }

    /// The one that needs nothing, and that others are held against.
    pub fn reference(&self) -> &Arc<dyn Engine> {
        &self.all[0]
    }
}

impl fmt::Debug for Engines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all.iter().map(|e| e.name())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_is_not_built_in_is_told_with_those_that_are() {
        let engines = Engines::embedded();
        assert_eq!(engines.by_name("tract").unwrap().name(), "tract");
        let error = engines.by_name("trakt").err().unwrap().to_string();
        assert!(error.starts_with("unknown engine `trakt`; known: tract"), "{error}");
        assert_eq!(engines.reference().name(), "tract");
    }
}

//! How a model is to be loaded, and what an engine tells of itself.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::{EngineError, Signature};

/// What numbers a model is computed in. What goes in and comes out keeps its own type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// As the model says: 32-bit floats, or the integers of a quantised model.
    #[default]
    F32,
    /// Brain floats with 8 bits of mantissa: faster where the processor has them, and less exact.
    Bf16,
}

impl Precision {
    /// Every one.
    pub const ALL: [Precision; 2] = [Precision::F32, Precision::Bf16];

    /// As `model.toml` and the status name it.
    pub const fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Precision, String> {
        let named = Precision::ALL.into_iter().find(|p| p.name() == text);
        named.ok_or_else(|| format!("unknown precision `{text}`; known: f32, bf16"))
    }
}

/// How a model is to be loaded.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions<'a> {
    /// Threads within one run.
    pub threads: usize,
    /// Runs at once.
    pub instances: usize,
    /// What it computes in; an engine that can't refuses.
    pub precision: Precision,
    /// What goes in and out, where somebody knows it already: from the file itself or from an engine that
    /// reads more of it. Tells an engine that forgets the names of dimensions which of them are the batch.
    pub known: Option<&'a Signature>,
}

impl Default for LoadOptions<'_> {
    fn default() -> Self {
        LoadOptions { threads: 1, instances: 1, precision: Precision::F32, known: None }
    }
}

impl LoadOptions<'_> {
    /// An error if what is asked for is none of `precisions`.
    pub(super) fn refuse_others(
        &self,
        engine: &'static str,
        precisions: &[Precision],
    ) -> Result<(), EngineError> {
        if precisions.contains(&self.precision) {
            return Ok(());
        }
        let reason = format!("it doesn't compute in {} on this machine", self.precision);
        Err(EngineError::Load { engine, reason })
    }
}

/// What there is of an engine on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Where it is.
    pub found: Found,
    /// Its own version, if it is there.
    pub version: Option<String>,
    /// What it can compute in here; nothing if it isn't there.
    pub precisions: Vec<Precision>,
    /// What it could compute on, in its own words. Models are run on the CPU.
    pub devices: Vec<String>,
}

/// Where an engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// In this binary.
    Embedded,
    /// In a library.
    At(PathBuf),
    /// Nowhere, or not usable; why, and what to do.
    Missing(String),
}

#[cfg(any(feature = "onnxruntime", feature = "openvino"))]
impl About {
    /// An engine that isn't there.
    pub(super) fn missing(reason: String) -> About {
        let (version, precisions, devices) = (None, Vec::new(), Vec::new());
        About { found: Found::Missing(reason), version, precisions, devices }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_precision_that_an_engine_lacks_is_refused_by_name() {
        let options = LoadOptions { precision: Precision::Bf16, ..LoadOptions::default() };
        let error = options.refuse_others("tract", &[Precision::F32]).unwrap_err().to_string();
        assert_eq!(error, "tract can't load the model: it doesn't compute in bf16 on this machine");
        assert!(options.refuse_others("openvino", &Precision::ALL).is_ok());
        assert_eq!("bf16".parse(), Ok(Precision::Bf16));
        assert!("fp16".parse::<Precision>().is_err());
    }
}

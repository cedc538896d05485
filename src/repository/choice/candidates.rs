//! The pairs of engine and precision that may run a model.

use std::sync::Arc;

use crate::engine::{Engine, EngineError, Engines, Format, Found, Precision};
use crate::repository::load::LoadError;
use crate::repository::spec::{AskedPrecision, ModelSpecFile};

/// At least one pair, in the order in which they are tried.
pub(super) struct Candidates {
    pub pairs: Vec<(Arc<dyn Engine>, Precision)>,
    /// The engines whose 32-bit answers the others are held against: the first that loads the model.
    pub references: Vec<Arc<dyn Engine>>,
    /// The name in `model.toml`, if it names one.
    named: Option<&'static str>,
    asked: AskedPrecision,
}

impl Candidates {
    /// What `model.toml` leaves open on this machine.
    pub fn of(
        engines: &Engines,
        spec: &ModelSpecFile,
        format: Format,
    ) -> Result<Candidates, LoadError> {
        let named = spec.engine.as_deref().filter(|name| *name != "auto");
        let named = named.map(|name| engines.by_name(name)).transpose()?;
        let references = match &named {
            Some(engine) => vec![engine.clone()],
            None => {
                let fit = engines.all().iter().filter(|e| e.competes() && e.reads(format));
                fit.cloned().collect()
            }
        };
        let asked = spec.precision;
        let wanted: &[Precision] = match asked {
            AskedPrecision::F32 => &[Precision::F32],
            AskedPrecision::Bf16 => &[Precision::Bf16],
            AskedPrecision::Auto => &Precision::ALL,
        };
        let mut pairs = Vec::new();
        for engine in &references {
            let about = engine.about();
            if let (Found::Missing(reason), Some(_)) = (&about.found, &named) {
                let (engine, reason) = (engine.name(), reason.clone());
                return Err(EngineError::Unavailable { engine, reason }.into());
            }
            let can = wanted.iter().filter(|p| about.precisions.contains(p));
            pairs.extend(can.map(|precision| (engine.clone(), *precision)));
        }
        if pairs.is_empty() && asked != AskedPrecision::Bf16 {
            let what = format.title();
            let mut what =
                format!("no engine that reads {what} is here; `ocelli engines` tells why");
            if format == Format::TfLite {
                what += "; or make ONNX of it: `python -m tf2onnx.convert --tflite model.tflite \
                         --output model.onnx`";
            }
            return Err(LoadError::NoEngine(vec![what]));
        }
        if pairs.is_empty() {
            let names: Vec<_> = references.iter().map(|e| e.name()).collect();
            let names = names.join(", ");
            return Err(LoadError::Spec(format!(
                "precision is bf16, in which none of {names} computes on this machine; \
                 `ocelli engines` tells what they can"
            )));
        }
        let named = named.map(|engine| engine.name());
        Ok(Candidates { pairs, references, named, asked })
    }

    /// The pair, if there is one only.
    pub fn only(&self) -> Option<(&Arc<dyn Engine>, Precision)> {
        match &self.pairs[..] {
            [(engine, precision)] => Some((engine, *precision)),
            _ => None,
        }
    }

    /// Why there is one only.
    pub fn why_only(&self) -> String {
        let what = match (self.named, self.asked) {
            (Some(_), _) => "as model.toml says",
            (None, AskedPrecision::Bf16) => "no other engine here computes in bf16",
            (None, _) => "no other engine is here",
        };
        what.to_owned()
    }

    /// In words that differ when something is asked for that may be chosen otherwise.
    pub fn told(&self) -> String {
        let engines = self.pairs.iter().map(|(engine, precision)| {
            let version = engine.about().version.unwrap_or_default();
            format!("{} {version} {precision}", engine.name())
        });
        let engines: Vec<_> = engines.collect();
        format!("{} of {}: {}", self.named.unwrap_or("auto"), self.asked_name(), engines.join(", "))
    }

    fn asked_name(&self) -> &'static str {
        match self.asked {
            AskedPrecision::F32 => "f32",
            AskedPrecision::Bf16 => "bf16",
            AskedPrecision::Auto => "f32 and bf16",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(toml: &str) -> Result<Candidates, LoadError> {
        let spec = ModelSpecFile::parse(toml, std::path::Path::new("model.toml")).unwrap();
        Candidates::of(&Engines::embedded(), &spec, Format::Onnx)
    }

    #[test]
    fn the_embedded_engine_is_the_only_one_where_no_library_is() {
        let candidates = of("precision = \"auto\"").unwrap();
        let (engine, precision) = candidates.only().unwrap();
        assert_eq!((engine.name(), precision), ("tract", Precision::F32));
        assert_eq!(candidates.why_only(), "no other engine is here");
        let named = of("engine = \"tract\"").unwrap();
        assert_eq!(named.why_only(), "as model.toml says");
    }

    #[test]
    fn what_is_not_to_be_had_is_told_with_what_to_do() {
        let error = of("precision = \"bf16\"").err().unwrap().to_string();
        assert!(error.contains("none of tract"), "{error}");
        let error = of("engine = \"nothing\"").err().unwrap().to_string();
        assert!(error.starts_with("unknown engine `nothing`"), "{error}");
    }

    #[test]
    fn a_format_that_no_engine_here_reads_is_told() {
        let of = Candidates::of(&Engines::embedded(), &ModelSpecFile::default(), Format::TfLite);
        let error = of.err().unwrap().to_string();
        assert!(error.contains("no engine that reads TensorFlow Lite is here"), "{error}");
        assert!(error.contains("tf2onnx.convert --tflite"), "{error}");
    }

    #[test]
    #[cfg(feature = "onnxruntime")]
    fn a_named_engine_without_its_library_is_told() {
        let error = of("engine = \"onnxruntime\"").err().unwrap().to_string();
        assert_eq!(error, "onnxruntime isn't available: onnxruntime_library is off");
    }
}

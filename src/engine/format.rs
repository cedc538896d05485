//! The formats of model files.

use std::path::{Path, PathBuf};

/// A format that some engine reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// ONNX: every engine's.
    Onnx,
    /// TensorFlow Lite: OpenVINO's only.
    TfLite,
}

impl Format {
    /// Every one. Where a directory has files of several, the first counts.
    pub const ALL: [Format; 2] = [Format::Onnx, Format::TfLite];

    /// As files, platforms and statuses name it.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Onnx => "onnx",
            Format::TfLite => "tflite",
        }
    }

    /// As people name it.
    pub const fn title(self) -> &'static str {
        match self {
            Format::Onnx => "ONNX",
            Format::TfLite => "TensorFlow Lite",
        }
    }

    /// The model file of a version directory.
    pub const fn file_name(self) -> &'static str {
        match self {
            Format::Onnx => "model.onnx",
            Format::TfLite => "model.tflite",
        }
    }

    /// By the end of a file's name; ONNX if it says nothing.
    pub fn of(path: &Path) -> Format {
        let end = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        Format::ALL.into_iter().find(|f| f.name() == end).unwrap_or(Format::Onnx)
    }

    /// The model file in a version directory, if there is one.
    pub fn find(version_dir: &Path) -> Option<PathBuf> {
        Format::ALL.iter().map(|f| version_dir.join(f.file_name())).find(|p| p.exists())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_model_file_and_onnx_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Format::find(dir.path()), None);
        std::fs::write(dir.path().join("model.tflite"), "x").unwrap();
        let found = Format::find(dir.path()).unwrap();
        assert_eq!(
            (found.file_name().unwrap().to_str(), Format::of(&found)),
            (Some("model.tflite"), Format::TfLite)
        );
        std::fs::write(dir.path().join("model.onnx"), "x").unwrap();
        assert_eq!(Format::of(&Format::find(dir.path()).unwrap()), Format::Onnx);
    }
}

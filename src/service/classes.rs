//! The best class of each row, for whoever compares answers.

use smallvec::SmallVec;

use crate::engine::BatchMode;
use crate::router::ServedVersion;
use crate::tensor::Tensor;
use crate::vision::{Answerer, best};

/// A class a row.
pub type Classes = SmallVec<[u32; 1]>;

/// The best class of each row: of the output that `model.toml` declares as a classification, or else of
/// the only output if it has one score a class. `None` for other models.
pub fn top_classes(version: &ServedVersion, outputs: &[Tensor]) -> Option<Classes> {
    rows(version, outputs, |row| best(row, 1).first().map(|c| *c as u32))?.into_iter().collect()
}

/// As [`top_classes`], so many of each row, the best first.
pub fn top_k_classes(
    version: &ServedVersion,
    outputs: &[Tensor],
    count: usize,
) -> Option<Vec<Vec<u32>>> {
    rows(version, outputs, |row| best(row, count).into_iter().map(|c| c as u32).collect())
}

fn rows<T>(
    version: &ServedVersion,
    outputs: &[Tensor],
    of: impl Fn(&[f32]) -> T,
) -> Option<Vec<T>> {
    let output = match (&version.answerer, outputs) {
        (Some(Answerer::Classifier(classifier)), _) => outputs.get(classifier.output())?,
        (None, [only]) if only.shape().len() == 2 => only,
        _ => return None,
    };
    if version.signature().batch_mode == BatchMode::Whole {
        return None;
    }
    let scores = output.to_f32()?;
    let rows = output.rows();
    let classes = scores.len().checked_div(rows)?;
    if classes < 2 {
        return None;
    }
    Some(scores.chunks_exact(classes).map(of).collect())
}

//! Answers that are kept by what was asked, for models whose `model.toml` has `[cache]`.
//!
//! The service asks before it puts a request into a queue. Each version has its own cache, which ends with it:
//! so what is found was computed from the same inputs by the same files, preprocessing included.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::error::InferError;
use crate::input::InputValue;
use crate::telemetry::cache::CacheTally;
use crate::tensor::Tensor;
use crate::vision::Placement;

/// Bytes that an answer takes beside its numbers: its key, its shapes, its place among the others.
const OVERHEAD: usize = 256;

/// `[cache]` of `model.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheSpec {
    /// Bytes of answers that are kept at most.
    pub max_bytes: u64,
    /// Seconds that an answer is kept at most; for ever, as long as there is room, without it.
    pub ttl_seconds: Option<f64>,
}

impl Default for CacheSpec {
    fn default() -> CacheSpec {
        CacheSpec { max_bytes: 64 << 20, ttl_seconds: None }
    }
}

/// What was asked: SHA-256 over the inputs, as they came. Two images that differ in a byte differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

/// What was answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// In the signature's order.
    pub outputs: Vec<Tensor>,
    /// How each image was laid into the model's input; empty if tensors came.
    pub placements: Vec<Placement>,
}

/// The answers of one version.
pub struct Cache {
    answers: moka::future::Cache<Key, Kept>,
    tally: CacheTally,
    /// What the gauge has of it: a version's successor has the same gauge.
    told: AtomicI64,
}

impl CacheSpec {
    /// Says what makes no sense.
    pub fn check(&self) -> Result<(), String> {
        if self.max_bytes == 0 {
            return Err("[cache] max_bytes starts at 1; leave [cache] out for none".to_owned());
        }
        let year = 366.0 * 86_400.0;
        match self.ttl_seconds {
            Some(ttl) if !(0.001..=year).contains(&ttl) => {
                Err("[cache] ttl_seconds lies between 0.001 and a year".to_owned())
            }
            _ => Ok(()),
        }
    }
}

impl Key {
    /// The key of inputs, whatever their order. Takes as long as reading them.
    pub fn of(inputs: &[(String, InputValue)]) -> Key {
        let mut sorted: Vec<_> = inputs.iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        let mut digest = Sha256::new();
        let number = |digest: &mut Sha256, n: usize| digest.update((n as u64).to_le_bytes());
        // Every length stands before what it is of, so that no two lists of inputs read the same.
        for (name, value) in sorted {
            number(&mut digest, name.len());
            digest.update(name);
            match value {
                InputValue::Tensor(tensor) => {
                    digest.update(b"T");
                    digest.update(tensor.dtype().name());
                    number(&mut digest, tensor.shape().len());
                    tensor.shape().iter().for_each(|n| number(&mut digest, *n));
                    number(&mut digest, tensor.data().len());
                    tensor.data().pieces().iter().for_each(|piece| digest.update(piece));
                }
                InputValue::Images(images) => {
                    digest.update(b"I");
                    number(&mut digest, images.len());
                    for image in images {
                        number(&mut digest, image.len());
                        digest.update(image);
                    }
                }
            }
        }
        Key(digest.finalize().into())
    }
}

impl Kept {
    /// A copy in memory of its own: outputs are slices of a whole batch, which would be kept with them.
    pub fn apart(&self) -> Kept {
        let outputs = self.outputs.iter().map(Tensor::apart).collect();
        Kept { outputs, placements: self.placements.clone() }
    }

    fn bytes(&self) -> usize {
        let outputs: usize = self.outputs.iter().map(|t| t.data().len()).sum();
        outputs + size_of_val(self.placements.as_slice()) + OVERHEAD
    }
}

impl Cache {
    /// An empty one.
    pub fn new(spec: &CacheSpec, tally: CacheTally) -> Cache {
        let weigh = |_: &Key, kept: &Kept| u32::try_from(kept.bytes()).unwrap_or(u32::MAX);
        let mut answers =
            moka::future::Cache::builder().weigher(weigh).max_capacity(spec.max_bytes);
        if let Some(ttl) = spec.ttl_seconds {
            answers = answers.time_to_live(Duration::from_secs_f64(ttl));
        }
        Cache { answers: answers.build(), tally, told: AtomicI64::new(0) }
    }

    /// What is kept for `key`, or what `compute` gives, which is then kept. However many ask at a time, one
    /// computes and the others wait for it; if its caller leaves, another one takes over. An error is not
    /// kept, and is told to all who waited.
    pub async fn get_or(
        &self,
        key: Key,
        compute: impl Future<Output = Result<Kept, InferError>>,
    ) -> Result<Kept, Arc<InferError>> {
        self.answers.try_get_with(key, compute).await
    }

    /// Takes note of an answer that was kept.
    pub fn hit(&self) {
        self.tally.hits.inc();
    }

    /// Takes note of an answer that is kept as of now.
    pub async fn missed(&self) {
        self.tally.misses.inc();
        // Makes room, too, which is otherwise put off.
        self.answers.run_pending_tasks().await;
        self.tell(i64::try_from(self.answers.weighted_size()).unwrap_or(i64::MAX));
    }

    fn tell(&self, bytes: i64) {
        self.tally.bytes.add(bytes - self.told.swap(bytes, Ordering::Relaxed));
    }

    /// Takes note of a request that wanted none of it.
    pub fn skipped(&self) {
        self.tally.skipped.inc();
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.tell(0);
    }
}

#[cfg(test)]
mod tests;

//! Request bodies: read within bounds of size, memory and time, or done away with politely.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::InferError;
use crate::tensor::Data;

/// The budget counts in units, since a semaphore counts in 32 bits.
const UNIT: usize = 1 << 10;

/// How much of a refused body is read, and for how long at most.
const DISCARD: (usize, Duration) = (1 << 20, Duration::from_millis(20));

/// Reads bodies within two bounds: of one body, and of all that are held at a time.
pub struct Bodies {
    limit: usize,
    budget: Arc<Semaphore>,
}

/// A body that was read; its share of the budget is held as long as this is.
pub struct Read {
    /// The bytes, after decompression, in the frames they came in.
    pub data: Data,
    _share: Share,
}

/// What one request takes of the budget. Given back when dropped.
#[derive(Default)]
pub struct Share(Option<OwnedSemaphorePermit>);

impl Bodies {
    /// Bodies of at most `limit` bytes, `together` at a time.
    pub fn new(limit: usize, together: usize) -> Bodies {
        let units = together.max(limit).div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        Bodies { limit, budget: Arc::new(Semaphore::new(units)) }
    }

    /// Reads to the end. A length that is told and too large is refused before anything is read.
    pub async fn read(&self, body: &mut Body) -> Result<Read, InferError> {
        let too_large = || InferError::TooLarge { limit: self.limit };
        if body.size_hint().lower() > self.limit as u64 {
            return Err(too_large());
        }
        let (mut data, mut share) = (Data::new(), Share::default());
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame.map_err(unreadable)?.into_data() else { continue };
            if data.len() + frame.len() > self.limit {
                return Err(too_large());
            }
            data.push(frame);
            self.grow(&mut share, held(&data))?;
        }
        Ok(Read { data, _share: share })
    }

    /// The bytes that one body or message may have.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Reads to the end before `deadline`, or gives what `late` makes.
    pub async fn read_by(
        &self,
        body: &mut Body,
        deadline: Instant,
        late: impl FnOnce() -> InferError,
    ) -> Result<Read, InferError> {
        tokio::time::timeout_at(deadline.into(), self.read(body)).await.map_err(|_| late())?
    }

    /// Makes a share one of `bytes`.
    pub fn grow(&self, share: &mut Share, bytes: usize) -> Result<(), InferError> {
        let held = share.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.div_ceil(UNIT).saturating_sub(held);
        let more = u32::try_from(more).map_err(|_| InferError::BodiesFull)?;
        let more = self.budget.clone().try_acquire_many_owned(more);
        let more = more.map_err(|_| InferError::BodiesFull)?;
        match &mut share.0 {
            Some(share) => share.merge(more),
            None => share.0 = Some(more),
        }
        Ok(())
    }
}

/// Bytes that data takes: a sender may cut it into the smallest pieces.
pub fn held(data: &Data) -> usize {
    data.len() + size_of_val(data.pieces())
}

/// The error of a body that breaks off.
pub fn unreadable(error: axum::Error) -> InferError {
    InferError::Invalid(format!("can't read the body: {error}"))
}

/// Reads a body that nobody wants, within bounds. Most clients look for an answer only when they
/// have sent all, and a connection that is closed while they send takes the answer with it.
pub async fn discard(body: &mut Body) {
    let (mut left, within) = DISCARD;
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    };
    // What is still coming by then is cut off with the connection.
    drop(tokio::time::timeout(within, read).await);
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    fn frames(sizes: &[usize]) -> Body {
        let frames: Vec<Result<Bytes, std::io::Error>> =
            sizes.iter().map(|n| Ok(Bytes::from(vec![b'x'; *n]))).collect();
        Body::from_stream(stream::iter(frames))
    }

    #[tokio::test]
    async fn joins_frames_and_refuses_what_is_over_the_limit() {
        let bodies = Bodies::new(10, 100);
        assert_eq!(
            bodies.read(&mut frames(&[4, 6])).await.unwrap().data.to_bytes(),
            vec![b'x'; 10]
        );
        let told = bodies.read(&mut Body::from(vec![0; 11])).await;
        assert!(matches!(told, Err(InferError::TooLarge { limit: 10 })));
        let counted = bodies.read(&mut frames(&[4, 7])).await;
        assert!(matches!(counted, Err(InferError::TooLarge { limit: 10 })));
    }

    #[tokio::test]
    async fn the_budget_is_shared_and_given_back() {
        let bodies = Bodies::new(2 * UNIT, 3 * UNIT);
        let held = bodies.read(&mut frames(&[UNIT, UNIT])).await.unwrap();
        let refused = bodies.read(&mut frames(&[UNIT, 1])).await;
        assert!(matches!(refused, Err(InferError::BodiesFull)));
        drop(held);
        bodies.read(&mut frames(&[UNIT, UNIT])).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_late() {
        let bodies = Bodies::new(10, 10);
        let never = stream::pending::<Result<Bytes, std::io::Error>>();
        let deadline = (tokio::time::Instant::now() + Duration::from_secs(1)).into_std();
        let mut body = Body::from_stream(never);
        let read = bodies.read_by(&mut body, deadline, || InferError::ShuttingDown).await;
        assert!(matches!(read, Err(InferError::ShuttingDown)));
        discard(&mut body).await;
    }
}

//! The images of a request while they are decoded: how the decoders tell the scheduler what they do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::core::QueueId;
use super::scheduler::Shared;

/// Images that wait for a decoder or are with one; what is left of them no longer counts when this is dropped.
pub struct Images(Arc<Waiting>);

/// Tells of one of them.
pub struct Image(Arc<Waiting>);

struct Waiting {
    shared: Arc<Shared>,
    queue: QueueId,
    left: AtomicUsize,
}

impl Images {
    pub(super) fn new(shared: Arc<Shared>, queue: QueueId, images: usize) -> Images {
        Images(Arc::new(Waiting { shared, queue, left: AtomicUsize::new(images) }))
    }

    /// What the decoder of one tells.
    pub fn one(&self) -> Image {
        Image(self.0.clone())
    }
}

impl Image {
    /// It was decoded, or could not be: that took so long, and so much of a CPU.
    pub fn took(self, wall: Duration, cpu: Duration) {
        let Waiting { shared, queue, left } = &*self.0;
        let one =
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        let now = Instant::now();
        shared.decoding(*queue, |decoding| {
            decoding.leave(usize::from(one.is_ok()));
            decoding.took(wall, cpu, now);
        });
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        let left = self.0.left.swap(0, Ordering::Relaxed);
        if left > 0 {
            self.0.shared.decoding(self.0.queue, |decoding| decoding.leave(left));
        }
    }
}

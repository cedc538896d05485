//! Memory that runs use again and again. What an answer still holds comes back when the last holder of
//! the answer lets go of it.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Idle things of a kind. Taking one and giving it back allocates nothing.
pub(super) struct Pool<T> {
    idle: Mutex<Vec<T>>,
    keep: usize,
}

impl<T> Pool<T> {
    /// Keeps at most so many that nobody uses.
    pub fn new(keep: usize) -> Arc<Pool<T>> {
        Arc::new(Pool { idle: Mutex::new(Vec::with_capacity(keep)), keep })
    }

    /// The one given back last of those that fit.
    pub fn take(&self, fits: impl Fn(&T) -> bool) -> Option<T> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let at = idle.iter().rposition(fits)?;
        Some(idle.remove(at))
    }

    /// To be used again. The one that has waited longest goes, if there are too many.
    pub fn give(&self, item: T) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = (idle.len() >= self.keep && !idle.is_empty()).then(|| idle.remove(0));
        idle.push(item);
        drop(idle);
        // Freed when others may go on.
        drop(oldest);
    }
}

impl<T: AsRef<[u8]> + Send + 'static> Pool<T> {
    /// The bytes of a thing, which goes back into the pool when the last slice of them is gone.
    pub fn lend(self: &Arc<Self>, item: T) -> Bytes {
        Bytes::from_owner(Lent { item: Some(item), pool: self.clone() })
    }
}

struct Lent<T> {
    /// `None` only while it is dropped.
    item: Option<T>,
    pool: Arc<Pool<T>>,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Lent<T> {
    fn as_ref(&self) -> &[u8] {
        self.item.as_ref().map_or(&[], AsRef::as_ref)
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        if let Some(item) = self.item.take() {
            self.pool.give(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_comes_back_with_the_last_slice() {
        let pool = Pool::new(2);
        let lent = pool.lend(vec![1u8, 2, 3]);
        let slice = lent.slice(1..);
        drop(lent);
        assert!(pool.take(|_| true).is_none());
        assert_eq!(slice[..], [2, 3]);
        drop(slice);
        assert_eq!(pool.take(|v| v.len() == 3), Some(vec![1, 2, 3]));
    }

    #[test]
    fn keeps_the_last_ones_and_gives_only_what_fits() {
        let pool = Pool::new(2);
        [1, 2, 3].into_iter().for_each(|n| pool.give(n));
        assert_eq!(pool.take(|n| *n == 1), None);
        assert_eq!(pool.take(|n| *n == 2), Some(2));
        assert_eq!((pool.take(|_| true), pool.take(|_| true)), (Some(3), None));
    }
}

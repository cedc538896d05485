//! Whether there are cores to spare for work that nobody waits for. The compute threads report what they do;
//! a thread that gives way asks before each step.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

/// How many compute threads are at work, and how many may be while others work beside them.
pub struct Headroom {
    busy: AtomicUsize,
    /// So many busy threads leave no room.
    full: usize,
    waiting: AtomicBool,
    lock: Mutex<()>,
    freed: Condvar,
}

/// A compute thread is at work for as long as this lives.
pub(super) struct AtWork<'a>(&'a Headroom);

impl Headroom {
    /// Of `threads` compute threads. The one who asks takes a core, and one is left for what comes next: the
    /// sockets, and the next request, which must not find its core taken.
    pub fn new(threads: usize) -> Headroom {
        Headroom {
            busy: AtomicUsize::new(0),
            full: threads.saturating_sub(1).max(1),
            waiting: AtomicBool::new(false),
            lock: Mutex::new(()),
            freed: Condvar::new(),
        }
    }

    /// Takes note of a thread that computes answers.
    pub(super) fn at_work(&self) -> AtWork<'_> {
        self.busy.fetch_add(1, Ordering::SeqCst);
        AtWork(self)
    }

    /// Blocks while answers need the cores; tells whether there was room before `until`.
    pub fn wait(&self, until: Instant) -> bool {
        if self.has_room() {
            return true;
        }
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        // Set before the last look, as `busy` is changed before the look at `waiting`: one of the two sees the other.
        self.waiting.store(true, Ordering::SeqCst);
        while !self.has_room() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.freed.wait_timeout(guard, left);
            guard = woken.unwrap_or_else(PoisonError::into_inner).0;
            self.waiting.store(true, Ordering::SeqCst);
        }
        self.has_room()
    }

    fn has_room(&self) -> bool {
        self.busy.load(Ordering::SeqCst) < self.full
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let room = self.0;
        let before = room.busy.fetch_sub(1, Ordering::SeqCst);
        if before == room.full && room.waiting.swap(false, Ordering::SeqCst) {
            drop(room.lock.lock().unwrap_or_else(PoisonError::into_inner));
            room.freed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_thread_is_left_beside_the_one_who_asks() {
        for (threads, room) in [(1, 1), (2, 1), (4, 3)] {
            let headroom = Headroom::new(threads);
            let busy: Vec<_> = (1..room).map(|_| headroom.at_work()).collect();
            assert!(headroom.wait(Instant::now()), "{threads} threads, {} busy", busy.len());
            let _last = headroom.at_work();
            assert!(!headroom.wait(Instant::now()), "{threads} threads, {room} busy");
        }
    }

    #[test]
    fn whoever_waits_is_woken_when_there_is_room() {
        let headroom = Headroom::new(2);
        for _ in 0..200 {
            let busy = headroom.at_work();
            std::thread::scope(|s| {
                let waiter = s.spawn(|| headroom.wait(Instant::now() + Duration::from_secs(60)));
                std::thread::yield_now();
                drop(busy);
                assert!(waiter.join().unwrap());
            });
        }
    }
}

//! The rows of one version that have one shape, which alone may share a batch. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::core::{Priority, Work};
use super::cost::Cost;

/// What a batch may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Rows at most.
    pub rows: usize,
    /// One piece of work alone, whatever its rows.
    pub alone: bool,
    /// Work that came longer ago is begun too late.
    pub patience: Option<Duration>,
}

/// Work that waits, by priority, and what its batches cost.
pub(super) struct Lane<W> {
    waiting: [VecDeque<W>; 3],
    rows: [usize; 3],
    /// What its batches cost.
    pub cost: Cost,
    /// When a batch was last taken, counted in batches of the queue.
    pub used: u64,
    /// Rows taken since a thread last was idle for a while.
    pub taken: usize,
    /// Rows that threads work on.
    running: usize,
    /// Rows that were done since a batch was last taken.
    done: usize,
    /// When a batch was last done.
    ran_at: Option<Instant>,
}

impl<W> Default for Lane<W> {
    fn default() -> Self {
        Lane {
            waiting: Default::default(),
            rows: [0; 3],
            cost: Cost::default(),
            used: 0,
            taken: 0,
            running: 0,
            done: 0,
            ran_at: None,
        }
    }
}

impl<W: Work> Lane<W> {
    pub fn push(&mut self, work: W) {
        let priority = work.priority() as usize;
        self.rows[priority] += work.rows();
        self.waiting[priority].push_back(work);
    }

    pub fn head(&self) -> Option<&W> {
        self.waiting.iter().find_map(VecDeque::front)
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.iter().all(VecDeque::is_empty)
    }

    /// Rows that wait.
    pub fn rows(&self) -> usize {
        self.rows.iter().sum()
    }

    /// Rows that go before one that comes now.
    pub fn rows_before(&self, priority: Priority) -> usize {
        self.rows[..=priority as usize].iter().sum()
    }

    /// Whether a batch of that size, or the one that stands alone, is there.
    pub fn fills(&self, rows: usize, alone: bool) -> bool {
        !self.is_empty() && (alone || self.rows() >= rows)
    }

    /// Takes out what nobody waits for any more, wherever it stands; gives its rows.
    pub fn sweep(&mut self, now: Instant, dead: &mut Vec<W>) -> usize {
        let before = self.rows();
        for (deque, rows) in self.waiting.iter_mut().zip(&mut self.rows) {
            for _ in 0..deque.len() {
                let Some(work) = deque.pop_front() else { break };
                if is_dead(&work, now) {
                    *rows -= work.rows();
                    dead.push(work);
                } else {
                    deque.push_back(work);
                }
            }
        }
        before - self.rows()
    }

    /// The same at the heads alone, where it would be in the way.
    pub fn sweep_heads(
        &mut self,
        now: Instant,
        patience: Option<Duration>,
        dead: &mut Vec<W>,
    ) -> usize {
        let before = self.rows();
        for (deque, rows) in self.waiting.iter_mut().zip(&mut self.rows) {
            while let Some(work) =
                deque.pop_front_if(|w| is_dead(w, now) || is_late(w, now, patience))
            {
                *rows -= work.rows();
                dead.push(work);
            }
        }
        before - self.rows()
    }

    /// The next batch; what is dead is put into `dead` instead.
    pub fn take(&mut self, bounds: Bounds, now: Instant, dead: &mut Vec<W>) -> Vec<W> {
        let (mut batch, mut taken) = (Vec::new(), 0);
        'lane: for (deque, rows) in self.waiting.iter_mut().zip(&mut self.rows) {
            while let Some(work) = deque.pop_front() {
                if is_dead(&work, now) || is_late(&work, now, bounds.patience) {
                    *rows -= work.rows();
                    dead.push(work);
                    continue;
                }
                let fits = taken + work.rows() <= bounds.rows && !bounds.alone;
                if !batch.is_empty() && !fits {
                    deque.push_front(work);
                    break 'lane;
                }
                *rows -= work.rows();
                taken += work.rows();
                batch.push(work);
            }
        }
        self.taken += taken;
        self.running += taken;
        self.done = 0;
        batch
    }

    /// So many rows that were taken have been run.
    pub fn ran(&mut self, rows: usize, now: Instant) {
        self.running = self.running.saturating_sub(rows);
        self.done += rows;
        self.ran_at = Some(now);
    }

    /// Rows that threads work on, with those that were done just now.
    pub fn under_way(&self) -> usize {
        self.running + self.done
    }

    /// A thread has nothing to do. If that lasts for as long as a row takes, and not only until callers are back
    /// with their next requests, a stretch of work is over.
    pub fn idle(&mut self, now: Instant) {
        let row = self.cost.curve().map_or(0.0, |c| c.exec(1));
        let lasts = |since| now.saturating_duration_since(since).as_secs_f64() >= row;
        if self.is_empty() && self.ran_at.is_none_or(lasts) {
            (self.taken, self.done) = (0, 0);
        }
    }

    /// All that waits, at the end.
    pub fn drain(&mut self) -> impl Iterator<Item = W> {
        self.rows = [0; 3];
        std::mem::take(&mut self.waiting).into_iter().flatten()
    }
}

fn is_dead(work: &impl Work, now: Instant) -> bool {
    work.deadline() <= now || work.is_abandoned()
}

/// Whether an objective is missed even if the work is begun now.
fn is_late(work: &impl Work, now: Instant, patience: Option<Duration>) -> bool {
    patience.is_some_and(|patience| now.saturating_duration_since(work.since()) > patience)
}

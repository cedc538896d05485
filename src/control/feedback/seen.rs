//! What was said already. Pure.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use uuid::Uuid;

/// How many are remembered at least.
pub const REMEMBERED: usize = 1 << 17;

/// Rows that feedback was taken for: the last [`REMEMBERED`], and up to as many before them.
///
/// Two generations of hashes, and the older one is forgotten as a whole. At eight bytes a hash, one
/// of control and a load of at least a half both together take 4.5 MiB at most. Two different rows
/// have the same hash once in 2^46.
#[derive(Default)]
pub struct Seen {
    hasher: RandomState,
    newer: HashSet<u64>,
    older: HashSet<u64>,
}

impl Seen {
    /// Remembers a row of an answer; says whether it is new.
    pub fn insert(&mut self, unique: Uuid, row: u32) -> bool {
        let hash = self.hasher.hash_one((unique.as_u128(), row));
        if self.older.contains(&hash) || !self.newer.insert(hash) {
            return false;
        }
        if self.newer.len() == REMEMBERED {
            std::mem::swap(&mut self.newer, &mut self.older);
            self.newer.clear();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(seen: &mut Seen, n: usize) -> bool {
        seen.insert(Uuid::from_u128(n as u128 / 2), n as u32 % 2)
    }

    #[test]
    fn knows_the_last_ones_and_forgets_the_oldest_first() {
        let mut seen = Seen::default();
        let total = 3 * REMEMBERED + 5;
        assert!((0..total).all(|n| insert(&mut seen, n)));
        assert!((total - REMEMBERED..total).all(|n| !insert(&mut seen, n)));
        assert!(insert(&mut seen, 0));
        assert!(!insert(&mut seen, 0));
    }

    #[test]
    fn is_bounded() {
        let mut seen = Seen::default();
        assert!((0..5 * REMEMBERED).all(|n| insert(&mut seen, n)));
        assert!(seen.newer.len() + seen.older.len() <= 2 * REMEMBERED);
        // What the docs say of memory: 2^18 buckets each, of which 7/8 may be used.
        assert!(seen.newer.capacity().max(seen.older.capacity()) <= (1 << 18) / 8 * 7);
    }
}

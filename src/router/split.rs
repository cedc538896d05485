//! A traffic table: shares of the requests by version. Pure.

use std::collections::BTreeMap;

/// Shares by version, ready to be picked from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// (version, upper end of its share), ascending; the last end is the total.
    ends: Vec<(u64, u64)>,
}

/// Why weights make no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// No arm, or all of them zero.
    #[error("traffic needs at least one version with a weight above 0")]
    Empty,
}

impl Split {
    /// A table from weights; only their ratios count. Arms without weight are left out.
    pub fn new(weights: &BTreeMap<u64, u32>) -> Result<Split, SplitError> {
        let mut total = 0;
        let ends: Vec<_> = weights
            .iter()
            .filter(|(_, weight)| **weight > 0)
            .map(|(version, weight)| {
                total += u64::from(*weight);
                (*version, total)
            })
            .collect();
        if ends.is_empty() { Err(SplitError::Empty) } else { Ok(Split { ends }) }
    }

    /// The arm that `point`, uniform over all of `u64`, falls on. Arms keep the order of their
    /// versions, so a small change of weights moves few points.
    pub fn pick(&self, point: u64) -> u64 {
        let total = self.ends.last().map_or(1, |(_, end)| *end);
        // The high half of the product scales `point` to the total without a division.
        let scaled = ((u128::from(point) * u128::from(total)) >> 64) as u64;
        let arm = self.ends.partition_point(|(_, end)| *end <= scaled);
        self.ends[arm.min(self.ends.len() - 1)].0
    }

    /// The versions that get traffic.
    pub fn versions(&self) -> impl Iterator<Item = u64> {
        self.ends.iter().map(|(version, _)| *version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(weights: &[(u64, u32)]) -> Split {
        Split::new(&weights.iter().copied().collect()).unwrap()
    }

    #[test]
    fn picks_in_proportion_to_the_weights() {
        let split = split(&[(1, 90), (2, 10), (3, 0)]);
        let n = 100_000u64;
        let hits = (0..n).filter(|i| split.pick(i * (u64::MAX / n)) == 2).count();
        assert!((9_990..=10_010).contains(&hits), "{hits}");
        assert_eq!(split.versions().collect::<Vec<_>>(), [1, 2]);
        assert_eq!((split.pick(0), split.pick(u64::MAX)), (1, 2));
    }

    #[test]
    fn refuses_a_table_without_weight() {
        assert_eq!(Split::new(&BTreeMap::from([(1, 0)])), Err(SplitError::Empty));
        assert_eq!(Split::new(&BTreeMap::new()), Err(SplitError::Empty));
    }
}

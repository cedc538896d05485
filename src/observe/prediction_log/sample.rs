//! Which predictions are logged. Pure.

use sha2::{Digest, Sha256};

/// A share of all ids, always the same ones: replicas agree without talking, a smaller share is part
/// of a larger one, and anyone can do it again. An id belongs to it if the first eight bytes of the
/// SHA-256 of its text, as a big-endian number, are below `share` times 2^64.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Ids whose hash is below. Of 2^64, so that it can be all.
    below: u128,
}

impl Sample {
    /// A share of 0 to 1; nothing else is one.
    pub fn new(share: f64) -> Option<Sample> {
        let below = (share * 2f64.powi(64)) as u128;
        (0.0..=1.0).contains(&share).then_some(Sample { below })
    }

    /// Whether it has this id.
    pub fn takes(&self, id: &str) -> bool {
        if self.below == 0 || self.below > u128::from(u64::MAX) {
            return self.below > 0;
        }
        let [a, b, c, d, e, f, g, h, ..] = Sha256::digest(id).0;
        u128::from(u64::from_be_bytes([a, b, c, d, e, f, g, h])) < self.below
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn is_what_the_docs_say_it_is() {
        // `printf abc | sha256sum` starts with ba7816bf8f01cfea: 0.72839… of 2^64.
        assert!(Sample::new(0.7284).unwrap().takes("abc"));
        assert!(!Sample::new(0.7283).unwrap().takes("abc"));
    }

    #[test]
    fn takes_its_share() {
        let sample = Sample::new(0.1).unwrap();
        let taken = (0..20_000).filter(|n| sample.takes(&format!("id-{n}"))).count();
        assert!((1_850..=2_150).contains(&taken), "{taken}");
    }

    #[test]
    fn a_share_is_from_0_to_1() {
        for wrong in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Sample::new(wrong), None);
        }
    }

    proptest! {
        #[test]
        fn a_smaller_share_is_part_of_a_larger(id in ".*", a in 0.0..=1.0, b in 0.0..=1.0) {
            let takes = |share: f64| Sample::new(share).unwrap().takes(&id);
            prop_assert!(takes(f64::max(a, b)) || !takes(f64::min(a, b)));
            prop_assert!(takes(1.0) && !takes(0.0));
        }
    }
}

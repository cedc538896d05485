//! What is followed of an input: mean and standard deviation. Pure.

use smallvec::SmallVec;

/// Sums that run side by side, so that the compiler can use vector instructions.
const LANES: usize = 32;

/// Mean and standard deviation. In single precision they stay the same in a file of JSON.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Mean.
    pub mean: f32,
    /// Standard deviation.
    pub std: f32,
}

/// Statistics of one input, of the whole or by channel. Of nothing, and of what holds something
/// that is not a number, they are not numbers either.
#[derive(Clone, Debug, PartialEq)]
pub struct InputStats(SmallVec<[Spread; 3]>);

impl InputStats {
    /// Of a whole tensor.
    pub fn of_f32(values: &[f32]) -> InputStats {
        InputStats::of_planes(values, 1)
    }

    /// By channel of an image whose channels follow each other (`CHW`). A tensor that can't be cut
    /// into so many is taken as a whole.
    pub fn of_planes(values: &[f32], channels: usize) -> InputStats {
        let plane = values.len().checked_div(channels).filter(|p| p * channels == values.len());
        match plane.filter(|p| *p > 0) {
            Some(plane) => InputStats(values.chunks_exact(plane).map(spread).collect()),
            None => InputStats([spread(values)].into_iter().collect()),
        }
    }

    /// By channel, in order.
    pub fn spreads(&self) -> &[Spread] {
        &self.0
    }
}

/// One pass. In double precision the squares lose nothing that matters, and can't overflow.
fn spread(values: &[f32]) -> Spread {
    let mut sums = [0f64; LANES];
    let mut squares = [0f64; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (i, value) in chunk.iter().enumerate() {
            let value = f64::from(*value);
            sums[i] += value;
            squares[i] += value * value;
        }
    }
    for (i, value) in rest.iter().enumerate() {
        let value = f64::from(*value);
        sums[i] += value;
        squares[i] += value * value;
    }
    let n = values.len() as f64;
    let mean = sums.iter().sum::<f64>() / n;
    let variance = squares.iter().sum::<f64>() / n - mean * mean;
    // Rounding may take it below zero; `max` would hide that it is not a number.
    let variance = if variance < 0.0 { 0.0 } else { variance };
    Spread { mean: mean as f32, std: variance.sqrt() as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn by_channel_or_of_the_whole() {
        let chw = [1., 1., 1., 1., 0., 2., 0., 2., 5., 5., 5., 9.];
        let stats = InputStats::of_planes(&chw, 3);
        let expected = [(1., 0.), (1., 1.), (6., 3f32.sqrt())];
        assert_eq!(stats.spreads(), expected.map(|(mean, std)| Spread { mean, std }));
        assert_eq!(InputStats::of_planes(&chw, 5), InputStats::of_f32(&chw));
        assert_eq!(InputStats::of_planes(&chw, 0), InputStats::of_f32(&chw));
    }

    #[test]
    fn what_is_no_number_stays_so_and_large_numbers_do_not_overflow() {
        let nan = |values: &[f32]| {
            let s = InputStats::of_planes(values, 1).0[0];
            s.mean.is_nan() && s.std.is_nan()
        };
        assert!(nan(&[]) && nan(&[1.0, f32::NAN]) && nan(&[f32::INFINITY, f32::NEG_INFINITY]));
        assert!(InputStats::of_f32(&[f32::INFINITY]).0[0].std.is_nan());
        let large = InputStats::of_f32(&[f32::MAX, f32::MIN]).0[0];
        assert_eq!((large.mean, large.std), (0.0, f32::MAX));
    }

    proptest! {
        #[test]
        fn are_those_of_two_plain_passes(
            values in prop::collection::vec(-1.0f32..1.0, 1..100),
            offset in -1e4f32..1e4,
        ) {
            let values: Vec<f32> = values.iter().map(|v| v + offset).collect();
            let n = values.len() as f64;
            let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
            let squares = values.iter().map(|v| (f64::from(*v) - mean).powi(2));
            let std = (squares.sum::<f64>() / n).sqrt();
            let got = InputStats::of_f32(&values).0[0];
            let near = |a: f32, b: f64| (f64::from(a) - b).abs() < 1e-4 + 1e-7 * b.abs();
            prop_assert!(near(got.mean, mean) && near(got.std, std), "{got:?} {mean} {std}");
        }
    }
}

//! Seeded randomness for simulations (SplitMix64, Steele, Lea, Flood 2014).

pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0xd134_2543_de82_ef95))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In (0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    pub(crate) fn hit(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    pub(crate) fn exponential(&mut self) -> f64 {
        -self.uniform().ln()
    }

    pub(crate) fn normal(&mut self) -> f64 {
        let angle = std::f64::consts::TAU * self.uniform();
        (2.0 * self.exponential()).sqrt() * angle.cos()
    }
}

/// The share of `runs` seeded runs for which `run` says yes.
pub(crate) fn share(runs: u64, mut run: impl FnMut(&mut Rng) -> bool) -> f64 {
    (0..runs).filter(|seed| run(&mut Rng::new(seed + 1))).count() as f64 / runs as f64
}

//! When requests start, in an open loop. Pure: a seed in, times out.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// A stretch of time with one rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Phase {
    /// Requests a second.
    pub rate: f64,
    /// How long.
    pub lasts: Duration,
}

/// How arrivals are spread.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    /// Exponential gaps: callers that know nothing of each other.
    Poisson,
    /// Equal gaps.
    Uniform,
    /// Seconds from the start, ascending; begun again at its end.
    Trace(Vec<f64>),
}

/// Times from the start, each with the phase it falls in.
pub struct Arrivals<'a> {
    phases: &'a [Phase],
    pattern: &'a Pattern,
    random: ChaCha8Rng,
    phase: usize,
    phase_start: f64,
    now: f64,
    position: usize,
}

impl<'a> Arrivals<'a> {
    /// Arrivals over `phases`; the same for the same seed.
    pub fn new(pattern: &'a Pattern, phases: &'a [Phase], seed: u64) -> Arrivals<'a> {
        let random = ChaCha8Rng::seed_from_u64(seed);
        let (phase_start, now) = (0.0, 0.0);
        Arrivals { phases, pattern, random, phase: 0, phase_start, now, position: 0 }
    }

    fn advance(&mut self, rate: f64) {
        self.now += match self.pattern {
            // `random` is in [0, 1), so the logarithm's argument is never zero.
            Pattern::Poisson => -(1.0 - self.random.random::<f64>()).ln() / rate,
            Pattern::Uniform => 1.0 / rate,
            Pattern::Trace(times) => {
                let length = times.last().copied().unwrap_or(0.0);
                let round = self.position / times.len();
                let at = round as f64 * length + times[self.position % times.len()];
                self.position += 1;
                at - self.now
            }
        };
    }
}

impl Iterator for Arrivals<'_> {
    type Item = (Duration, usize);

    fn next(&mut self) -> Option<(Duration, usize)> {
        self.advance(self.phases.get(self.phase)?.rate);
        loop {
            let phase = self.phases.get(self.phase)?;
            let end = self.phase_start + phase.lasts.as_secs_f64();
            if self.now < end {
                return Some((Duration::from_secs_f64(self.now), self.phase));
            }
            self.phase += 1;
            self.phase_start = end;
            // Gaps have no memory: the next phase starts afresh at its own rate.
            if !matches!(self.pattern, Pattern::Trace(_)) {
                self.now = end;
                self.advance(self.phases.get(self.phase)?.rate);
            }
        }
    }
}

/// `rate=20,5s;rate=600,30s`.
pub fn parse_phases(text: &str) -> anyhow::Result<Vec<Phase>> {
    let one = |part: &str| {
        let (rate, lasts) = part
            .trim()
            .strip_prefix("rate=")
            .and_then(|p| p.split_once(','))
            .with_context(|| format!("`{part}` is no phase; write rate=20,5s"))?;
        let rate: f64 = rate.parse().with_context(|| format!("`{rate}` is no rate"))?;
        ensure!(rate > 0.0 && rate.is_finite(), "a rate must be above 0, got {rate}");
        let lasts = humantime::parse_duration(lasts.trim())
            .with_context(|| format!("`{lasts}` is no time; write 5s"))?;
        ensure!(!lasts.is_zero(), "a phase must last longer than nothing");
        Ok(Phase { rate, lasts })
    };
    text.split(';').filter(|p| !p.trim().is_empty()).map(one).collect()
}

/// One time in seconds a line; `#` starts a comment.
pub fn parse_trace(text: &str) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let time: f64 =
            line.parse().with_context(|| format!("line {}: `{line}` is no time", number + 1))?;
        let before = times.last().copied().unwrap_or(0.0);
        ensure!(time.is_finite() && time >= before, "line {}: {time} comes too early", number + 1);
        times.push(time);
    }
    if times.last().is_none_or(|last| *last <= 0.0) {
        bail!("a trace needs a time after 0");
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(rate: f64, seconds: u64) -> Phase {
        Phase { rate, lasts: Duration::from_secs(seconds) }
    }

    #[test]
    fn poisson_has_its_mean_and_variance_and_the_same_seed_gives_the_same() {
        let phases = [phase(100.0, 1000)];
        let draw = |seed| -> Vec<_> { Arrivals::new(&Pattern::Poisson, &phases, seed).collect() };
        let times = draw(7);
        assert_eq!(times, draw(7));
        assert_ne!(times, draw(8));
        let mut counts = vec![0.0; 1000];
        times.iter().for_each(|(t, _)| counts[t.as_secs() as usize] += 1.0);
        let mean = counts.iter().sum::<f64>() / 1000.0;
        let variance = counts.iter().map(|c: &f64| (c - mean).powi(2)).sum::<f64>() / 1000.0;
        assert!((mean - 100.0).abs() < 2.0, "{mean}");
        assert!((variance / mean - 1.0).abs() < 0.2, "{variance}");
    }

    #[test]
    fn phases_keep_their_own_rates() {
        let phases = [phase(10.0, 2), phase(100.0, 1), phase(5.0, 2)];
        let all: Vec<_> = Arrivals::new(&Pattern::Uniform, &phases, 1).collect();
        let count = |n| all.iter().filter(|(_, p)| *p == n).count();
        assert!((19..=20).contains(&count(0)));
        assert!((99..=100).contains(&count(1)));
        assert!((9..=10).contains(&count(2)));
        assert!(all.windows(2).all(|w| w[0].0 <= w[1].0));
    }

    #[test]
    fn a_trace_is_played_and_begun_again() {
        let trace = Pattern::Trace(parse_trace("0.5 # first\n\n1\n").unwrap());
        let phases = [phase(1.0, 2)];
        let all: Vec<_> = Arrivals::new(&trace, &phases, 1).map(|(t, _)| t.as_secs_f64()).collect();
        assert_eq!(all, [0.5, 1.0, 1.5]);
        assert!(parse_trace("1\nx").unwrap_err().to_string().contains("line 2"));
        assert!(parse_trace("2\n1").unwrap_err().to_string().contains("line 2"));
        assert!(parse_trace("# nothing").is_err());
    }

    #[test]
    fn phases_are_read_and_faults_named() {
        let phases = parse_phases("rate=20,2s; rate=600,1s").unwrap();
        assert_eq!(phases, [phase(20.0, 2), phase(600.0, 1)]);
        for wrong in ["20,5s", "rate=x,5s", "rate=-1,5s", "rate=1,soon", "rate=1,0s"] {
            assert!(parse_phases(wrong).is_err(), "{wrong}");
        }
    }
}

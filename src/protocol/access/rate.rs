//! How often a key may ask: a bucket of `burst` requests that fills at `rate` a second.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// The limits of one key, and what is left of them.
pub(super) struct Limiter {
    clock: DefaultClock,
    bucket: DefaultDirectRateLimiter,
    quota: Quota,
}

impl Limiter {
    /// `rate` requests a second, `burst` at once; a second's worth if it is not given.
    pub(super) fn new(rate: f64, burst: Option<u32>) -> Result<Limiter, &'static str> {
        if !(1e-6..=1e6).contains(&rate) {
            return Err("`rate` must lie between 0.000001 and 1000000 requests a second");
        }
        let burst = burst.unwrap_or_else(|| rate.ceil() as u32);
        let burst = NonZeroU32::new(burst).ok_or("`burst` must be at least 1")?;
        let quota = Quota::with_period(Duration::from_secs_f64(rate.recip()))
            .ok_or("`rate` is too large")?
            .allow_burst(burst);
        let clock = DefaultClock::default();
        Ok(Limiter { bucket: RateLimiter::direct_with_clock(quota, clock.clone()), clock, quota })
    }

    /// Takes one request out of the bucket, or tells when there will be one.
    pub(super) fn take(&self) -> Result<(), Duration> {
        self.bucket.check().map_err(|until| until.wait_time_from(self.clock.now()))
    }

    /// Whether the other allows the same.
    pub(super) fn allows_as(&self, other: &Limiter) -> bool {
        self.quota == other.quota
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_says_when() {
        let limiter = Limiter::new(0.5, Some(3)).unwrap();
        assert!((0..3).all(|_| limiter.take().is_ok()));
        let wait = limiter.take().unwrap_err();
        assert!(wait > Duration::from_millis(1500) && wait <= Duration::from_secs(2), "{wait:?}");
    }

    #[test]
    fn without_a_burst_a_second_s_worth_is_taken_at_once() {
        let taken = |rate: f64| {
            let limiter = Limiter::new(rate, None).unwrap();
            (0..100).take_while(|_| limiter.take().is_ok()).count()
        };
        assert_eq!((taken(0.01), taken(2.5)), (1, 3));
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e7] {
            assert!(Limiter::new(rate, None).is_err(), "{rate}");
        }
        assert!(Limiter::new(1.0, Some(0)).is_err());
    }
}

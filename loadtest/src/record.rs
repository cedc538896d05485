//! Counts what came of the requests, by phase and by second. Time is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::client::Outcome;

/// Microseconds, to three digits.
pub type Times = Histogram<u64>;

/// One request, from its intended start on. All times are from the start of the run.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The phase it was meant for.
    pub phase: usize,
    /// When it should have been sent.
    pub intended: Duration,
    /// When it was.
    pub begun: Duration,
    /// When its answer was read.
    pub ended: Duration,
    /// What came of it.
    pub outcome: Outcome,
    /// Bytes of its body.
    pub sent: usize,
}

/// What came of a phase's requests.
pub struct Tally {
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without an answer, by reason.
    pub errors: BTreeMap<&'static str, u64>,
    /// Successful answers that came within the phase, of whichever phase's requests.
    pub good: u64,
    /// From the intended start, of successful answers.
    pub ok: Times,
    /// From the real start, of successful answers.
    pub ok_service: Times,
    /// From the intended start, of refusals (429, 503).
    pub refused: Times,
    /// From the real start, of refusals.
    pub refused_service: Times,
    /// From the intended start, of all else.
    pub other: Times,
    /// How late requests were sent.
    pub late: Times,
    /// Requests that were meant to be sent and were not, because too many were under way.
    pub not_sent: u64,
    /// Bytes of bodies sent.
    pub bytes_sent: u64,
    /// Bytes of bodies received.
    pub bytes_received: u64,
}

/// One second of the run.
pub struct Second {
    /// Requests begun.
    pub sent: u64,
    /// Successful answers.
    pub ok: u64,
    /// Refusals.
    pub refused: u64,
    /// All else.
    pub failed: u64,
    /// Of the successful answers that came in this second.
    pub times: Times,
}

/// The recorder.
pub struct Record {
    ends: Vec<Duration>,
    /// By phase.
    pub phases: Vec<Tally>,
    /// By second from the start.
    pub seconds: Vec<Second>,
    /// Most requests under way at once.
    pub max_in_flight: usize,
}

enum Class {
    Ok,
    Refused,
    Failed,
}

impl Record {
    /// For phases that end at `ends`.
    pub fn new(ends: Vec<Duration>) -> Record {
        let phases = ends.iter().map(|_| Tally::new()).collect();
        Record { ends, phases, seconds: Vec::new(), max_in_flight: 0 }
    }

    /// A request came to its end.
    pub fn add(&mut self, sample: Sample) {
        let Sample { phase, intended, begun, ended, outcome, sent } = sample;
        let class = match outcome {
            Outcome::Answered(200..300, _) => Class::Ok,
            Outcome::Answered(429 | 503, _) => Class::Refused,
            _ => Class::Failed,
        };
        let took = micros(ended.saturating_sub(intended));
        self.second(begun).sent += 1;
        let second = self.second(ended);
        match class {
            Class::Ok => {
                second.ok += 1;
                second.times.saturating_record(took);
                // An answer counts for the time it came in, or a backlog would flatter the phase
                // that left it behind.
                if let Some(at) = self.ends.iter().position(|end| ended <= *end) {
                    self.phases[at].good += 1;
                }
            }
            Class::Refused => second.refused += 1,
            Class::Failed => second.failed += 1,
        }
        let Some(tally) = self.phases.get_mut(phase) else { return };
        let service = micros(ended.saturating_sub(begun));
        match class {
            Class::Ok => {
                tally.ok.saturating_record(took);
                tally.ok_service.saturating_record(service);
            }
            Class::Refused => {
                tally.refused.saturating_record(took);
                tally.refused_service.saturating_record(service);
            }
            Class::Failed => tally.other.saturating_record(took),
        }
        tally.late.saturating_record(micros(begun.saturating_sub(intended)));
        tally.bytes_sent += sent as u64;
        let error = match outcome {
            Outcome::Answered(status, bytes) => {
                *tally.statuses.entry(status).or_default() += 1;
                tally.bytes_received += bytes as u64;
                return;
            }
            Outcome::NotConnected => "not connected",
            Outcome::Broken => "broken",
            Outcome::TimedOut => "timed out",
        };
        *tally.errors.entry(error).or_default() += 1;
    }

    /// A request of `phase` was not sent, because too many were under way.
    pub fn not_sent(&mut self, phase: usize) {
        if let Some(tally) = self.phases.get_mut(phase) {
            tally.not_sent += 1;
        }
    }

    fn second(&mut self, at: Duration) -> &mut Second {
        let at = at.as_secs() as usize;
        while self.seconds.len() <= at {
            let times = times();
            self.seconds.push(Second { sent: 0, ok: 0, refused: 0, failed: 0, times });
        }
        &mut self.seconds[at]
    }
}

impl Tally {
    fn new() -> Tally {
        Tally {
            statuses: BTreeMap::new(),
            errors: BTreeMap::new(),
            good: 0,
            ok: times(),
            ok_service: times(),
            refused: times(),
            refused_service: times(),
            other: times(),
            late: times(),
            not_sent: 0,
            bytes_sent: 0,
            bytes_received: 0,
        }
    }
}

#[allow(clippy::expect_used, reason = "three digits is within what the histogram takes")]
fn times() -> Times {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("constant bounds")
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_stall_shows_in_every_request_meant_for_it() {
        let mut record = Record::new(vec![ms(2000)]);
        // Meant every 10 ms, all answered when the stall ends at 1000 ms.
        for i in 0..100 {
            let intended = ms(i * 10);
            record.add(Sample {
                phase: 0,
                intended,
                begun: intended,
                ended: ms(1000),
                outcome: Outcome::Answered(200, 1),
                sent: 2,
            });
        }
        let tally = &record.phases[0];
        assert_eq!((tally.ok.len(), tally.good, tally.bytes_sent), (100, 100, 200));
        let median = tally.ok.value_at_quantile(0.5);
        assert!((495_000..=515_000).contains(&median), "{median}");
        assert_eq!(record.seconds[1].ok, 100);
        assert_eq!(record.seconds[0].sent, 100);
    }

    #[test]
    fn an_answer_counts_for_the_phase_it_comes_in() {
        let mut record = Record::new(vec![ms(1000), ms(2000)]);
        let mut add = |phase, ended, outcome| {
            let intended = ms(500);
            record.add(Sample { phase, intended, begun: ms(600), ended, outcome, sent: 0 });
        };
        add(0, ms(1500), Outcome::Answered(200, 0));
        add(0, ms(700), Outcome::Answered(503, 0));
        add(0, ms(700), Outcome::Broken);
        add(0, ms(9000), Outcome::Answered(200, 0));
        assert_eq!((record.phases[0].good, record.phases[1].good), (0, 1));
        let tally = &record.phases[0];
        assert_eq!(tally.statuses, BTreeMap::from([(200, 2), (503, 1)]));
        assert_eq!(tally.errors, BTreeMap::from([("broken", 1)]));
        assert_eq!((tally.refused.len(), tally.other.len(), tally.late.len()), (1, 1, 4));
    }
}

//! What is known of the arms of a model's traffic since its weights last changed: by this replica's own
//! counts, or by Prometheus' for all replicas.

mod prometheus;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::ledgers::Ledgers;
use super::publisher::Standing;
use crate::stats::ArmFigures;

pub use prometheus::{Prometheus, PrometheusError};

/// Where figures come from.
pub struct Figures {
    ledgers: Arc<Ledgers>,
    prometheus: Option<Prometheus>,
    marks: Mutex<HashMap<String, Marks>>,
}

/// Since when a model's figures are told.
struct Marks {
    /// When the set of arms changed.
    arms: Mark,
    /// When the weights did.
    weights: Mark,
    /// When they did before.
    before: Mark,
    shares: BTreeMap<u64, u32>,
}

#[derive(Clone)]
struct Mark {
    revision: u64,
    at: Instant,
    counts: BTreeMap<u64, ArmFigures>,
}

/// Since when figures are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// The versions that have traffic changed.
    Arms,
    /// Their weights changed.
    Weights,
}

/// The arms, and how long they have been so.
#[derive(Clone, Debug)]
pub struct Window {
    /// The revision that began it; 0 for what the files say.
    pub revision: u64,
    /// Since it began, by this process' clock.
    pub length: Duration,
    /// By version.
    pub arms: BTreeMap<u64, ArmFigures>,
    /// What the arms did under the weights before these, for what has no traffic any more.
    pub before: BTreeMap<u64, ArmFigures>,
}

impl Figures {
    /// Of this replica, or of all that `prometheus` scrapes.
    pub fn new(ledgers: Arc<Ledgers>, prometheus: Option<Prometheus>) -> Figures {
        Figures { ledgers, prometheus, marks: Mutex::default() }
    }

    /// Whether asking costs somebody else something, and what it tells changes only now and then.
    pub fn are_far(&self) -> bool {
        self.prometheus.is_some()
    }

    /// Notices when the traffic of a model became another. To be called often.
    pub fn look(&self, model: &str, standing: &Standing) {
        let Some(plan) = &standing.plan else { return };
        let shares = plan.slots.weights();
        let mut marks = self.lock();
        let known = marks.get(model);
        if known.is_some_and(|m| m.shares == shares) {
            return;
        }
        // Each arm from where it is now; one that comes later is counted from zero.
        let counts = standing.versions.keys().map(|v| (*v, counted(*v, standing)));
        let now = Mark { revision: plan.revision, at: Instant::now(), counts: counts.collect() };
        let same = known.is_some_and(|m| m.shares.keys().eq(shares.keys()));
        let arms = known.filter(|_| same).map_or_else(|| now.clone(), |m| m.arms.clone());
        let before = known.map_or_else(|| now.clone(), |m| m.weights.clone());
        marks.insert(model.to_owned(), Marks { arms, weights: now, before, shares });
    }

    /// What the arms did since then.
    pub async fn window(
        &self,
        model: &str,
        standing: &Standing,
        since: Since,
    ) -> Result<Window, PrometheusError> {
        self.look(model, standing);
        let marks = self.lock().get(model).map(|m| match since {
            Since::Arms => (m.arms.clone(), m.arms.clone()),
            Since::Weights => (m.weights.clone(), m.before.clone()),
        });
        let Some((mark, earlier)) = marks else {
            let (arms, before) = (BTreeMap::new(), BTreeMap::new());
            return Ok(Window { revision: 0, length: Duration::ZERO, arms, before });
        };
        let length = mark.at.elapsed();
        let (arms, before) = match &self.prometheus {
            Some(prometheus) => {
                let arms = prometheus.arms(model, length).await?;
                (arms, prometheus.arms(model, earlier.at.elapsed()).await?)
            }
            None => {
                let now: BTreeMap<u64, ArmFigures> =
                    standing.versions.keys().map(|v| (*v, counted(*v, standing))).collect();
                let mut arms = difference(&now, &mark.counts);
                let mut before = difference(&mark.counts, &earlier.counts);
                for (version, figures) in &mut arms {
                    self.ledgers.add(model, *version, mark.revision..u64::MAX, figures);
                }
                for (version, figures) in &mut before {
                    self.ledgers.add(model, *version, earlier.revision..mark.revision, figures);
                }
                (arms, before)
            }
        };
        Ok(Window { revision: mark.revision, length, arms, before })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Marks>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an arm did since it was loaded. What feedback says of it is counted by revision.
fn counted(version: u64, standing: &Standing) -> ArmFigures {
    let served = standing.versions.get(&version);
    served.map(|v| v.queue.target().metrics.arm.figures()).unwrap_or_default()
}

fn difference(
    now: &BTreeMap<u64, ArmFigures>,
    then: &BTreeMap<u64, ArmFigures>,
) -> BTreeMap<u64, ArmFigures> {
    let since = |(version, now): (&u64, &ArmFigures)| {
        let then = then.get(version).cloned().unwrap_or_default();
        (*version, minus(now, &then))
    };
    now.iter().map(since).collect()
}

fn minus(now: &ArmFigures, then: &ArmFigures) -> ArmFigures {
    // A version that was loaded again in between began at zero.
    if now.requests.n < then.requests.n {
        return now.clone();
    }
    ArmFigures {
        requests: now.requests.minus(then.requests),
        latency: now.latency.minus(&then.latency),
        accuracy: now.accuracy.minus(then.accuracy),
        agreement: now.agreement.minus(then.agreement),
        reward: now.reward.minus(then.reward),
    }
}

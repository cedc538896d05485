//! The scheduler with real threads and an engine that can fail, panic and take its time.

use std::sync::atomic::AtomicUsize;

use super::super::admission::Slo;
use super::super::rule::Rule;
use super::*;
use crate::engine::{Batch, Dim, EngineError, Model, Signature, TensorSpec};
use crate::tensor::DType;

/// Doubles its input. A row of 13 makes the run panic, a row of 66 makes it fail.
struct Odd {
    signature: Signature,
    runs: AtomicUsize,
    takes: Duration,
}

impl Model for Odd {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&self, batch: &Batch) -> Result<Vec<Tensor>, EngineError> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(self.takes);
        let input = &batch.inputs[0];
        let mut bytes = vec![0; input.len()];
        input.copy_rows(0..batch.rows, &mut bytes);
        let rows = Tensor::new(DType::F32, input.shape.clone(), bytes::Bytes::from(bytes)).unwrap();
        let rows = rows.to_f32().unwrap();
        assert!(!rows.contains(&13.0), "unlucky");
        if rows.contains(&66.0) {
            return Err(EngineError::Run { engine: "odd", reason: "poison".to_owned() });
        }
        let doubled: Vec<f32> = rows.iter().map(|r| r * 2.0).collect();
        Ok(vec![Tensor::from_f32(input.shape.clone(), &doubled).unwrap()])
    }
}

struct Bench {
    scheduler: Scheduler,
    queue: Arc<Queue>,
    model: Arc<Odd>,
    metrics: Arc<Metrics>,
}

fn bench(takes_ms: u64, max_batch: usize, max_queue_rows: usize) -> Bench {
    bench_within(takes_ms, max_batch, max_queue_rows, None)
}

fn bench_within(takes_ms: u64, max_batch: usize, max_queue_rows: usize, slo: Option<Slo>) -> Bench {
    let shape = || vec![Dim::Dynamic("n".to_owned()), Dim::Fixed(1)];
    let spec = |name: &str| TensorSpec { name: name.into(), dtype: DType::F32, shape: shape() };
    let signature = Signature::new(vec![spec("x")], vec![spec("y")]);
    let takes = Duration::from_millis(takes_ms);
    let model = Arc::new(Odd { signature, runs: AtomicUsize::new(0), takes });
    let metrics = Metrics::new(true).unwrap();
    let target = Arc::new(Target {
        name: "m".into(),
        version: 1,
        engine: "odd",
        model: model.clone(),
        metrics: Arc::new(metrics.version("m", 1)),
    });
    let scheduler = Scheduler::start(Threads { compute: 1, decode: 1 }, metrics.clone()).unwrap();
    let limits = Limits { rule: Rule::All, max_batch, max_queue_rows, slo, ..Limits::DEFAULT };
    let queue = Arc::new(scheduler.open(target, limits));
    Bench { scheduler, queue, model, metrics }
}

impl Bench {
    fn ask(&self, row: f32, within: Duration) -> tokio::task::JoinHandle<Result<f32, InferError>> {
        self.ask_as(row, within, Priority::Normal)
    }

    fn ask_as(
        &self,
        row: f32,
        within: Duration,
        priority: Priority,
    ) -> tokio::task::JoinHandle<Result<f32, InferError>> {
        let queue = self.queue.clone();
        tokio::spawn(async move {
            let input = Tensor::from_f32(vec![1, 1], &[row]).unwrap();
            let place = queue.reserve(priority)?;
            let reply = queue.infer(place, vec![input], Instant::now() + within).await?;
            Ok(reply.outputs[0].to_f32().unwrap()[0])
        })
    }

    fn told(&self, name: &str) -> f64 {
        let text = String::from_utf8(self.metrics.render().unwrap()).unwrap();
        let line = text.lines().find(|l| l.starts_with(name));
        line.unwrap_or_else(|| panic!("{name}: {text}"))
            .rsplit(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    }

    fn runs(&self) -> usize {
        self.model.runs.load(Ordering::Relaxed)
    }
}

const LONG: Duration = Duration::from_secs(20);

/// Lets what was spawned reach the queue.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(30)).await;
}

#[tokio::test]
async fn one_bad_row_fails_alone_and_the_thread_survives_a_panic() {
    let bench = bench(100, 8, 100);
    let first = bench.ask(1.0, LONG);
    settle().await;
    // These wait for the first, and so share a batch.
    let rows = [2.0, 66.0, 3.0, 13.0, 4.0];
    let asked: Vec<_> = rows.iter().map(|r| bench.ask(*r, LONG)).collect();
    assert_eq!(first.await.unwrap().unwrap(), 2.0);
    for (row, asked) in rows.iter().zip(asked) {
        let answer = asked.await.unwrap();
        match row {
            66.0 => assert!(answer.unwrap_err().to_string().contains("poison")),
            13.0 => assert!(answer.unwrap_err().to_string().contains("panicked: unlucky")),
            row => assert_eq!(answer.unwrap(), row * 2.0),
        }
    }
    // The first, the whole batch, and each of its five once more.
    assert_eq!(bench.runs(), 7);
    assert_eq!(bench.told("ocelli_engine_panics_total"), 2.0);
    assert_eq!(bench.ask(5.0, LONG).await.unwrap().unwrap(), 10.0);
    bench.scheduler.stop();
}

#[tokio::test]
async fn what_expired_or_was_abandoned_is_never_computed() {
    let bench = bench(150, 1, 100);
    let first = bench.ask(1.0, LONG);
    settle().await;
    let late = bench.ask(2.0, Duration::from_millis(40));
    let gone = bench.ask(3.0, LONG);
    settle().await;
    gone.abort();
    assert!(matches!(late.await.unwrap(), Err(InferError::DeadlineExceeded { .. })));
    assert_eq!(first.await.unwrap().unwrap(), 2.0);
    assert_eq!(bench.ask(4.0, LONG).await.unwrap().unwrap(), 8.0);
    assert_eq!(bench.runs(), 2);
    // Whoever waited for the late one had left, too, when its turn came.
    assert_eq!(bench.told("ocelli_expired_total") + bench.told("ocelli_abandoned_total"), 2.0);
    bench.scheduler.stop();
}

#[tokio::test]
async fn the_urgent_goes_first_and_a_busy_engine_lets_batches_grow() {
    let bench = bench(60, 4, 100);
    let first = bench.ask(1.0, LONG);
    settle().await;
    let started = Instant::now();
    let low: Vec<_> = (0..4).map(|_| bench.ask_as(2.0, LONG, Priority::Low)).collect();
    settle().await;
    let high = bench.ask_as(3.0, LONG, Priority::High);
    assert_eq!(high.await.unwrap().unwrap(), 6.0);
    let high_took = started.elapsed();
    assert_eq!(first.await.unwrap().unwrap(), 2.0);
    for low in low {
        assert_eq!(low.await.unwrap().unwrap(), 4.0);
    }
    assert!(high_took <= started.elapsed());
    // One alone; then the urgent one with three; then the last.
    assert_eq!(bench.runs(), 3);
    bench.scheduler.stop();
}

#[tokio::test]
async fn a_full_queue_counts_those_that_are_still_being_decoded() {
    let bench = bench(50, 1, 2);
    let (queue, normal) = (&bench.queue, Priority::Normal);
    let places = (queue.reserve(normal).unwrap(), queue.reserve(normal).unwrap());
    let full = queue.check_room(normal);
    assert!(matches!(full, Err(InferError::QueueFull { queued: 2, .. })));
    assert!(queue.reserve(normal).is_err());
    drop(places);
    assert_eq!(bench.ask(1.0, LONG).await.unwrap().unwrap(), 2.0);
    assert_eq!(bench.told("ocelli_rejected_total"), 2.0);
    bench.scheduler.stop();
}

#[tokio::test]
async fn what_would_miss_the_objective_is_refused_and_the_load_tells_of_it() {
    let slo = "p99=150ms".parse().unwrap();
    let bench = bench_within(60, 1, 100, Some(slo));
    bench.queue.learn(&[(1, Duration::from_millis(60)); 20]);
    let asked: Vec<_> = (0..8).map(|_| bench.ask(1.0, LONG)).collect();
    let mut answers = Vec::new();
    for asked in asked {
        answers.push(asked.await.unwrap());
    }
    let inside = answers.iter().filter(|a| a.is_ok()).count();
    // One that runs and one behind it can be in time.
    assert!((1..=3).contains(&inside), "{inside}");
    let refused = answers.into_iter().find_map(Result::err).unwrap();
    assert!(refused.to_string().contains("and miss its model's objective"), "{refused}");
    assert!(refused.retry_after().is_some());
    let rejected = bench.told("ocelli_rejected_total{model=\"m\",reason=\"slo\"");
    assert_eq!(rejected, (8 - inside) as f64);
    let report = bench.scheduler.meter().read();
    assert!(report.parts().refused > 0.0 && report.parts().served > 0.0, "{report:?}");
    assert_eq!(bench.told("ocelli_load "), report.load());
    assert_eq!(bench.told("ocelli_model_load{model=\"m\"}"), report.load());
    let cost =
        |part: &str| bench.told(&format!("ocelli_batch_cost_seconds{{model=\"m\",part=\"{part}\""));
    assert!((0.05..0.09).contains(&(cost("fixed") + cost("row"))));
    bench.scheduler.stop();
}

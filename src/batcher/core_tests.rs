use std::collections::VecDeque;

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    id: usize,
    rows: usize,
    at: Instant,
    deadline: Instant,
    priority: Priority,
    abandoned: bool,
}

impl Work for Item {
    fn rows(&self) -> usize {
        self.rows
    }
    fn enqueued(&self) -> Instant {
        self.at
    }
    fn since(&self) -> Instant {
        self.at
    }
    fn deadline(&self) -> Instant {
        self.deadline
    }
    fn priority(&self) -> Priority {
        self.priority
    }
    fn is_abandoned(&self) -> bool {
        self.abandoned
    }
}

const LIMITS: Limits =
    Limits { rule: Rule::All, max_batch: 4, max_queue_rows: 10, instances: 2, ..Limits::DEFAULT };

fn item(id: usize, rows: usize, at: Instant) -> Item {
    let deadline = at + Duration::from_secs(30);
    Item { id, rows, at, deadline, priority: Priority::Normal, abandoned: false }
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn a_queue_that_is_held_back_leaves_a_thread_free() {
    let mut w = World::new(Limits { max_batch: 1, ..LIMITS });
    let work: Vec<_> = (0..3).map(|id| item(id, 1, w.t0)).collect();
    w.core.set_instances(w.queue, 1);
    w.core.push(w.queue, &[1], work, w.t0, &mut w.dead).unwrap();
    assert!(matches!(w.core.next(w.t0, &mut w.dead), Next::Run(..)));
    assert_eq!(w.core.next(w.t0, &mut w.dead), Next::Idle);
    w.core.set_instances(w.queue, 2);
    assert!(matches!(w.core.next(w.t0, &mut w.dead), Next::Run(..)));
}

struct World {
    core: Core<Item>,
    queue: QueueId,
    t0: Instant,
    dead: Vec<Item>,
    runs: VecDeque<Run>,
}

impl World {
    fn new(limits: Limits) -> World {
        let mut core = Core::new(Threads { compute: 2, decode: 2 });
        let queue = core.open("m".into(), limits);
        World { core, queue, t0: Instant::now(), dead: Vec::new(), runs: VecDeque::new() }
    }

    fn push(&mut self, item: Item) -> Result<(), Refused> {
        let now = item.at;
        self.core.push(self.queue, &[3], vec![item], now, &mut self.dead)
    }

    /// Ids of the next batch.
    fn run(&mut self, now: Instant) -> Vec<usize> {
        match self.core.next(now, &mut self.dead) {
            Next::Run(run, batch) => {
                self.runs.push_back(run);
                batch.iter().map(|w| w.id).collect()
            }
            _ => vec![],
        }
    }

    /// The batch that was taken first has run.
    fn done(&mut self, took: Duration) {
        let run = self.runs.pop_front().unwrap();
        self.core.done(run, took, true, self.t0);
    }
}

#[test]
fn an_idle_thread_takes_what_is_there_at_once() {
    let mut w = World::new(LIMITS);
    w.push(item(1, 1, w.t0)).unwrap();
    assert_eq!(w.run(w.t0), [1]);
    assert_eq!(w.core.next(w.t0, &mut w.dead), Next::Idle);
}

#[test]
fn a_batch_grows_while_threads_are_busy_and_stops_at_max_batch() {
    let mut w = World::new(LIMITS);
    for (id, rows) in [(1, 1), (2, 2), (3, 2), (4, 1)] {
        w.push(item(id, rows, w.t0)).unwrap();
    }
    assert_eq!(w.run(w.t0), [1, 2]);
    assert_eq!(w.run(w.t0), [3, 4]);
}

#[test]
fn a_delay_holds_a_batch_back_until_it_is_full_or_old() {
    let mut w = World::new(Limits { max_queue_delay: ms(5), ..LIMITS });
    w.push(item(1, 1, w.t0)).unwrap();
    assert_eq!(w.core.next(w.t0, &mut w.dead), Next::WaitUntil(w.t0 + ms(5)));
    w.push(item(2, 1, w.t0 + ms(1))).unwrap();
    // The wait counts from the oldest row, so a later one does not re-arm it.
    assert_eq!(w.run(w.t0 + ms(5)), [1, 2]);
    w.push(item(3, 4, w.t0 + ms(6))).unwrap();
    assert_eq!(w.run(w.t0 + ms(6)), [3]);
}

#[test]
fn expired_and_abandoned_work_is_never_run() {
    let mut w = World::new(LIMITS);
    w.push(Item { deadline: w.t0 + ms(1), ..item(1, 1, w.t0) }).unwrap();
    w.push(Item { abandoned: true, ..item(2, 1, w.t0) }).unwrap();
    w.push(item(3, 1, w.t0)).unwrap();
    assert_eq!(w.run(w.t0 + ms(1)), [3]);
    assert_eq!(w.dead.iter().map(|d| d.id).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(w.core.queued_rows(w.queue), 0);
}

#[test]
fn a_full_queue_refuses_and_says_when_to_come_back() {
    let mut w = World::new(LIMITS);
    (0..10).for_each(|i| w.push(item(i, 1, w.t0)).unwrap());
    assert_eq!(w.run(w.t0).len(), 4);
    w.done(ms(400));
    (10..14).for_each(|i| w.push(item(i, 1, w.t0)).unwrap());
    // Ten rows at 100 ms on two threads.
    let refused = w.push(item(14, 1, w.t0)).unwrap_err();
    assert_eq!(refused.why, Short::Room(10));
    let off = refused.retry_after.abs_diff(ms(500));
    assert!(off < ms(1), "{refused:?}");
}

#[test]
fn dead_work_makes_room_before_anything_is_refused() {
    let mut w = World::new(LIMITS);
    (0..10).for_each(|i| w.push(Item { abandoned: i == 5, ..item(i, 1, w.t0) }).unwrap());
    w.push(item(10, 1, w.t0)).unwrap();
    assert_eq!(w.dead.len(), 1);
}

#[test]
fn urgent_work_overtakes() {
    let mut w = World::new(Limits { max_batch: 1, ..LIMITS });
    w.push(Item { priority: Priority::Low, ..item(1, 1, w.t0) }).unwrap();
    w.push(item(2, 1, w.t0)).unwrap();
    w.push(Item { priority: Priority::High, ..item(3, 1, w.t0 + ms(9)) }).unwrap();
    let t = w.t0 + ms(9);
    assert_eq!([w.run(t), w.run(t)].concat(), [3, 2]);
    w.done(ms(1));
    assert_eq!(w.run(t), [1]);
}

#[test]
fn the_longest_waiting_version_goes_first_and_none_takes_more_than_its_instances() {
    let mut w = World::new(Limits { instances: 1, ..LIMITS });
    let other = w.core.open("other".into(), LIMITS);
    w.push(item(1, 4, w.t0)).unwrap();
    w.push(item(2, 4, w.t0)).unwrap();
    let late = item(3, 1, w.t0 + ms(1));
    w.core.push(other, &[3], vec![late], w.t0, &mut w.dead).unwrap();
    assert_eq!(w.run(w.t0 + ms(2)), [1]);
    assert_eq!(w.run(w.t0 + ms(2)), [3]);
    assert_eq!(w.run(w.t0 + ms(2)), Vec::<usize>::new());
    w.done(ms(1));
    assert_eq!(w.run(w.t0 + ms(2)), [2]);
}

#[test]
fn rows_of_different_shapes_never_share_a_batch() {
    let mut w = World::new(LIMITS);
    w.push(item(1, 1, w.t0)).unwrap();
    w.core.push(w.queue, &[5], vec![item(2, 1, w.t0 + ms(1))], w.t0, &mut w.dead).unwrap();
    assert_eq!(w.run(w.t0 + ms(2)), [1]);
    assert_eq!(w.run(w.t0 + ms(2)), [2]);
}

/// Two threads, and batches of 20 ms and 10 ms a row.
fn tuned(limits: Limits) -> World {
    let mut w = World::new(Limits { rule: Rule::Tuned, max_queue_rows: 1000, ..limits });
    for rows in [1, 2, 4, 8].into_iter().cycle().take(40) {
        w.core.learn(w.queue, rows, ms(20 + 10 * rows as u64));
    }
    w
}

#[test]
fn an_idle_thread_does_not_wait_whatever_a_batch_costs() {
    let mut w = tuned(Limits { max_batch: 32, ..LIMITS });
    w.push(item(1, 1, w.t0)).unwrap();
    assert_eq!(w.run(w.t0), [1]);
}

#[test]
fn a_batch_is_no_larger_than_pays() {
    let mut w = tuned(Limits { max_batch: 32, ..LIMITS });
    for i in 0..2 {
        w.push(item(i, 1, w.t0)).unwrap();
        assert_eq!(w.run(w.t0), [i]);
    }
    (2..18).for_each(|i| w.push(item(i, 1, w.t0 + ms(500))).unwrap());
    w.done(ms(30));
    // sqrt(16 * 2 / (2 * 0.78)): a fifth of what two threads can do came in lately.
    assert_eq!(w.run(w.t0 + ms(500)).len(), 5);
}

#[test]
fn what_would_miss_its_deadline_is_refused_at_once_and_what_makes_it_is_not() {
    let mut w = tuned(Limits { max_batch: 4, ..LIMITS });
    (0..8).for_each(|i| w.push(item(i, 4, w.t0)).unwrap());
    assert_eq!((w.run(w.t0).len(), w.run(w.t0).len()), (1, 1));
    // Two runs of 60 ms are under way, and three batches more for each thread wait.
    let t0 = w.t0;
    let by = |n| Item { deadline: t0 + ms(n), ..item(9, 1, t0) };
    let refused = w.push(by(290)).unwrap_err();
    let Short::Deadline(takes) = refused.why else { panic!("{refused:?}") };
    assert!(takes.abs_diff(ms(300)) < ms(5), "{takes:?}");
    assert!(refused.retry_after.abs_diff(ms(10)) < ms(5), "{refused:?}");
    w.push(by(310)).unwrap();
}

#[test]
fn what_waits_for_other_versions_of_the_model_and_in_other_shapes_comes_before() {
    let limits = Limits { max_batch: 4, rule: Rule::Tuned, max_queue_rows: 1000, ..LIMITS };
    let (mut w, t0) = (tuned(limits), Instant::now());
    let canary = w.core.open("m".into(), limits);
    let stranger = w.core.open("other".into(), limits);
    for (queue, rows) in [(canary, 1), (canary, 4), (stranger, 1), (stranger, 4)] {
        w.core.learn(queue, rows, ms(20 + 10 * rows as u64));
    }
    (0..8).for_each(|i| w.push(item(i, 4, t0)).unwrap());
    assert_eq!((w.run(t0).len(), w.run(t0).len()), (1, 1));
    // Two runs of 60 ms are under way, and three of them wait for each thread.
    let takes = |w: &mut World, queue, shape: &[usize], priority| {
        let work = Item { deadline: t0 + ms(1), priority, ..item(9, 1, t0) };
        match w.core.push(queue, shape, vec![work], t0, &mut w.dead) {
            Err(Refused { why: Short::Deadline(takes), .. }) => takes.as_millis(),
            other => panic!("{other:?}"),
        }
    };
    // Nobody is refused who is alone in a queue.
    for queue in [canary, stranger] {
        w.core.push(queue, &[3], vec![item(8, 1, t0)], t0, &mut w.dead).unwrap();
    }
    // Those, and then two rows in 40 ms.
    let asked = takes(&mut w, canary, &[3], Priority::Normal);
    assert!((275..=290).contains(&asked), "{asked}");
    // In another shape it is one row, behind the one that waits in the first: 15 ms for both threads.
    let asked = takes(&mut w, canary, &[5], Priority::Normal);
    assert!((272..=287).contains(&asked), "{asked}");
    let asked = takes(&mut w, canary, &[3], Priority::High);
    assert!((85..=100).contains(&asked), "{asked}");
    // What may not have both threads is in the way on one alone: 60 ms, and 40 ms.
    w.core.set_instances(w.queue, 1);
    let asked = takes(&mut w, canary, &[3], Priority::Normal);
    assert!((95..=110).contains(&asked), "{asked}");
    w.core.set_instances(w.queue, 2);
    // Another model does not wait until this one has nothing more.
    let asked = takes(&mut w, stranger, &[3], Priority::Normal);
    assert!(asked < 200, "{asked}");
}

#[test]
fn a_batch_of_an_engine_with_threads_of_its_own_counts_for_each_of_them() {
    let of = |cores| {
        let mut w = tuned(Limits { cores, ..LIMITS });
        let waits = |w: &World| w.core.report(w.t0)[0].queued_seconds;
        w.push(item(1, 4, w.t0)).unwrap();
        w.push(item(2, 4, w.t0)).unwrap();
        assert_eq!(w.run(w.t0), [1]);
        w.done(ms(60));
        let served = w.core.report(w.t0)[0].offered.served;
        [waits(&w), served]
    };
    let (one, two) = (of(1.0), of(2.0));
    assert!(one.iter().all(|seconds| *seconds > 0.0), "{one:?}");
    one.iter()
        .zip(two)
        .for_each(|(one, two)| assert!((2.0 * one - two).abs() < 1e-9, "{one} {two}"));
}

#[test]
fn a_batch_that_failed_as_one_teaches_nothing() {
    let mut w = tuned(LIMITS);
    let curve = |w: &World| w.core.report(w.t0)[0].curve.unwrap();
    let before = curve(&w);
    for i in 0..50 {
        w.push(item(i, 1, w.t0)).unwrap();
        assert_eq!(w.run(w.t0), [i]);
        let run = w.runs.pop_front().unwrap();
        w.core.done(run, ms(900), false, w.t0);
    }
    assert_eq!(curve(&w), before);
}

#[test]
fn an_objective_refuses_what_would_miss_it_and_lets_the_first_in() {
    let slo = Some("p99=100ms".parse().unwrap());
    let mut w = tuned(Limits { max_batch: 8, slo, ..LIMITS });
    let (queue, t0) = (w.queue, w.t0);
    // Batches take at most half of the time: three rows.
    (0..2).for_each(|i| w.push(item(i, 3, t0)).unwrap());
    assert_eq!((w.run(t0).len(), w.run(t0).len()), (1, 1));
    assert_eq!(w.core.room(queue, 0, Priority::Normal, t0), Ok(()));
    w.push(item(2, 1, t0)).unwrap();
    // 50 ms for what runs, and 40 ms for two rows; it aims at 85 ms.
    assert!(matches!(w.push(item(3, 1, t0)).unwrap_err().why, Short::Objective(_)));
    assert!(matches!(
        w.core.room(queue, 0, Priority::Normal, t0).unwrap_err().why,
        Short::Objective(_)
    ));
    // Who goes before the row that waits is in time.
    assert_eq!(w.core.room(queue, 0, Priority::High, t0), Ok(()));
    // What waited too long nevertheless is not begun.
    w.done(ms(95));
    assert_eq!(w.run(t0 + ms(95)), Vec::<usize>::new());
    assert_eq!(w.dead.iter().map(|d| d.id).collect::<Vec<_>>(), [2]);
    // An objective that can't be met at all is no reason to refuse what nobody waits for.
    let slo = Some("p99=5ms".parse().unwrap());
    let mut w = tuned(Limits { max_batch: 8, slo, ..LIMITS });
    w.push(item(1, 1, w.t0)).unwrap();
    assert_eq!(w.run(w.t0), [1]);
}

#[test]
fn refused_work_counts_as_load() {
    let mut w = tuned(Limits { max_batch: 4, ..LIMITS });
    w.core.set_instances(w.queue, 0);
    w.push(item(1, 1000, w.t0)).unwrap();
    assert!(w.push(item(2, 2, w.t0)).is_err());
    let report = w.core.report(w.t0).remove(0);
    let share = 0.02 / 4.0 + 0.01;
    assert!((report.queued_seconds / (1000.0 * share) - 1.0).abs() < 0.02, "{report:?}");
    assert_eq!((report.offered.served, report.offered.queued), (0.0, report.queued_seconds));
    assert!(report.offered.refused > 0.0);
}

proptest! {
    /// Whatever is pushed, run, expired or abandoned: each accepted item comes out exactly once,
    /// bounds hold, and items of one lane and priority run in order.
    #[test]
    fn loses_and_repeats_nothing(
        ops in prop::collection::vec((0u8..4, 1usize..5, 0u64..40, 0usize..3, any::<bool>()), 1..200)
    ) {
        let mut w = World::new(LIMITS);
        let (mut accepted, mut ran, mut running) = (Vec::new(), Vec::new(), 0);
        let mut now = w.t0;
        for (id, (op, rows, dt, priority, abandoned)) in ops.into_iter().enumerate() {
            now += ms(dt);
            if op < 3 {
                let priority = [Priority::High, Priority::Normal, Priority::Low][priority];
                let deadline = now + ms(60);
                let work = Item { deadline, priority, abandoned: abandoned && op == 2, ..item(id, rows, now) };
                if w.core.push(w.queue, &[priority as usize], vec![work], now, &mut w.dead).is_ok() {
                    accepted.push(id);
                }
                prop_assert!(w.core.queued_rows(w.queue) <= LIMITS.max_queue_rows);
            } else if running == LIMITS.instances {
                w.done(ms(1));
                running -= 1;
            } else if let Next::Run(run, batch) = w.core.next(now, &mut w.dead) {
                w.runs.push_back(run);
                let rows: usize = batch.iter().map(Work::rows).sum();
                prop_assert!(rows <= LIMITS.max_batch && !batch.is_empty());
                prop_assert!(batch.iter().all(|b| b.deadline > now && !b.abandoned));
                prop_assert!(batch.windows(2).all(|p| p[0].id < p[1].id));
                ran.extend(batch.into_iter().map(|b| b.id));
                running += 1;
            }
        }
        let left = w.core.close(w.queue);
        let mut out: Vec<usize> = ran;
        out.extend(w.dead.iter().chain(&left).map(|i| i.id));
        out.sort_unstable();
        prop_assert_eq!(out, accepted);
    }
}

/// A queue of images: 20 ms of a decoder each, half of that of a CPU, and 2 ms of compute.
fn of_images(limits: Limits) -> World {
    let mut w = World::new(limits);
    w.core.learn(w.queue, 1, ms(2));
    for _ in 0..50 {
        assert_eq!(
            w.core.decode(w.queue, 1, (w.t0, w.t0 + ms(30_000)), Priority::Normal, w.t0),
            Ok(())
        );
        let decoding = w.core.decoding(w.queue).unwrap();
        decoding.leave(1);
        decoding.took(ms(20), ms(10), w.t0);
    }
    w
}

#[test]
fn what_would_wait_too_long_for_a_decoder_is_refused_before_it_is_decoded() {
    let slo = Some("p99=200ms".parse().unwrap());
    let mut w = of_images(Limits { slo, max_queue_rows: 1000, ..LIMITS });
    let late = w.t0 + ms(30_000);
    // Two decoders, and 0.85 of the objective is aimed at: 10 ms for each that waits, 22 for the own one.
    let taken = (0..40)
        .take_while(|_| w.core.decode(w.queue, 1, (w.t0, late), Priority::Normal, w.t0).is_ok());
    let taken = taken.count();
    assert_eq!(taken, 15);
    let refused = w.core.room(w.queue, taken, Priority::Normal, w.t0).unwrap_err();
    assert_eq!(refused.why, Short::Objective(ms(172)));
    // Of those that wait for long, some leave.
    w.core.decoding(w.queue).unwrap().leave(10);
    assert_eq!(w.core.room(w.queue, taken - 10, Priority::Normal, w.t0), Ok(()));
    // What was refused counts with all that it would have taken: 10 ms of a decoder, and of compute its 2 ms.
    let offered = w.core.report(w.t0)[0].offered;
    assert!((offered.queued - 0.05).abs() < 1e-9, "{offered:?}");
    w.core.refused(w.queue, 4, 4.0, w.t0);
    let more = w.core.report(w.t0)[0].offered.refused / offered.refused;
    assert!((more - 3.0).abs() < 1e-6, "{more}");
}

#[test]
fn what_other_models_have_to_decode_goes_before_by_their_weights_only() {
    let slo = Some("p99=200ms".parse().unwrap());
    let mut w = of_images(Limits { slo, weight: 2.0, max_queue_rows: 1000, ..LIMITS });
    let heavy = w.core.open("heavy".into(), LIMITS);
    let decoding = w.core.decoding(heavy).unwrap();
    decoding.took(ms(20), ms(10), w.t0);
    decoding.wait(1000);
    // 10 s of them wait: half as long as the own ones take goes before, so that each takes 15 ms of two decoders.
    let times = (w.t0, w.t0 + ms(30_000));
    let taken = (0..40)
        .take_while(|_| w.core.decode(w.queue, 1, times, Priority::Normal, w.t0).is_ok())
        .count();
    assert_eq!(taken, 10);
}

#[test]
fn an_image_that_its_deadline_would_not_see_decoded_is_refused_and_the_first_never_is() {
    let mut w = of_images(Limits { rule: Rule::Tuned, ..LIMITS });
    let within = |w: &World, n| (w.t0, w.t0 + ms(n));
    // Nothing else is there, so it is let in with whatever time it has.
    let hurried = within(&w, 1);
    assert_eq!(w.core.decode(w.queue, 1, hurried, Priority::Normal, w.t0), Ok(()));
    let refused = w.core.decode(w.queue, 1, hurried, Priority::Normal, w.t0).unwrap_err();
    assert_eq!(refused, Refused { why: Short::Deadline(ms(32)), retry_after: ms(31) });
    // Two at once, on two decoders.
    let enough = within(&w, 32);
    assert_eq!(w.core.decode(w.queue, 2, enough, Priority::Normal, w.t0), Ok(()));
    // Tensors don't wait for decoders.
    let tensor = Item { deadline: w.t0 + ms(5), ..item(1, 1, w.t0) };
    w.push(tensor).unwrap();
}

#[test]
fn images_count_by_the_cpu_time_that_they_take() {
    let mut w = World::new(LIMITS);
    let t0 = w.t0;
    let after = |n: u64| t0 + ms(20 * n);
    let decoding = w.core.decoding(w.queue).unwrap();
    (0..1000).for_each(|n| decoding.took(ms(40), ms(10), after(n)));
    let offered = w.core.report(after(1000))[0].offered;
    assert!((offered.served - 0.5).abs() < 0.01, "{offered:?}");
    // A decoder has one of two CPUs here, where the one compute thread has both.
    let mut core: Core<Item> = Core::new(Threads { compute: 1, decode: 2 });
    let queue = core.open("m".into(), LIMITS);
    let decoding = core.decoding(queue).unwrap();
    (0..1000).for_each(|n| decoding.took(ms(40), ms(10), after(n)));
    let offered = core.report(after(1000))[0].offered;
    assert!((offered.served - 0.25).abs() < 0.01, "{offered:?}");
}

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

const LIMITS: Limits = Limits {
    max_batch: 4,
    max_queue_delay: Duration::ZERO,
    max_queue_rows: 10,
    instances: 2,
    alone: false,
};

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
    w.core.push(w.queue, &[1], work, w.t0, 2, &mut w.dead).unwrap();
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
}

impl World {
    fn new(limits: Limits) -> World {
        let mut core = Core::new();
        let queue = core.open(limits);
        World { core, queue, t0: Instant::now(), dead: Vec::new() }
    }

    fn push(&mut self, item: Item) -> Result<(), Full> {
        let now = item.at;
        self.core.push(self.queue, &[3], vec![item], now, 2, &mut self.dead)
    }

    /// Ids of the next batch.
    fn run(&mut self, now: Instant) -> Vec<usize> {
        match self.core.next(now, &mut self.dead) {
            Next::Run(_, batch) => batch.iter().map(|w| w.id).collect(),
            _ => vec![],
        }
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
    w.core.done(w.queue, 4, ms(400));
    (10..14).for_each(|i| w.push(item(i, 1, w.t0)).unwrap());
    // Ten rows at 100 ms on two threads.
    let full = Full { queued: 10, retry_after: ms(500) };
    assert_eq!(w.push(item(14, 1, w.t0)), Err(full));
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
    w.core.done(w.queue, 1, ms(1));
    assert_eq!(w.run(t), [1]);
}

#[test]
fn the_longest_waiting_version_goes_first_and_none_takes_more_than_its_instances() {
    let mut w = World::new(Limits { instances: 1, ..LIMITS });
    let other = w.core.open(LIMITS);
    w.push(item(1, 4, w.t0)).unwrap();
    w.push(item(2, 4, w.t0)).unwrap();
    let late = item(3, 1, w.t0 + ms(1));
    w.core.push(other, &[3], vec![late], w.t0, 2, &mut w.dead).unwrap();
    assert_eq!(w.run(w.t0 + ms(2)), [1]);
    assert_eq!(w.run(w.t0 + ms(2)), [3]);
    assert_eq!(w.run(w.t0 + ms(2)), Vec::<usize>::new());
    w.core.done(w.queue, 4, ms(1));
    assert_eq!(w.run(w.t0 + ms(2)), [2]);
}

#[test]
fn rows_of_different_shapes_never_share_a_batch() {
    let mut w = World::new(LIMITS);
    w.push(item(1, 1, w.t0)).unwrap();
    w.core.push(w.queue, &[5], vec![item(2, 1, w.t0 + ms(1))], w.t0, 2, &mut w.dead).unwrap();
    assert_eq!(w.run(w.t0 + ms(2)), [1]);
    assert_eq!(w.run(w.t0 + ms(2)), [2]);
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
                if w.core.push(w.queue, &[priority as usize], vec![work], now, 2, &mut w.dead).is_ok() {
                    accepted.push(id);
                }
                prop_assert!(w.core.queued_rows(w.queue) <= LIMITS.max_queue_rows);
            } else if running == LIMITS.instances {
                w.core.done(w.queue, 1, ms(1));
                running -= 1;
            } else if let Next::Run(_, batch) = w.core.next(now, &mut w.dead) {
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

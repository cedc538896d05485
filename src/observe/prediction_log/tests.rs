use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use smallvec::smallvec;

use super::files::list;
use super::record::tests::record;
use super::*;

fn settings(dir: &Path) -> Settings {
    let dir = dir.to_owned();
    Settings { dir, sample: 1.0, max_bytes: 1 << 20, max_files: 3, inputs: false, queue: 1000 }
}

fn lines(dir: &Path) -> Vec<serde_json::Value> {
    let files = list(dir).unwrap().into_iter().map(|p| std::fs::read_to_string(p).unwrap());
    let text: String = files.collect();
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn of(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[test]
fn what_was_queued_is_in_the_files_after_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let log = PredictionLog::start(settings(&dir.path().join("a/b"))).unwrap();
    (0..500).for_each(|n| log.record(record(n)));
    assert!(log.stop(Duration::from_secs(10)));
    let versions: Vec<_> =
        lines(&dir.path().join("a/b")).iter().map(|l| l["version"].as_u64().unwrap()).collect();
    assert_eq!(versions, (0..500).collect::<Vec<_>>());
    assert_eq!(of(&log.counters().written), 500);
    // Later ones are not lost without a word.
    log.record(record(1));
    assert_eq!(of(&log.counters().dropped), 1);
}

#[test]
fn a_line_is_in_its_file_within_a_second_or_so() {
    let dir = tempfile::tempdir().unwrap();
    let log = PredictionLog::start(settings(dir.path())).unwrap();
    log.record(record(1));
    wait_for("flush", || lines(dir.path()).len() == 1);
    drop(log);
}

#[test]
fn goes_on_when_the_directory_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let log = PredictionLog::start(settings(dir.path())).unwrap();
    std::fs::remove_dir_all(dir.path()).unwrap();
    log.record(record(1));
    wait_for("failure", || of(&log.counters().failed) == 1);
    std::fs::create_dir(dir.path()).unwrap();
    log.record(record(2));
    assert!(log.stop(Duration::from_secs(10)));
    assert_eq!(lines(dir.path())[0]["version"], 2);
}

/// A log whose writer takes nothing.
fn stuck(queue: usize, inputs: bool) -> (PredictionLog, Receiver<Box<Record>>) {
    let (sender, receiver) = sync_channel(queue);
    let log = PredictionLog {
        sample: Sample::new(1.0).unwrap(),
        inputs,
        max_bytes: 60 << 20,
        queue: RwLock::new(Some(sender)),
        counters: Arc::default(),
        done: Mutex::new(channel().1),
    };
    (log, receiver)
}

#[test]
fn drops_and_counts_what_does_not_fit_and_never_waits() {
    let (log, _receiver) = stuck(2, false);
    (0..5).for_each(|n| log.record(record(n)));
    assert_eq!(of(&log.counters().dropped), 3);
}

#[test]
fn inputs_are_bounded_by_their_bytes_and_left_out_unless_asked_for() {
    let mut large = record(1);
    let image = Bytes::from(vec![0; MAX_QUEUED_INPUT / 2]);
    large.inputs.push(Input::Image { image: smallvec![image] });
    let (log, receiver) = stuck(100, true);
    (0..3).for_each(|_| log.record(large.clone()));
    assert_eq!(of(&log.counters().dropped), 1);
    assert_eq!(log.counters().queued_input.load(Ordering::Relaxed), MAX_QUEUED_INPUT);
    assert_eq!(receiver.try_iter().count(), 2);
    // Longer than a file.
    let mut larger = record(1);
    larger.inputs.push(Input::Image { image: smallvec![Bytes::from(vec![0; 46 << 20])] });
    let (log, receiver) = stuck(100, true);
    log.record(larger);
    assert_eq!((of(&log.counters().dropped), receiver.try_iter().count()), (1, 0));
    assert_eq!(log.counters().queued_input.load(Ordering::Relaxed), 0);

    let (log, receiver) = stuck(100, false);
    (0..3).for_each(|_| log.record(large.clone()));
    assert!(!log.wants_inputs());
    assert!(receiver.try_iter().all(|r| r.inputs.is_empty()));
    assert_eq!(of(&log.counters().dropped), 0);
}

#[test]
fn queued_input_is_given_back_when_written() {
    let dir = tempfile::tempdir().unwrap();
    let log = PredictionLog::start(Settings { inputs: true, ..settings(dir.path()) }).unwrap();
    let mut r = record(1);
    r.inputs.push(Input::Image { image: smallvec![Bytes::from_static(b"png")] });
    log.record(r);
    assert!(log.stop(Duration::from_secs(10)));
    assert_eq!(log.counters().queued_input.load(Ordering::Relaxed), 0);
    assert_eq!(lines(dir.path())[0]["inputs"][0]["image"], "cG5n");
}

/// What [`after_a_kill_only_last_lines_are_torn`] starts as a process of its own, and kills.
#[test]
fn logs_until_it_is_killed() {
    let Some(dir) = std::env::var_os("OCELLI_TEST_LOG") else { return };
    let max_files = usize::MAX;
    let settings = Settings { max_bytes: 300_000, max_files, ..settings(Path::new(&dir)) };
    let log = PredictionLog::start(settings).unwrap();
    let start = Instant::now();
    (0..).take_while(|_| start.elapsed().as_secs() < 10).for_each(|n| log.record(record(n)));
}

#[test]
fn after_a_kill_only_last_lines_are_torn() {
    let dir = tempfile::tempdir().unwrap();
    let name = format!("{}::logs_until_it_is_killed", module_path!().split_once("::").unwrap().1);
    for starts in 1..=2 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([&name, "--exact", "--nocapture"])
            .env("OCELLI_TEST_LOG", dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        wait_for("files", || list(dir.path()).unwrap().len() >= 3 * starts);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    for file in list(dir.path()).unwrap() {
        let text = std::fs::read_to_string(file).unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _torn)| whole);
        for line in whole.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["model"], "mnist");
        }
    }
}

#[test]
fn refuses_settings_that_make_no_sense() {
    let dir = tempfile::tempdir().unwrap();
    let refuse = |change: fn(&mut Settings)| {
        let mut settings = settings(dir.path());
        change(&mut settings);
        PredictionLog::start(settings).map(drop).unwrap_err().to_string()
    };
    assert_eq!(refuse(|s| s.sample = 1.5), "sample is 1.5, expected 0 to 1");
    assert_eq!(refuse(|s| s.max_files = 0), "max_files is 0, expected at least 1");
    assert_eq!(refuse(|s| s.queue = 0), "queue is 0, expected at least 1");
    std::fs::write(dir.path().join("file"), "").unwrap();
    let text = refuse(|s| s.dir.push("file"));
    assert!(text.contains("/file of the prediction log can't be made: "), "{text}");
}

//! Models asked into service and out of it while the server runs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ocelli::error::{Code, InferError};
use ocelli::repository::{ModelConfig, VersionPolicy};
use ocelli::router::Selector;

use crate::support::rig::Rig;
use crate::support::{onnx, put};

const BRIEF: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(600);

/// A model that makes three times its factor of a 3.
fn times(factor: f32) -> Vec<u8> {
    onnx::affine(1, 1, &[factor])
}

fn two_versions(root: &Path) {
    [1, 2].iter().for_each(|v| put(root, "m", *v, &times(*v as f32)));
    std::fs::write(root.join("m/model.toml"), "[versions]\nall = true").unwrap();
}

fn listed(name: &str) -> ModelConfig {
    ModelConfig { name: name.to_owned(), ..ModelConfig::default() }
}

fn specific(name: &str, versions: &[u64]) -> ModelConfig {
    let versions = VersionPolicy::specific(versions.iter().copied().collect());
    ModelConfig { versions: Some(versions), ..listed(name) }
}

fn out() -> (&'static str, String) {
    ("END", "unloaded by request".to_owned())
}

#[test]
fn a_model_goes_and_comes_back_and_only_meanwhile_is_it_not_available() {
    let rig = Rig::start(BRIEF, two_versions);
    rig.set_weights("m", &[(1, 3), (2, 1)]);
    let documents = rig.documents("m");
    // Odd from before it is asked to go until it is back.
    let (spans, done, asked) = (AtomicU64::new(0), AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut point = 0u64;
                while !done.load(Ordering::Relaxed) {
                    point = point.wrapping_add(u64::MAX / 7);
                    let before = spans.load(Ordering::SeqCst);
                    let routed = rig.route("m", Selector::Traffic, point);
                    match routed.and_then(|v| Ok((v.info.version, rig.run(&v)?))) {
                        Ok((version, y)) => {
                            // Split as ever, whichever version was loaded first.
                            assert_eq!(version, if point < u64::MAX / 4 { 2 } else { 1 });
                            assert_eq!(y, 3.0 * version as f32);
                            asked.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => {
                            assert!(matches!(error, InferError::NotAvailable { .. }), "{error}");
                            let after = spans.load(Ordering::SeqCst);
                            assert!(before != after || before % 2 == 1, "{error}");
                        }
                    }
                }
            });
        }
        let stop = Stop(&done);
        for _ in 0..10 {
            std::thread::sleep(BRIEF);
            spans.fetch_add(1, Ordering::SeqCst);
            rig.unload("m").unwrap();
            let refused = rig.ask("m").unwrap_err();
            assert!(refused.to_string().contains("unloaded by request"), "{refused}");
            rig.load("m").unwrap();
            assert!(rig.ask("m").is_ok());
            spans.fetch_add(1, Ordering::SeqCst);
        }
        drop(stop);
    });
    assert!(asked.into_inner() > 100);
    assert_eq!(rig.documents("m"), documents);
}

/// Ends the asking, also when what goes on meanwhile fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn who_is_in_flight_finishes_and_the_status_tells_it() {
    let rig = Rig::start(BRIEF, two_versions);
    let held = rig.route("m", Selector::Version(2), 0).unwrap();
    rig.unload("m").unwrap();
    assert_eq!(rig.statuses("m")[&2], ("UNLOADING", out().1));
    rig.until("version 1 gone", || rig.statuses("m")[&1] == out());
    assert_eq!(rig.statuses("m")[&2].0, "UNLOADING");
    assert_eq!(rig.run(&held).unwrap(), 6.0);
    let dropped = Arc::downgrade(&held);
    drop(held);
    rig.until("version 2 gone", || rig.statuses("m")[&2] == out());
    assert!(dropped.upgrade().is_none());
    let named = rig.route("m", Selector::Version(2), 0).err().unwrap();
    assert_eq!(named.code(), Code::Unavailable);

    // What changes on disk does not bring it back, and is told.
    put(rig.path(), "m", 3, &times(3.0));
    std::fs::remove_dir_all(rig.path().join("m/1")).unwrap();
    rig.until("version 3 listed", || rig.statuses("m") == BTreeMap::from([(2, out()), (3, out())]));
    rig.unload("m").unwrap();
    rig.load("m").unwrap();
    assert_eq!(rig.ask("m").unwrap(), 9.0);

    // A model that leaves is forgotten, and with it that it was unloaded.
    rig.unload("m").unwrap();
    std::fs::remove_dir_all(rig.path().join("m")).unwrap();
    rig.until("m forgotten", || rig.statuses("m").is_empty());
    assert_eq!(rig.load("m").unwrap_err().code(), Code::NotFound);
    let unknown = rig.unload("m").unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let place = rig.path().join("m").display().to_string();
    assert!(unknown.to_string().contains(&place), "{unknown}");
    put(rig.path(), "m", 4, &times(4.0));
    rig.until("m again", || rig.ask("m").is_ok_and(|y| y == 12.0));
}

#[test]
fn a_broken_file_fails_its_load_with_the_reason_and_the_old_goes_on() {
    let rig = Rig::start(BRIEF, |root| put(root, "m", 1, &times(2.0)));
    let half = times(5.0);
    std::fs::write(rig.path().join("m/1/model.onnx"), &half[..half.len() / 2]).unwrap();
    let error = rig.load("m").unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    let told = error.to_string();
    assert!(told.contains("model m version 1") && told.contains("can't load the model"), "{told}");
    assert_eq!(rig.ask("m").unwrap(), 6.0);
    std::fs::write(rig.path().join("m/1/model.onnx"), &half).unwrap();
    rig.load("m").unwrap();
    assert_eq!(rig.ask("m").unwrap(), 15.0);

    std::fs::write(rig.path().join("m/model.toml"), "max_bach = 1").unwrap();
    let told = rig.load("m").unwrap_err().to_string();
    assert!(told.starts_with("model m: ") && told.contains("max_bach"), "{told}");
    assert_eq!(rig.ask("m").unwrap(), 15.0);
}

#[test]
fn a_version_that_failed_is_tried_again_when_asked_for() {
    let elsewhere = tempfile::tempdir().unwrap();
    let labels = elsewhere.path().join("labels.txt");
    let rig = Rig::start(BRIEF, |root| {
        put(root, "m", 1, &onnx::affine(1, 2, &[1.0, 2.0]));
        let output = format!("[output]\nkind = 'classification'\nlabels = '{}'", labels.display());
        std::fs::write(root.join("m/model.toml"), output).unwrap();
    });
    assert!(rig.load("m").unwrap_err().to_string().contains("labels.txt"));
    // Nothing that is watched changes.
    std::fs::write(&labels, "cat\ndog\n").unwrap();
    rig.load("m").unwrap();
    assert_eq!(rig.ask("m").unwrap(), 3.0);
}

#[test]
fn files_that_are_still_written_are_waited_for() {
    let rig = Rig::start(Duration::from_millis(700), |root| put(root, "m", 1, &times(2.0)));
    let new = times(5.0);
    let (one, two) = new.split_at(new.len() / 2);
    let mut file = std::fs::File::create(rig.path().join("m/1/model.onnx")).unwrap();
    file.write_all(one).unwrap();
    std::thread::scope(|scope| {
        // Asked twice: both wait for the same.
        let loads = [(); 2].map(|()| scope.spawn(|| rig.load("m")));
        std::thread::sleep(Duration::from_millis(200));
        assert!(loads.iter().all(|l| !l.is_finished()));
        assert_eq!(rig.ask("m").unwrap(), 6.0);
        file.write_all(two).unwrap();
        drop(file);
        loads.into_iter().for_each(|l| l.join().unwrap().unwrap());
    });
    assert_eq!(rig.ask("m").unwrap(), 15.0);
}

#[test]
fn who_waits_in_vain_is_told_why() {
    let rig = Rig::start(LONG, |_| {});
    put(rig.path(), "m", 1, &times(2.0));
    std::thread::scope(|scope| {
        let load = scope.spawn(|| rig.load("m"));
        rig.until("m seen", || !rig.statuses("m").is_empty());
        std::thread::sleep(5 * BRIEF);
        rig.unload("m").unwrap();
        let told = load.join().unwrap().unwrap_err().to_string();
        assert_eq!(told, "model m: unloaded by request meanwhile");

        let load = scope.spawn(|| rig.load("m"));
        std::thread::sleep(5 * BRIEF);
        std::fs::remove_dir_all(rig.path().join("m")).unwrap();
        assert_eq!(load.join().unwrap().unwrap_err().code(), Code::NotFound);

        put(rig.path(), "m", 1, &times(2.0));
        let load = scope.spawn(|| rig.load("m"));
        let brief = async { tokio::time::timeout(5 * BRIEF, rig.commands.load("m")).await };
        assert!(rig.runtime.block_on(brief).is_err());
        rig.reconciler.stop();
        assert!(matches!(load.join().unwrap(), Err(InferError::ShuttingDown)));
    });
    assert!(matches!(rig.load("m"), Err(InferError::ShuttingDown)));
}

#[test]
fn a_list_replaces_what_is_served() {
    let rig = Rig::start(BRIEF, |root| {
        two_versions(root);
        let labels = "[labels]\nstable = 1";
        std::fs::write(root.join("m/model.toml"), labels).unwrap();
        put(root, "other", 1, &times(7.0));
    });
    assert_eq!((rig.ask("m").unwrap(), rig.ask("other").unwrap()), (6.0, 21.0));
    let configure = |models| rig.wait(rig.commands.configure(models));
    let label = |name: &str| {
        let routed = rig.route("m", Selector::Label(name.to_owned()), 0)?;
        Ok::<_, InferError>(routed.info.version)
    };

    // An older version alone: it answers, though the newer one is kept to go back to.
    let old = BTreeMap::from([("old".to_owned(), 1)]);
    configure(vec![ModelConfig { labels: old, ..specific("m", &[1]) }]).unwrap();
    assert_eq!(rig.ask("m").unwrap(), 3.0);
    assert_eq!(label("old").unwrap(), 1);
    assert_eq!(label("stable").unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(rig.ask("other").unwrap_err().code(), Code::Unavailable);
    assert_eq!(rig.statuses("other").keys().copied().collect::<BTreeSet<_>>(), [1].into());

    // A mistake changes nothing.
    let revision = rig.router.snapshot().revision;
    let stable = BTreeMap::from([("stable".to_owned(), 2)]);
    for wrong in [
        vec![listed("other"), listed("none")],
        vec![listed("other"), listed("other")],
        vec![ModelConfig { base_path: "/elsewhere/other".to_owned(), ..listed("other") }],
        vec![ModelConfig { labels: stable.clone(), ..specific("m", &[1]) }],
    ] {
        assert_eq!(configure(wrong).unwrap_err().code(), Code::InvalidArgument);
    }
    assert_eq!(rig.ask("m").unwrap(), 3.0);
    rig.until("version 1 of other gone", || rig.statuses("other")[&1] == out());
    assert!(rig.router.snapshot().revision <= revision + 1);

    // What is not listed stays out, also what comes later, unless it is asked for.
    put(rig.path(), "later", 1, &times(8.0));
    rig.until("later listed", || rig.statuses("later") == BTreeMap::from([(1, out())]));
    rig.load("later").unwrap();
    assert_eq!(rig.ask("later").unwrap(), 24.0);

    // The next list forgets that, and what fails in it is named while the rest serves.
    let half = times(9.0);
    put(rig.path(), "broken", 1, &half[..half.len() / 2]);
    let base_path = rig.path().join("./m/").display().to_string();
    let m = ModelConfig { labels: stable, versions: Some(VersionPolicy::all()), ..listed("m") };
    let list = vec![ModelConfig { base_path, ..m }, listed("broken"), specific("other", &[1, 4])];
    let told = configure(list).unwrap_err().to_string();
    assert!(told.contains("model broken version 1: ") && told.contains("; "), "{told}");
    assert!(told.contains("model other version 4: no such version directory"), "{told}");
    assert_eq!(label("stable").unwrap(), 2);
    assert_eq!((rig.ask("m").unwrap(), rig.ask("other").unwrap()), (6.0, 21.0));
    assert_eq!(rig.ask("later").unwrap_err().code(), Code::Unavailable);

    configure(Vec::new()).unwrap();
    assert_eq!(rig.ask("m").unwrap_err().code(), Code::Unavailable);
}

#[test]
fn a_hundred_cycles_leave_memory_flat() {
    // In a process of its own, since tests beside it would be measured too.
    let own = std::env::current_exe().unwrap();
    let args = ["--exact", "commands::cycles", "--ignored"];
    let out = Command::new(own).args(args).output().unwrap();
    let told = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && told.contains("1 passed"), "{told}");
}

#[test]
#[ignore = "run by a_hundred_cycles_leave_memory_flat"]
fn cycles() {
    // Large enough that keeping a few of them would show.
    let side = 512;
    let weights = vec![0.5; side * side];
    let rig = Rig::start(BRIEF, |root| {
        put(root, "m", 1, &onnx::affine(side as i64, side as i64, &weights));
    });
    let mut early = 0;
    let mut before = Vec::new();
    for cycle in 0..200 {
        before.push(Arc::downgrade(&rig.route("m", Selector::Traffic, 0).unwrap()));
        rig.unload("m").unwrap();
        rig.until("all dropped", || before.iter().all(|v| v.upgrade().is_none()));
        rig.until("none told to be loaded", || {
            let metrics = String::from_utf8(rig.metrics.render().unwrap()).unwrap();
            metrics.contains("ocelli_loaded_versions{model=\"m\"} 0")
                && !metrics.contains("ocelli_queue_rows{")
        });
        rig.load("m").unwrap();
        // By then the allocator has as much as the work at its peak takes.
        if cycle == 99 {
            early = rss();
        }
    }
    let late = rss();
    // A version kept in each cycle would be a hundred MiB more; the allocator's arenas vary by some.
    assert!(late < early + early / 10 + (24 << 20), "from {early} to {late} bytes");
}

fn rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

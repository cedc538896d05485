//! Processes that publish, and are killed while they do.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ocelli::control::store::{FileStore, Store, StoreError};

use super::{document, win};

/// Names the directory to a child, and how often it shall win.
const DIRECTORY: &str = "OCELLI_STORE_CHILD";
const WINS: &str = "OCELLI_STORE_WINS";

/// The child: two tasks of it publish, and tell of each document that was acknowledged.
#[test]
fn child() {
    let Ok(root) = std::env::var(DIRECTORY) else { return };
    let wins: usize = std::env::var(WINS).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let publishers = ["a", "b"].map(|task| {
            let store = FileStore::open(Path::new(&root)).unwrap();
            tokio::spawn(async move {
                let author = format!("{}{task}", std::process::id());
                for _ in 0..wins {
                    let won = win(&store, "m", &author).await.revision;
                    let line = format!("acked {won} {author}\n");
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            })
        });
        for publisher in publishers {
            publisher.await.unwrap();
        }
    });
}

fn spawn(root: &Path, wins: usize) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "store::crash::child", "--nocapture"]);
    command.env(DIRECTORY, root).env(WINS, wins.to_string());
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// What a child tells until it ends.
fn acknowledged(child: &mut Child) -> impl Iterator<Item = (u64, String)> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).split(b'\n').map_while(Result::ok);
    lines.filter_map(|line| {
        let line = String::from_utf8(line).ok()?;
        let (revision, author) = line.strip_prefix("acked ")?.split_once(' ')?;
        Some((revision.parse().ok()?, author.to_owned()))
    })
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_at_any_time() {
    let root = tempfile::tempdir().unwrap();
    let mut all = BTreeMap::<u64, String>::new();
    for round in 0..50_u64 {
        let mut child = spawn(root.path(), usize::MAX);
        // Every other one is killed around its start, and the rest in the middle of publications.
        let mut told = acknowledged(&mut child);
        let first = if round % 2 == 0 { None } else { told.next() };
        std::thread::sleep(Duration::from_micros(round * 7_919 % 40_000));
        child.kill().unwrap();
        child.wait().unwrap();
        for (revision, author) in first.into_iter().chain(told) {
            assert_eq!(all.insert(revision, author), None, "{revision} was won twice");
        }
        let store = FileStore::open(root.path()).unwrap();
        let health = store.watch().health.borrow().clone();
        assert_eq!(health.error(), None);
        let mut histories = store.load().await.unwrap();
        let history = histories.remove("m").unwrap_or_default();
        assert!(history.is_sorted_by(|a, b| a.revision + 1 == b.revision));
        let last = history.last().map_or(0, |d| d.revision);
        assert!(all.keys().next_back().is_none_or(|acked| *acked <= last));
        for kept in &history {
            // What was cut short may be there though nobody was told.
            let acked = all.get(&kept.revision);
            assert!(acked.is_none_or(|author| *author == kept.author));
        }
    }
    assert!(all.len() >= 25, "only {} were acknowledged", all.len());
    let store = FileStore::open(root.path()).unwrap();
    win(&store, "m", "after").await;
}

#[tokio::test]
async fn two_processes_at_once_share_all_revisions() {
    let root = tempfile::tempdir().unwrap();
    let mut children = [spawn(root.path(), 40), spawn(root.path(), 40)];
    let mut all = BTreeMap::new();
    for child in &mut children {
        for (revision, author) in acknowledged(child) {
            assert_eq!(all.insert(revision, author), None, "{revision} was won twice");
        }
        assert!(child.wait().unwrap().success());
    }
    assert!(all.keys().copied().eq(1..=160));
    let history = &FileStore::open(root.path()).unwrap().load().await.unwrap()["m"];
    assert_eq!(history.len(), ocelli::control::store::KEPT);
    assert!(history.iter().all(|d| all[&d.revision] == d.author));
    let left = std::fs::read_dir(root.path()).unwrap().count();
    assert_eq!(left, 1, "temporaries were left behind");
}

/// The child: reads, and can't write.
#[test]
fn reader() {
    let Ok(root) = std::env::var(DIRECTORY) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        assert!(!FileStore::is_writable(Path::new(&root)));
        let store = FileStore::open(Path::new(&root)).unwrap();
        assert_eq!(store.load().await.unwrap()["m"].len(), 1);
        let refused = store.publish("m", document(2, "reader")).await;
        assert!(matches!(refused, Err(StoreError::Unreachable { .. })), "{refused:?}");
        let health = store.watch().health;
        let told = health.borrow().error().map(str::to_owned).unwrap_or_default();
        assert!(told.contains("can't be written"), "{told}");
    });
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_can_be_read() {
    let root = tempfile::tempdir().unwrap();
    let store = FileStore::open(root.path()).unwrap();
    assert!(FileStore::is_writable(root.path()));
    win(&store, "m", "writer").await;
    let mut permissions = std::fs::metadata(root.path()).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o555);
    std::fs::set_permissions(root.path(), permissions).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "store::crash::reader"]).env(DIRECTORY, root.path());
    // The superuser may write whatever the permissions.
    if rustix::process::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

//! The shape of the source: imports point one way, files stay small.

use std::path::{Path, PathBuf};

/// Rooms from the lowest up. A room may use those before it in the list.
const ORDER: [&str; 14] = [
    "tensor",
    "input",
    "telemetry",
    "engine",
    "onnx",
    "error",
    "vision",
    "batcher",
    "router",
    "control",
    "repository",
    "service",
    "protocol",
    "app",
];

/// Where the order is left, each with its reason.
const ALLOWED: [(&str, &str); 4] = [
    // Reading a TOML file's mistakes is the same for the server's settings and a model's.
    ("repository", "config"),
    // And for a file of keys; and where to listen is a setting.
    ("protocol", "config"),
    // A setting's type is that of what it sets.
    ("config", "telemetry"),
    ("app", "config"),
];

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn imports_point_one_way() {
    let place = |room: &str| ORDER.iter().position(|r| *r == room);
    let mut wrong = Vec::new();
    for path in sources(&root()) {
        let inside = path.strip_prefix(root()).unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let room = first.trim_end_matches(".rs");
        if matches!(room, "cli" | "main" | "lib") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for used in text.split("crate::").skip(1) {
            let end = used.find(|c: char| !c.is_ascii_lowercase() && c != '_');
            let used = &used[..end.unwrap_or(used.len())];
            let fine = used == room
                || ALLOWED.contains(&(room, used))
                || matches!((place(room), place(used)), (Some(a), Some(b)) if b < a);
            if !fine && !used.is_empty() {
                wrong.push(format!("{}: {room} uses {used}", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_its_own_module_names_the_engine() {
    for path in sources(&root()) {
        if path.ends_with("engine/tract.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("tract_onnx") && !text.contains("tract_core"), "{}", path.display());
    }
}

#[test]
fn files_stay_small() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let loadtest = Path::new(env!("CARGO_MANIFEST_DIR")).join("loadtest/src");
    for path in [root(), loadtest].iter().flat_map(|d| sources(d)).chain(sources(&tests)) {
        if path.components().any(|c| c.as_os_str() == "target") {
            continue;
        }
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 500, "{} has {lines} lines", path.display());
    }
}

//! The shape of the source: imports point one way, files stay small.

use std::path::{Path, PathBuf};

/// Rooms from the lowest up. A room may use those before it in the list.
const ORDER: [&str; 22] = [
    "digest",
    "memory",
    "tensor",
    "input",
    "stats",
    "prediction_id",
    "telemetry",
    "observe",
    "engine",
    "onnx",
    "error",
    "vision",
    "cache",
    "batcher",
    "router",
    "control",
    "source",
    "repository",
    "tune",
    "service",
    "protocol",
    "app",
];

/// Where the order is left, each with its reason.
const ALLOWED: [(&str, &str); 9] = [
    // Reading a TOML file's mistakes is the same for the server's settings and a model's.
    ("repository", "config"),
    // And for a file of keys; and where to listen is a setting.
    ("protocol", "config"),
    // Unknown keys are told alike wherever they are.
    ("source", "config"),
    // A setting's type is that of what it sets.
    ("config", "telemetry"),
    // And a cache is named by the digest of where it is from.
    ("config", "digest"),
    ("config", "engine"),
    ("config", "source"),
    // And its default is what a queue has of which nothing is set.
    ("config", "batcher"),
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

/// Crates of engines, and the one place of each that names them.
const ENGINES: [(&[&str], &str); 3] = [
    (&["tract_onnx", "tract_core", "tract_linalg"], "engine/tract.rs"),
    (&["use ort::", "ort::api", "ort_sys"], "engine/onnxruntime"),
    (&["openvino_sys", "use openvino::"], "engine/openvino"),
];

#[test]
fn only_its_own_module_names_an_engine() {
    for path in sources(&root()) {
        let inside = path.strip_prefix(root()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        for (crates, home) in ENGINES.iter().filter(|(_, home)| !inside.starts_with(home)) {
            let named = |name: &&&str| {
                text.match_indices(**name)
                    .any(|(at, _)| !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
            };
            let named = crates.iter().find(named);
            assert!(named.is_none(), "{} names {named:?} of {home}", inside.display());
        }
    }
}

#[test]
fn only_calls_into_a_library_are_unsafe() {
    let allowed = ["engine/onnxruntime/value.rs", "memory.rs", "vision/scaled.rs"];
    for path in sources(&root()) {
        let inside = path.strip_prefix(root()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let there = text.contains("unsafe {") || text.contains("allow(unsafe_code)");
        let may = allowed.iter().any(|file| inside == Path::new(file));
        assert_eq!(there, may, "{}", inside.display());
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

#[test]
fn every_test_that_the_protocols_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    let rust = sources(&root.join("src")).into_iter().chain(sources(&root.join("tests")));
    let python = std::fs::read_dir(root.join("tests/clients")).unwrap();
    let python =
        python.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "py"));
    for file in rust.chain(python) {
        code += &std::fs::read_to_string(file).unwrap();
    }
    let text = std::fs::read_to_string(root.join("docs/protocols.md")).unwrap();
    let mut missing = Vec::new();
    let mut proofs = 0;
    for row in text.lines().filter(|l| l.starts_with("| ") && l.contains("| `")) {
        // The last cell of a row names its tests.
        let cell = row.trim_end_matches('|').rsplit(" | ").next().unwrap();
        for name in cell.split('`').skip(1).step_by(2) {
            proofs += 1;
            if !code.contains(&format!("fn {name}(")) && !code.contains(&format!("def {name}(")) {
                missing.push(name.to_owned());
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(proofs > 90, "{proofs}");
}

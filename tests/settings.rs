//! Settings by flag, variable and file, as a person meets them.

use std::process::{Command, Output};

use crate::support::BINARY;

fn serve(env: &[(&str, &str)], args: &[&str]) -> Output {
    Command::new(BINARY).arg("serve").args(args).envs(env.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn flags_beat_variables_and_those_beat_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ocelli.toml");
    std::fs::write(&file, "max_batch = 3\nmax_queue_rows = 30\npoll_ms = 300").unwrap();
    let env = [("OCELLI_MAX_BATCH", "4"), ("OCELLI_MAX_QUEUE_ROWS", "40")];
    let flags = ["--max-batch=5", "--print-config", "--config", file.to_str().unwrap()];
    let out = serve(&env, &flags);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let told = text(&out.stdout);
    let line = |key: &str| {
        let found = told.lines().find(|l| l.starts_with(&format!("{key} =")));
        found.unwrap_or_else(|| panic!("{key}: {told}")).to_owned()
    };
    for (key, value, source) in [
        ("max_batch", "5", "flag"),
        ("max_queue_rows", "40", "OCELLI_MAX_QUEUE_ROWS"),
        ("poll_ms", "300", "file"),
        ("grace_ms", "30000", "default"),
    ] {
        let line = line(key);
        assert!(line.contains(&format!("= {value}")), "{line}");
        assert!(line.to_lowercase().contains(&source.to_lowercase()), "{line}");
    }
}

#[test]
fn mistakes_are_told_in_a_line_that_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ocelli.toml");
    std::fs::write(&file, "max_bacth = 3").unwrap();
    let out = serve(&[], &["--config", file.to_str().unwrap()]);
    let told = text(&out.stderr);
    assert!(!out.status.success());
    assert!(told.contains("max_bacth") && told.contains("`max_batch`"), "{told}");

    let out = serve(&[], &["--models", "no/such/place"]);
    assert!(text(&out.stderr).contains("no/such/place"), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains("--models"));

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let models = crate::support::MODELS;
    let out =
        serve(&[], &["--models", models, "--rest-addr", &address, "--admin-addr=127.0.0.1:0"]);
    assert!(text(&out.stderr).contains("--rest-addr"), "{}", text(&out.stderr));
    assert_eq!(text(&out.stderr).lines().filter(|l| l.contains("error")).count(), 1);
}

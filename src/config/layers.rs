//! Joins flags, environment and file, and remembers where each value came from.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::{ServeConfig, nearest, toml_error};

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The command line.
    Flag,
    /// An `OCELLI_…` variable.
    Environment,
    /// The TOML file.
    File,
    /// Nobody said.
    Default,
}

/// Why the settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read {path}: {source}; name an existing file with --config")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is wrong.
    #[error("{0}")]
    File(String),
    /// Settings that can't hold together.
    #[error("{0}")]
    Together(&'static str),
    /// The command line's own words, ready to be printed.
    #[error(transparent)]
    Usage(#[from] clap::Error),
}

/// The settings of `matches`, with what `file` adds where flags and environment are silent.
/// Also gives the settings as TOML, each with its source.
pub fn parse_serve(
    matches: &ArgMatches,
    file: Option<&Path>,
) -> Result<(ServeConfig, String), ConfigError> {
    let command = ServeConfig::augment_args(Command::new("serve").no_binary_name(true));
    let ids: Vec<String> = command.get_arguments().map(|a| a.get_id().to_string()).collect();
    let told = |id: &str| match matches.value_source(id) {
        Some(ValueSource::CommandLine) => Source::Flag,
        Some(ValueSource::EnvVariable) => Source::Environment,
        _ => Source::Default,
    };
    let mut args: Vec<OsString> = Vec::new();
    let mut sources: Vec<Source> = ids.iter().map(|id| told(id)).collect();
    for (id, source) in ids.iter().zip(&sources) {
        if *source != Source::Default
            && let Some(value) = matches.get_raw(id).and_then(|mut v| v.next_back())
        {
            args.push(flag(id, value));
        }
    }
    if let Some(path) = file {
        for (key, value) in read_file(path, &ids)? {
            let Some(at) = ids.iter().position(|id| *id == key) else { continue };
            let arg = flag(&key, &OsString::from(&value));
            // Tried alone first, so that the error names the file and the key.
            let tried = command.clone().try_get_matches_from([arg.clone()]);
            tried.map_err(|e| ConfigError::File(wrong_value(path, &key, &e)))?;
            if sources[at] == Source::Default {
                sources[at] = Source::File;
                args.push(arg);
            }
        }
    }
    let merged = command.try_get_matches_from(args)?;
    let config = ServeConfig::from_arg_matches(&merged)?;
    if let Some(wrong) = config.contradiction() {
        return Err(ConfigError::Together(wrong));
    }
    Ok((config, print(&merged, &ids, &sources)))
}

fn flag(id: &str, value: &std::ffi::OsStr) -> OsString {
    let mut arg = OsString::from(format!("--{}=", id.replace('_', "-")));
    arg.push(value);
    arg
}

fn read_file(path: &Path, ids: &[String]) -> Result<Vec<(String, String)>, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let table: toml::Table =
        toml::from_str(&text).map_err(|e| ConfigError::File(toml_error(path, &text, &e)))?;
    let one = |(key, value): (String, toml::Value)| {
        if !ids.contains(&key) {
            let near = nearest(&key, ids.iter().map(String::as_str)).unwrap_or_default();
            let path = path.display();
            return Err(ConfigError::File(format!(
                "{path}: unknown key `{key}`; did you mean `{near}`?"
            )));
        }
        let text = match value {
            toml::Value::String(text) => text,
            other => other.to_string(),
        };
        Ok((key, text))
    };
    table.into_iter().map(one).collect()
}

fn wrong_value(path: &Path, key: &str, error: &clap::Error) -> String {
    let told = error.render().to_string();
    let first = told.lines().next().unwrap_or_default();
    let reason = first.rsplit_once("': ").or(first.rsplit_once("error: ")).map_or(first, |r| r.1);
    format!("{}: {key}: {reason}", path.display())
}

fn print(matches: &ArgMatches, ids: &[String], sources: &[Source]) -> String {
    let mut out = String::new();
    for (id, source) in ids.iter().zip(sources) {
        let value = matches.get_raw(id).and_then(|mut v| v.next_back());
        let value = value.map(|v| v.to_string_lossy().into_owned()).unwrap_or_default();
        let bare = value.parse::<f64>().is_ok() || value.parse::<bool>().is_ok();
        let value = if bare { value } else { toml::Value::String(value).to_string() };
        let source = match source {
            Source::Flag => format!("flag --{}", id.replace('_', "-")),
            Source::Environment => format!("environment OCELLI_{}", id.to_uppercase()),
            Source::File => "file".to_owned(),
            Source::Default => "default".to_owned(),
        };
        // Writing to a String can't fail.
        let _ = writeln!(out, "{:<48} # {source}", format!("{id} = {value}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(args: &[&str]) -> ArgMatches {
        let command = ServeConfig::augment_args(Command::new("serve").no_binary_name(true));
        command.get_matches_from(args)
    }

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ocelli.toml");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn flags_are_stronger_than_the_file_and_the_file_than_defaults() {
        let (_dir, path) = file("max_batch = 4\nrest_addr = \"127.0.0.1:1\"\n");
        let (config, text) = parse_serve(&matches(&["--max-batch=2"]), Some(&path)).unwrap();
        assert_eq!(config.max_batch, 2);
        assert_eq!(config.rest_addr.to_string(), "127.0.0.1:1");
        assert_eq!(config.max_queue_rows, 128);
        let line = |key: &str| text.lines().find(|l| l.starts_with(key)).unwrap().to_owned();
        assert!(line("max_batch").ends_with("# flag --max-batch"), "{text}");
        assert!(line("rest_addr = \"127.0.0.1:1\"").ends_with("# file"), "{text}");
        assert!(line("max_queue_rows = 128").ends_with("# default"), "{text}");
    }

    #[test]
    fn what_is_printed_can_be_read_back() {
        let (_, text) = parse_serve(&matches(&["--max-batch=3"]), None).unwrap();
        let (_dir, path) = file(&text);
        let (config, _) = parse_serve(&matches(&[]), Some(&path)).unwrap();
        assert_eq!(config.max_batch, 3);
    }

    #[test]
    fn a_file_that_is_not_named_is_printed_and_read_back() {
        let args = ["--keys-file=k.toml", "--single-port"];
        let (_, text) = parse_serve(&matches(&args), None).unwrap();
        assert!(text.contains("tls_cert = \"\" "), "{text}");
        let (_dir, path) = file(&text);
        let (config, _) = parse_serve(&matches(&[]), Some(&path)).unwrap();
        assert_eq!(config.keys_file.path(), Some(Path::new("k.toml")));
        assert_eq!((config.tls_cert.path(), config.single_port), (None, true));
    }

    #[test]
    fn settings_that_contradict_each_other_are_told() {
        for (args, says) in [
            (&["--tls-cert=a"][..], "--tls-key"),
            (&["--tls-key=a"], "--tls-cert"),
            (&["--tls-client-ca=a"], "--tls-cert"),
            (&["--tls-client-auth=required"], "--tls-cert"),
            (&["--tls-cert=a", "--tls-key=a", "--tls-client-auth=optional"], "--tls-client-ca"),
            (&["--tls-cert=a", "--tls-key=a", "--tls-client-ca=a"], "--tls-client-auth"),
            (&["--protect-metrics=true"], "--keys-file"),
        ] {
            let error = parse_serve(&matches(args), None).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains('\n'), "{args:?}: {error}");
        }
        let (_dir, path) = file("tls_cert = \"a\"\ntls_key = \"b\"\n");
        parse_serve(&matches(&[]), Some(&path)).unwrap();
    }

    #[test]
    fn names_the_nearest_key_and_the_wrong_value() {
        let (_dir, path) = file("max_bach = 4\n");
        let error = parse_serve(&matches(&[]), Some(&path)).unwrap_err().to_string();
        assert!(error.ends_with("unknown key `max_bach`; did you mean `max_batch`?"), "{error}");
        let (_dir, path) = file("max_batch = 0\n");
        let error = parse_serve(&matches(&[]), Some(&path)).unwrap_err().to_string();
        assert!(error.ends_with("max_batch: must be at least 1"), "{error}");
    }

    #[test]
    fn every_setting_has_its_variable() {
        let command = ServeConfig::augment_args(Command::new("serve"));
        for arg in command.get_arguments() {
            let expected = format!("OCELLI_{}", arg.get_id().to_string().to_uppercase());
            assert_eq!(arg.get_env().unwrap(), expected.as_str());
            assert_eq!(arg.get_long().unwrap(), arg.get_id().to_string().replace('_', "-"));
        }
    }
}

//! Writes a setting into `model.toml`, and leaves what else a person wrote there as it is.

use std::io::Write as _;
use std::path::Path;

use toml_edit::{DocumentMut, Item, Table, TableLike, value};

use super::setting::Setting;
use crate::batcher::Slo;
use crate::engine::Precision;

/// Writes the setting and the objective it was found for, whole or not at all. The file may not be there yet.
pub fn write(path: &Path, setting: &Setting, slo: Slo) -> Result<(), String> {
    let complain = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(complain(&e)),
    };
    let text = edited(&text, setting, slo).map_err(|e| complain(&e))?;
    // Beside it, so that a server that watches never sees half a file.
    let dir = path.parent().unwrap_or(Path::new("."));
    let beside = dir.join(format!(".model.toml.{}", std::process::id()));
    let written = std::fs::File::create(&beside)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|e| {
        // It may not have come to be; the error that matters is the first.
        let _ = std::fs::remove_file(&beside);
        complain(&e)
    })
}

fn edited(text: &str, setting: &Setting, slo: Slo) -> Result<String, String> {
    let mut document: DocumentMut =
        text.parse().map_err(|e: toml_edit::TomlError| e.to_string())?;
    set(document.as_table_mut(), "engine", value(setting.engine));
    // What was checked of this version is checked of the next one too, when it is loaded.
    let precision = match setting.precision {
        Precision::F32 => "f32",
        Precision::Bf16 => "auto",
    };
    set(document.as_table_mut(), "precision", value(precision));
    set(document.as_table_mut(), "threads", value(setting.threads as i64));
    set(document.as_table_mut(), "slo", value(slo.to_string()));
    let batching = document.entry("batching").or_insert_with(|| Item::Table(Table::new()));
    let batching = batching.as_table_like_mut().ok_or("`batching` is no table")?;
    set(batching, "rule", value(setting.rule.name()));
    set(batching, "max_batch", value(setting.max_batch as i64));
    set(batching, "max_queue_delay_ms", value(setting.delay.as_secs_f64() * 1e3));
    set(batching, "instances", value(setting.instances as i64));
    Ok(document.to_string())
}

/// Sets a value where it stands, with the comment that stands beside it.
fn set(table: &mut dyn TableLike, key: &str, mut item: Item) {
    if let (Some(Item::Value(old)), Item::Value(new)) = (table.get(key), &mut item) {
        *new.decor_mut() = old.decor().clone();
    }
    match table.get_mut(key) {
        Some(there) => *there = item,
        None => drop(table.insert(key, item)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::batcher::Rule;
    use crate::repository::spec::ModelSpecFile;

    const SLO: Slo = Slo { share: 0.99, within: Duration::from_millis(50) };

    fn setting() -> Setting {
        Setting {
            engine: "openvino",
            precision: Precision::Bf16,
            instances: 1,
            threads: 2,
            rule: Rule::All,
            max_batch: 16,
            delay: Duration::from_micros(1500),
        }
    }

    #[test]
    fn changes_what_was_tuned_and_nothing_else() {
        let before = "# Ours.\nengine = \"auto\" # as it comes\n\n[input]\nkind = \"image\" # photos\n\n\
                      [batching]\nmax_queue_rows = 64\nmax_batch = 4\n";
        let after = edited(before, &setting(), SLO).unwrap();
        let told = "# Ours.\nengine = \"openvino\" # as it comes\n\
                    precision = \"auto\"\nthreads = 2\nslo = \"p99=50ms\"\n\n\
                    [input]\nkind = \"image\" # photos\n\n\
                    [batching]\nmax_queue_rows = 64\nmax_batch = 16\nrule = \"all\"\n\
                    max_queue_delay_ms = 1.5\ninstances = 1\n";
        assert_eq!(after, told);
        assert_eq!(edited(&after, &setting(), SLO).unwrap(), after);
    }

    #[test]
    fn what_is_written_is_what_a_server_reads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.toml");
        write(&path, &setting(), SLO).unwrap();
        let spec = ModelSpecFile::read(dir.path(), None).unwrap();
        assert_eq!((spec.engine.as_deref(), spec.threads), (Some("openvino"), Some(2)));
        assert_eq!((spec.slo, spec.batching.rule), (Some(SLO), Some(Rule::All)));
        assert_eq!((spec.batching.max_batch, spec.batching.instances), (Some(16), Some(1)));
        assert_eq!(spec.batching.max_queue_delay_ms, Some(1.5));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        std::fs::write(&path, "engine = [").unwrap();
        assert!(write(&path, &setting(), SLO).unwrap_err().contains("model.toml"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "engine = [");
    }
}

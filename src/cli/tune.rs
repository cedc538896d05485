//! `ocelli tune`: the settings with which a model does most on this machine.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::engine::precision;
use super::{Failure, print, version_dir};
use crate::batcher::{Limits, Slo};
use crate::config::EngineArgs;
use crate::engine::{BatchMode, Precision};
use crate::repository::choice::Memory;
use crate::repository::load::{LoadedVersion, Loader};
use crate::repository::spec::{AskedPrecision, ModelSpecFile};
use crate::tune::{self, Capacity, Machine, Measured, Setting, Tuned};

/// The most rows of a batch that are tried.
const LARGEST: usize = 64;
/// How often the winner is held against what holds now.
const ROUNDS: usize = 3;

#[derive(clap::Args)]
pub struct TuneArgs {
    /// A model directory (its newest version) or a version directory
    model: PathBuf,
    /// The objective, such as p99=50ms; model.toml's if not given
    #[arg(long, value_name = "OBJECTIVE")]
    slo: Option<Slo>,
    /// Seconds that each rate is tried for; a setting takes six rates
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    seconds: f64,
    /// CPUs to plan for. 0 takes those that this process may use
    #[arg(long, default_value_t = 0, value_name = "N")]
    cpus: usize,
    /// Only this engine; all that give the reference's answers if not given
    #[arg(long, value_name = "NAME")]
    engine: Option<String>,
    /// Only this precision: f32 or bf16; auto takes bf16 where its answers are within the tolerance
    #[arg(long, default_value = "auto", value_name = "PRECISION", value_parser = precision)]
    precision: AskedPrecision,
    /// Draw the frontier of throughput and latency into this SVG file
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Write nothing into model.toml
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engines: EngineArgs,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|s| (0.1..=600.0).contains(s));
    seconds.ok_or_else(|| "seconds lie between 0.1 and 600".to_owned())
}

pub(super) fn run(args: &TuneArgs) -> Result<(), Failure> {
    let (model_dir, dir) = version_dir(&args.model)?;
    let spec = ModelSpecFile::read(&model_dir, Some(&dir))?;
    let slo = args.slo.or(spec.slo).ok_or("name an objective, such as --slo p99=50ms")?;
    let cpus = match args.cpus {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n,
    };
    let engines = args.engines.engines();
    let memory = Memory::at(&args.engines.engine_cache);
    let loader = Loader { engines, threads: 1, instances: cpus, memory };
    let tell = |text: &str| eprintln!("{text}");
    tell("comparing the engines' answers …");
    let open =
        ModelSpecFile { engine: args.engine.clone(), precision: args.precision, ..spec.clone() };
    let agreeing = loader.agreeing(&open, &dir)?;
    let loaded = loader.load_as(spec.clone(), &model_dir, &dir, None)?;
    let rows = loaded.model.signature().batch_mode == BatchMode::Rows;
    let silent = Limits { instances: cpus, ..Limits::DEFAULT };
    let limits = Limits { slo: Some(slo), ..spec.limits(silent, 1) };
    let now = Setting {
        engine: loaded.engine,
        precision: loaded.precision,
        instances: limits.instances.min(cpus),
        threads: spec.threads.unwrap_or(1),
        rule: limits.rule,
        max_batch: if rows { limits.max_batch } else { 1 },
        delay: limits.max_queue_delay,
    };
    drop(loaded);
    let load = |setting: &Setting| {
        let mut spec = spec.clone();
        spec.engine = Some(setting.engine.to_owned());
        spec.precision = setting.precision.into();
        spec.threads = Some(setting.threads);
        spec.batching.instances = Some(setting.instances);
        loader.load_as(spec, &model_dir, &dir, None)
    };
    let mut machine = Machine::new(cpus, slo, limits, args.seconds, load, tell)?;
    // Who holds a batch back for longer keeps the objective under load alone, where batches fill.
    let delay = now.delay.min(slo.within / 10);
    let pairs = pairs(&Setting { delay, ..now.clone() }, &agreeing, cpus);
    let largest = if rows { LARGEST } else { 1 };
    let tuned = tune::search(&mut machine, &now, &pairs, slo, largest)?;
    let (best, _) = &tuned.measured[tuned.best];
    let gain = match tuned.best {
        0 => Vec::new(),
        _ => {
            tell("the winner and what holds now, in turn …");
            tune::confirm(&mut machine, &now, best, ROUNDS)?
        }
    };
    // What was luck is not written.
    let better = gain.get(gain.len() / 2).is_some_and(|gain| *gain > 1.0);
    let path = model_dir.join("model.toml");
    if better && !args.dry_run {
        tune::write(&path, best, slo)?;
        // As a server with as many CPUs does, which will remember what comes of it.
        tell_if_other(&loader.load(&model_dir, &dir, None)?, best, &dir);
    }
    if let Some(path) = &args.plot {
        let title = format!("{}, {cpus} CPUs", args.model.display());
        std::fs::write(path, plot(&title, &tuned, slo))
            .map_err(|e| format!("can't write {}: {e}", path.display()))?;
    }
    let written = (better && !args.dry_run).then(|| path.display().to_string());
    if args.json {
        as_json(&tuned, slo, &gain, written)
    } else {
        as_text(&tuned, slo, &gain, written)
    }
}

/// A version's own file is stronger than its model's, which is the one that is written; and a precision is compared
/// anew with each load.
fn tell_if_other(holds: &LoadedVersion, best: &Setting, dir: &Path) {
    let (spec, batching) = (&holds.spec, &holds.spec.batching);
    let same = spec.engine.as_deref() == Some(best.engine)
        && spec.threads == Some(best.threads)
        && batching.rule == Some(best.rule)
        && batching.max_batch == Some(best.max_batch)
        && batching.instances == Some(best.instances);
    if !same {
        let path = dir.join("model.toml");
        eprintln!("{} says otherwise, which holds for that version", path.display());
    } else if holds.precision != best.precision {
        let (takes, best) = (holds.precision, best.precision);
        eprintln!(
            "a server takes {takes} where it compares them ({}); `precision = \"{best}\"` insists",
            holds.why
        );
    }
}

/// All engines with all ways to give them the CPUs.
fn pairs(now: &Setting, engines: &[(&'static str, Precision)], cpus: usize) -> Vec<Setting> {
    // Those that leave no CPU without work.
    let splits: Vec<_> = (1..=cpus).filter(|threads| cpus.is_multiple_of(*threads)).collect();
    let of = |(engine, precision): &(&'static str, Precision)| {
        let (engine, precision) = (*engine, *precision);
        let split = |threads: &usize| {
            let (threads, instances) = (*threads, cpus / threads);
            Setting { engine, precision, instances, threads, ..now.clone() }
        };
        splits.iter().map(split).collect::<Vec<_>>()
    };
    engines.iter().flat_map(of).collect()
}

fn plot(title: &str, tuned: &Tuned, slo: Slo) -> String {
    let (now, best) = (&tuned.measured[0], &tuned.measured[tuned.best]);
    let mut named = vec![("now", &now.0, &now.1)];
    if tuned.best != 0 {
        named.push(("best", &best.0, &best.1));
    }
    if let Some((setting, capacity)) = tuned.worst() {
        named.push(("least", setting, capacity));
    }
    let others: Vec<&Capacity> = tuned.measured.iter().map(|(_, capacity)| capacity).collect();
    tune::svg(title, &named, &others, slo)
}

fn as_text(tuned: &Tuned, slo: Slo, gain: &[f64], written: Option<String>) -> Result<(), Failure> {
    let mut order: Vec<_> = tuned.measured.iter().enumerate().collect();
    order.sort_by(|(_, a), (_, b)| b.1.rate.total_cmp(&a.1.rate));
    let bold = anstyle::Style::new().bold();
    let tail = format!("{} ms", slo.quantile());
    let mut out =
        format!("{bold}{:>10} {:>9} {tail:>9}  SETTING{bold:#}\n", "REQUESTS/S", "p50 ms");
    for (index, (setting, capacity)) in order {
        let at = capacity.points.iter().find(|p| p.offered == capacity.rate);
        let ms = |seconds: Option<f64>| match seconds {
            Some(seconds) => format!("{:.2}", seconds * 1e3),
            None => "-".to_owned(),
        };
        let mark = match index {
            0 => " (now)",
            i if i == tuned.best => " (best)",
            _ => "",
        };
        // Writing to a String can't fail.
        let _ = writeln!(
            out,
            "{:>10.1} {:>9} {:>9}  {setting}{mark}",
            capacity.rate,
            ms(at.map(|p| p.p50)),
            ms(at.map(|p| p.tail)),
        );
    }
    out.push('\n');
    let _ = match (gain, tuned.worst()) {
        ([least, .., most], Some((_, worst))) => {
            let best = &tuned.measured[tuned.best].1;
            let over_worst = if worst.rate > 0.0 {
                format!("{:.1} times as many as with the worst of these", best.rate / worst.rate)
            } else {
                "with which the worst of these can answer none".to_owned()
            };
            let over_now = if gain[0].is_finite() {
                format!("{:.2} times as many requests as now", gain[gain.len() / 2])
            } else {
                format!("{:.1} requests a second and now none", best.rate)
            };
            writeln!(
                out,
                "{over_now} within {slo} ({least:.2} to {most:.2} in {} rounds), {over_worst}",
                gain.len(),
            )
        }
        _ => writeln!(out, "nothing that was measured does more than what holds now"),
    };
    if let Some(path) = written {
        let _ = writeln!(out, "written into {path}");
    }
    print(&out)
}

fn as_json(tuned: &Tuned, slo: Slo, gain: &[f64], written: Option<String>) -> Result<(), Failure> {
    let finite = |seconds: f64| seconds.is_finite().then_some(seconds * 1e3);
    let setting = |s: &Setting| {
        json!({
            "engine": s.engine, "precision": s.precision.name(), "instances": s.instances,
            "threads": s.threads, "rule": s.rule.name(), "max_batch": s.max_batch,
            "max_queue_delay_ms": s.delay.as_secs_f64() * 1e3,
        })
    };
    let measured = |(of, capacity): &Measured| {
        let points = capacity.points.iter().map(|p| {
            json!({
                "offered": p.offered, "in_time": p.in_time,
                "p50_ms": finite(p.p50), "tail_ms": finite(p.tail),
            })
        });
        json!({ "setting": setting(of), "rate": capacity.rate, "points": points.collect::<Vec<_>>() })
    };
    let raw =
        |(of, rate): &(Setting, f64)| json!({ "setting": setting(of), "rows_per_second": rate });
    let told = json!({
        "slo": slo.to_string(),
        "raw": tuned.raw.iter().map(raw).collect::<Vec<_>>(),
        "measured": tuned.measured.iter().map(measured).collect::<Vec<_>>(),
        "best": tuned.best,
        "gain": gain,
        "written": written,
    });
    print(&format!("{told:#}\n"))
}

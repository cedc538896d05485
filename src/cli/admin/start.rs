//! What `rollout start` takes.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{Failure, signed};
use crate::control::rollout::Span;
use crate::stats::Gate;

/// A rollout to be.
#[derive(clap::Args)]
pub struct StartArgs {
    /// The model
    pub model: String,
    /// The candidate
    #[arg(long, value_name = "VERSION", required_unless_present = "file")]
    to: Option<u64>,
    /// The baseline [default: the version with most of the traffic]
    #[arg(long, value_name = "VERSION")]
    from: Option<u64>,
    /// The candidate's shares in percent [default: 1,5,25,50,100]
    #[arg(long, value_name = "LIST", value_parser = steps)]
    steps: Option<Steps>,
    /// How long a step takes at least [default: 2m]
    #[arg(long, value_name = "TIME", value_parser = span)]
    interval: Option<String>,
    /// How long a step may take until its gates have decided [default: 15 intervals]
    #[arg(long, value_name = "TIME", value_parser = span)]
    timeout: Option<String>,
    /// Requests of each version that a gate wants to have seen [default: 100]
    #[arg(long, value_name = "N")]
    min_samples: Option<u64>,
    /// What must hold, such as 'error_rate<=0.5%'; may be given several times
    #[arg(long = "gate", value_name = "GATE", value_parser = gate)]
    gates: Vec<String>,
    /// Why, for the history
    #[arg(long)]
    reason: Option<String>,
    /// Read these from a file too, .json or .toml; what is said here is stronger
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Watch it until it ends
    #[arg(long)]
    pub watch: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Steps(Vec<f64>);

impl StartArgs {
    /// What the server is asked for.
    pub fn body(&self) -> Result<Value, Failure> {
        let mut body = match &self.file {
            Some(file) => from_file(file)?,
            None => Map::new(),
        };
        let Value::Object(signature) = signed(self.reason.as_deref()) else {
            return Err("no signature".into());
        };
        for (key, value) in signature {
            // A file may say whose it is.
            if key == "reason" || !body.contains_key(&key) {
                body.insert(key, value);
            }
        }
        let gates = Some(&self.gates).filter(|gates| !gates.is_empty());
        let said = [
            ("to", self.to.map(|v| json!(v))),
            ("from", self.from.map(|v| json!(v))),
            ("steps", self.steps.as_ref().map(|steps| json!(steps.0))),
            ("interval", self.interval.as_ref().map(|v| json!(v))),
            ("timeout", self.timeout.as_ref().map(|v| json!(v))),
            ("min_samples", self.min_samples.map(|v| json!(v))),
            ("gates", gates.map(|gates| json!(gates))),
        ];
        for (key, value) in said {
            if let Some(value) = value {
                body.insert(key.to_owned(), value);
            }
        }
        if !body.contains_key("to") {
            return Err("the file has no `to`: name the candidate there or with --to".into());
        }
        Ok(body.into())
    }
}

fn from_file(file: &Path) -> Result<Map<String, Value>, Failure> {
    let wrong = |why: String| format!("{}: {}", file.display(), why.trim());
    let text = std::fs::read_to_string(file).map_err(|e| wrong(e.to_string()))?;
    let read = match file.extension().and_then(|e| e.to_str()) {
        Some("toml") => toml::from_str(&text).map_err(|e| e.to_string()),
        Some("json") => serde_json::from_str(&text).map_err(|e| e.to_string()),
        _ => Err("is neither .json nor .toml".to_owned()),
    };
    Ok(read.map_err(wrong)?)
}

fn steps(text: &str) -> Result<Steps, String> {
    let one = |step: &str| step.trim().trim_end_matches('%').parse::<f64>().ok();
    let steps: Option<Vec<f64>> = text.split(',').map(one).collect();
    let within = |steps: &Vec<f64>| steps.iter().all(|s| *s > 0.0 && *s <= 100.0);
    let rising = |steps: &Vec<f64>| steps.windows(2).all(|w| w[0] < w[1]);
    let steps = steps.filter(within).filter(rising).map(Steps);
    steps.ok_or_else(|| "write percentages that rise up to 100, such as 1,5,25,50,100".to_owned())
}

fn span(text: &str) -> Result<String, String> {
    Span::try_from(text.to_owned()).map(String::from)
}

fn gate(text: &str) -> Result<String, String> {
    text.parse::<Gate>().map(|gate| gate.to_string()).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        start: StartArgs,
    }

    fn body(args: &[&str]) -> Value {
        let args = ["start", "m"].iter().chain(args);
        let mut body = Cli::try_parse_from(args).unwrap().start.body().unwrap();
        body.as_object_mut().unwrap().remove("author");
        body
    }

    fn wrong(args: &[&str]) -> String {
        match Cli::try_parse_from(["start", "m"].iter().chain(args)) {
            Ok(cli) => cli.start.body().unwrap_err().to_string(),
            Err(e) => e.to_string().lines().next().unwrap_or_default().to_owned(),
        }
    }

    #[test]
    fn what_is_not_said_is_left_to_the_server() {
        assert_eq!(body(&["--to", "7"]), json!({"to": 7}));
        let all = [
            "--to=7",
            "--from=6",
            "--steps=1,5%,100",
            "--interval=90s",
            "--timeout=30m",
            "--min-samples=50",
            "--gate=error_rate <= 0.5%",
            "--gate=p99<=1.2x",
            "--reason=new",
        ];
        assert_eq!(
            body(&all),
            json!({
                "to": 7, "from": 6, "steps": [1.0, 5.0, 100.0], "interval": "1m 30s",
                "timeout": "30m", "min_samples": 50, "gates": ["error_rate<=0.5%", "p99<=1.2x"],
                "reason": "new"
            })
        );
    }

    #[test]
    fn a_file_is_weaker_than_the_command_line() {
        let dir = std::env::temp_dir().join(format!("ocelli-start-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let toml = file("r.toml", "to = 7\nsteps = [1, 100]\ngates = [\"p99<=1.2x\"]\n");
        let json = file("r.json", r#"{"to": 7, "reason": "file"}"#);
        assert_eq!(
            body(&["--file", &toml, "--steps=10,100"]),
            json!({"to": 7, "steps": [10.0, 100.0], "gates": ["p99<=1.2x"]})
        );
        assert_eq!(body(&["--file", &json, "--to=8"]), json!({"to": 8, "reason": "file"}));
        let bad = file("bad.json", "{");
        assert!(wrong(&["--file", &bad]).starts_with(&format!("{bad}: EOF while parsing")));
        let other = file("r.yaml", "to: 7");
        assert!(wrong(&["--file", &other]).ends_with("is neither .json nor .toml"));
        let empty = file("empty.json", "{}");
        assert!(wrong(&["--file", &empty]).starts_with("the file has no `to`"));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn says_what_was_written_and_what_is_valid() {
        assert_eq!(
            wrong(&["--to=7", "--steps=5,1"]),
            "error: invalid value '5,1' for '--steps <LIST>': write percentages that rise up to 100, \
             such as 1,5,25,50,100"
        );
        assert!(wrong(&["--to=7", "--interval=soon"]).contains("`soon` is no length of time"));
        assert!(wrong(&["--to=7", "--gate=p99<1"]).contains("neither <= nor >="));
        assert!(wrong(&["--to=7", "--gate=speed<=1"]).contains("valid are error_rate"));
        assert!(wrong(&[]).contains("required"));
    }
}

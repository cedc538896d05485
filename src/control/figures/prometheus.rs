//! The arms' figures of all replicas, as Prometheus has them (HTTP API, `/api/v1/query`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::error::InferError;
use crate::stats::ArmFigures;
use crate::stats::{Counts, LatencyHistogram, Moments};

/// How long Prometheus may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A Prometheus that scrapes all replicas.
#[derive(Clone)]
pub struct Prometheus {
    url: String,
    agent: ureq::Agent,
}

/// Why there are no figures.
#[derive(Clone, Debug, thiserror::Error)]
#[error("Prometheus at {url}: {what}")]
pub struct PrometheusError {
    url: String,
    what: String,
}

impl From<PrometheusError> for InferError {
    fn from(error: PrometheusError) -> InferError {
        InferError::Store(error.to_string())
    }
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    error: String,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

/// One number by version and one more label.
type Numbers = BTreeMap<(u64, String), f64>;

impl Prometheus {
    /// At a URL such as `http://prometheus:9090`.
    pub fn new(url: &str) -> Prometheus {
        let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE));
        let agent = config.http_status_as_error(false).build().into();
        Prometheus { url: url.trim_end_matches('/').to_owned(), agent }
    }

    /// What the arms of a model did over the last `length`.
    pub async fn arms(
        &self,
        model: &str,
        length: Duration,
    ) -> Result<BTreeMap<u64, ArmFigures>, PrometheusError> {
        let (this, model) = (self.clone(), model.to_owned());
        let asked = tokio::task::spawn_blocking(move || this.ask(&model, length)).await;
        asked.unwrap_or_else(|e| Err(self.fault(e.to_string())))
    }

    fn ask(
        &self,
        model: &str,
        length: Duration,
    ) -> Result<BTreeMap<u64, ArmFigures>, PrometheusError> {
        // Below a second there is nothing that was scraped.
        let window = format!("{}ms", length.as_millis().max(1000));
        let model = serde_json::Value::from(model).to_string();
        let sum = |family: &str, by: &str| {
            let query =
                format!("sum by (version, {by}) (increase({family}{{model={model}}}[{window}]))");
            self.query(&query, by)
        };
        let requests = sum("ocelli_arm_requests_total", "outcome")?;
        let latency = sum("ocelli_arm_duration_seconds_bucket", "le")?;
        let shadows = sum("ocelli_shadow_total", "outcome")?;
        let feedback = sum("ocelli_arm_feedback_total", "outcome")?;
        let rewards = sum("ocelli_arm_reward_total", "moment")?;
        let mut arms: BTreeMap<u64, ArmFigures> = BTreeMap::new();
        let all = [&requests, &latency, &shadows, &feedback];
        for version in all.iter().flat_map(|n| n.keys().map(|(v, _)| *v)) {
            let count = |numbers: &Numbers, outcome: &str| {
                let found = numbers.get(&(version, outcome.to_owned()));
                found.copied().unwrap_or_default().round().max(0.0) as u64
            };
            let [ok, errors] = ["ok", "error"].map(|o| count(&requests, o));
            let [agree, differ, broken] = ["agree", "differ", "error"].map(|o| count(&shadows, o));
            let [right, wrong] = ["correct", "wrong"].map(|o| count(&feedback, o));
            let moment =
                |name: &str| rewards.get(&(version, name.to_owned())).copied().unwrap_or_default();
            arms.entry(version).or_insert_with(|| ArmFigures {
                requests: Counts::new(ok + errors, errors),
                latency: histogram(version, &latency),
                accuracy: Counts::new(right + wrong, right),
                agreement: Counts::new(agree + differ + broken, agree),
                reward: Moments {
                    n: moment("n").round() as u64,
                    sum: moment("positive") - moment("negative"),
                    sum_sq: moment("squares"),
                },
            });
        }
        Ok(arms)
    }

    fn query(&self, query: &str, by: &str) -> Result<Numbers, PrometheusError> {
        let url = format!("{}/api/v1/query", self.url);
        let asked = self.agent.get(&url).query("query", query).call();
        let mut answer = asked.map_err(|e| self.fault(e.to_string()))?;
        let answer: Answer =
            answer.body_mut().read_json().map_err(|e| self.fault(e.to_string()))?;
        let Some(Data { result }) = answer.data.filter(|_| answer.status == "success") else {
            return Err(self.fault(answer.error));
        };
        let number = |sample: Sample| {
            let version = sample.metric.get("version")?.parse().ok()?;
            let key = sample.metric.get(by)?.clone();
            let value: f64 = sample.value.1.parse().ok()?;
            value.is_finite().then_some(((version, key), value))
        };
        Ok(result.into_iter().filter_map(number).collect())
    }

    fn fault(&self, what: String) -> PrometheusError {
        PrometheusError { url: self.url.clone(), what }
    }
}

/// Prometheus' buckets, which count all up to their ends, as a histogram. What lies in a bucket is taken
/// to lie at its end, which is 1.3 times its start.
fn histogram(version: u64, buckets: &Numbers) -> LatencyHistogram {
    let mut ends: Vec<(f64, f64)> = buckets
        .iter()
        .filter(|((v, _), _)| *v == version)
        .filter_map(|((_, end), count)| Some((end.parse().ok()?, *count)))
        .collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut histogram = LatencyHistogram::default();
    let (mut below, mut last) = (0.0, 0.0);
    for (end, count) in ends {
        let end = if end.is_finite() { end } else { last };
        let here = (count - below).round().max(0.0) as u64;
        histogram.record_many(Duration::from_secs_f64(end), here);
        (below, last) = (count.max(below), end);
    }
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    /// Answers each query whose text contains the key, and all others with nothing.
    fn serve(answers: &'static [(&'static str, &'static str)]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let first = lines.next().unwrap().unwrap();
                lines.take_while(|l| l.as_ref().is_ok_and(|l| !l.is_empty())).for_each(drop);
                let found = answers.iter().find(|(family, _)| first.contains(family));
                let result = found.map_or("", |(_, result)| result);
                let body = format!(
                    r#"{{"status":"success","data":{{"resultType":"vector","result":[{result}]}}}}"#
                );
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
                let len = body.len();
                write!(stream, "{head}\r\ncontent-length: {len}\r\n\r\n{body}").unwrap();
            }
        });
        url
    }

    #[tokio::test]
    async fn reads_what_all_replicas_counted() {
        let url = serve(&[
            (
                "ocelli_arm_requests_total",
                concat!(
                    r#"{"metric":{"version":"1","outcome":"ok"},"value":[1,"990.2"]},"#,
                    r#"{"metric":{"version":"1","outcome":"error"},"value":[1,"10"]},"#,
                    r#"{"metric":{"version":"2","outcome":"ok"},"value":[1,"5"]}"#
                ),
            ),
            (
                "ocelli_arm_duration_seconds_bucket",
                concat!(
                    r#"{"metric":{"version":"1","le":"0.01"},"value":[1,"500"]},"#,
                    r#"{"metric":{"version":"1","le":"0.02"},"value":[1,"1000"]},"#,
                    r#"{"metric":{"version":"1","le":"+Inf"},"value":[1,"1000"]}"#
                ),
            ),
            (
                "ocelli_arm_feedback_total",
                concat!(
                    r#"{"metric":{"version":"2","outcome":"correct"},"value":[1,"3"]},"#,
                    r#"{"metric":{"version":"2","outcome":"wrong"},"value":[1,"1"]}"#
                ),
            ),
            (
                "ocelli_arm_reward_total",
                concat!(
                    r#"{"metric":{"version":"2","moment":"n"},"value":[1,"4"]},"#,
                    r#"{"metric":{"version":"2","moment":"negative"},"value":[1,"0.5"]},"#,
                    r#"{"metric":{"version":"2","moment":"squares"},"value":[1,"NaN"]}"#
                ),
            ),
        ]);
        let arms = Prometheus::new(&url).arms("m", Duration::from_secs(60)).await.unwrap();
        let one = &arms[&1];
        assert_eq!(one.requests, Counts::new(1000, 10));
        let p99 = one.latency.quantile(0.99).unwrap();
        assert!((0.019..0.021).contains(&p99), "{p99}");
        assert_eq!(arms[&2].accuracy, Counts::new(4, 3));
        assert_eq!(
            (arms[&2].reward.n, arms[&2].reward.sum, arms[&2].reward.sum_sq),
            (4, -0.5, 0.0)
        );
    }

    #[tokio::test]
    async fn says_who_can_not_be_reached() {
        let error = Prometheus::new("http://127.0.0.1:1").arms("m", Duration::ZERO).await;
        assert!(error.unwrap_err().to_string().starts_with("Prometheus at http://127.0.0.1:1: "));
    }
}

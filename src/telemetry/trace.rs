//! Spans by OpenTelemetry: where the time of a request goes, told to a collector by OTLP.
//!
//! Off unless an endpoint is set; then a request costs a look at an empty option. A request that is
//! sampled notes the moments it passes, and its spans are made of them when it ends, so that
//! nothing is told while somebody waits.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{
    Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};

/// Makes spans.
pub struct Tracing {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// The parts of a request, in the order they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its body into tensors or images.
    Decode,
    /// Images into tensors.
    Preprocess,
    /// Waiting for an engine.
    Queue,
    /// The engine's run.
    Compute,
    /// Outputs into its answer.
    Encode,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Stage::Decode => "decode",
            Stage::Preprocess => "preprocess",
            Stage::Queue => "queue",
            Stage::Compute => "compute",
            Stage::Encode => "encode",
        }
    }
}

/// One sampled request.
pub struct RequestTrace {
    tracer: SdkTracer,
    span: opentelemetry_sdk::trace::Span,
    /// When it came, by both clocks.
    now: (Instant, SystemTime),
    stages: Mutex<Vec<(Stage, Instant, Duration)>>,
}

impl Tracing {
    /// Tells spans to the collector at `endpoint`, such as `http://localhost:4317`. Of requests
    /// whose caller has not decided, the share `ratio` is sampled. Needs a tokio runtime.
    pub fn start(endpoint: &str, ratio: f64) -> Result<Tracing, String> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .build()
            .map_err(|e| format!("--otlp-endpoint {endpoint}: {e}"))?;
        let builder = SdkTracerProvider::builder().with_batch_exporter(exporter);
        Ok(Tracing::over(builder, ratio))
    }

    fn over(builder: opentelemetry_sdk::trace::TracerProviderBuilder, ratio: f64) -> Tracing {
        let resource = Resource::builder()
            .with_service_name("ocelli")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)));
        let provider = builder.with_resource(resource).with_sampler(sampler).build();
        let tracer = provider.tracer("ocelli");
        Tracing { provider, tracer }
    }

    /// Begins the span of a request, a child of the caller's if the headers name one (W3C
    /// `traceparent`). It came at `at`. `None` if it is not sampled.
    pub fn request(
        &self,
        name: &'static str,
        headers: &HeaderMap,
        at: Instant,
    ) -> Option<RequestTrace> {
        let parent = TraceContextPropagator::new().extract(&Headers(headers));
        let now = (at, SystemTime::now() - at.elapsed());
        let span = self
            .tracer
            .span_builder(name)
            .with_kind(SpanKind::Server)
            .with_start_time(now.1)
            .start_with_context(&self.tracer, &parent);
        let stages = Mutex::default();
        span.is_recording().then(|| RequestTrace { tracer: self.tracer.clone(), span, now, stages })
    }

    /// Sends what is left. Blocks for as long as that takes.
    pub fn stop(&self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(%error, "the last spans were not told");
        }
    }
}

impl RequestTrace {
    /// A stage ended just now that took so long.
    pub fn passed(&self, stage: Stage, took: Duration) {
        self.at(stage, Instant::now() - took, took);
    }

    /// A stage that began at `start`.
    pub fn at(&self, stage: Stage, start: Instant, took: Duration) {
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        stages.push((stage, start, took));
    }

    /// The request was answered with an HTTP status, or its like.
    pub fn finish(mut self, model: &str, version: u64, status: u16) {
        let (instant, time) = self.now;
        let clock = |at: Instant| time + at.saturating_duration_since(instant);
        self.span.set_attribute(KeyValue::new("ocelli.model", model.to_owned()));
        self.span.set_attribute(KeyValue::new("ocelli.version", version as i64));
        self.span.set_attribute(KeyValue::new("ocelli.status", i64::from(status)));
        if status >= 500 {
            self.span.set_status(Status::error(format!("status {status}")));
        }
        let parent = Context::new().with_remote_span_context(self.span.span_context().clone());
        let stages = self.stages.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (stage, start, took) in stages {
            let span = self
                .tracer
                .span_builder(stage.name())
                .with_start_time(clock(start))
                .start_with_context(&self.tracer, &parent);
            let mut span = span;
            span.end_with_timestamp(clock(start + took));
        }
        self.span.end_with_timestamp(clock(Instant::now()));
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_sdk::trace::InMemorySpanExporter;

    fn tracing(ratio: f64) -> (Tracing, InMemorySpanExporter) {
        let exporter = InMemorySpanExporter::default();
        let builder = SdkTracerProvider::builder().with_simple_exporter(exporter.clone());
        (Tracing::over(builder, ratio), exporter)
    }

    fn headers(flags: &str) -> HeaderMap {
        let parent = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        HeaderMap::from_iter([("traceparent".parse().unwrap(), parent.parse().unwrap())])
    }

    #[test]
    fn a_request_is_a_child_of_its_caller_and_its_stages_are_its_children() {
        let (tracing, told) = tracing(0.0);
        let came = Instant::now() - Duration::from_millis(5);
        let trace = tracing.request("predict", &headers("01"), came).unwrap();
        trace.passed(Stage::Decode, Duration::from_micros(10));
        trace.passed(Stage::Compute, Duration::from_micros(20));
        trace.finish("m", 3, 200);
        let spans = told.get_finished_spans().unwrap();
        let names: Vec<_> = spans.iter().map(|s| s.name.to_string()).collect();
        assert_eq!(names, ["decode", "compute", "predict"]);
        let root = &spans[2];
        assert_eq!(root.span_context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(root.parent_span_id.to_string(), "b7ad6b7169203331");
        assert!(spans[..2].iter().all(|s| s.parent_span_id == root.span_context.span_id()));
        let took = spans[1].end_time.duration_since(spans[1].start_time).unwrap();
        assert_eq!(took, Duration::from_micros(20));
    }

    #[test]
    fn the_caller_decides_and_else_the_ratio() {
        let (none, _) = tracing(0.0);
        let (all, _) = tracing(1.0);
        assert!(none.request("predict", &HeaderMap::new(), Instant::now()).is_none());
        assert!(all.request("predict", &HeaderMap::new(), Instant::now()).is_some());
        assert!(all.request("predict", &headers("00"), Instant::now()).is_none());
    }
}

//! Spans, told to a collector.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use tonic::{Request, Response, Status};

use crate::support::{MODELS, PREDICT, Server, agent, photo};

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = request.into_inner().resource_spans.into_iter();
        let spans = spans.flat_map(|r| r.scope_spans).flat_map(|s| s.spans);
        self.0.lock().unwrap().extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A collector of its own runtime, and its address.
fn collector() -> (Collector, String, tokio::runtime::Runtime) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().unwrap();
    let collector = Collector::default();
    let service = TraceServiceServer::new(collector.clone());
    let routes = axum::Router::new()
        .route_service("/opentelemetry.proto.collector.trace.v1.TraceService/{*rpc}", service);
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    runtime.spawn(async move { axum::serve(listener, routes).await });
    (collector, address, runtime)
}

#[test]
fn a_traced_photo_shows_where_its_time_went() {
    let (collector, address, _runtime) = collector();
    let flags = ["--otlp-endpoint", &address, "--trace-ratio=0", "--lame-duck-ms=0"];
    let server = Server::start_with(MODELS, &flags);
    let ask = |parent: Option<&str>| {
        let mut request = agent().post(server.url(PREDICT)).header("content-type", "image/jpeg");
        if let Some(parent) = parent {
            request = request.header("traceparent", parent);
        }
        assert_eq!(request.send(&photo("chelsea.jpg")[..]).unwrap().status(), 200);
    };
    ask(None);
    ask(Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    // What is left is told at the end.
    server.terminate();
    assert!(server.wait().success());
    let start = Instant::now();
    while collector.0.lock().unwrap().len() < 6 && start.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let spans = collector.0.lock().unwrap().clone();
    let root = spans.iter().find(|s| s.name == "predict").unwrap();
    assert_eq!(root.parent_span_id, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
    let mut names: Vec<_> = spans.iter().map(|s| s.name.as_str()).collect();
    names.sort_unstable();
    // Of the two requests, the one whose caller wanted it.
    assert_eq!(names, ["compute", "decode", "encode", "predict", "preprocess", "queue"]);
    let took = |s: &Span| s.end_time_unix_nano - s.start_time_unix_nano;
    for span in spans.iter().filter(|s| s.name != "predict") {
        assert_eq!(span.trace_id, root.trace_id);
        assert_eq!(span.parent_span_id, root.span_id);
        assert!(span.start_time_unix_nano >= root.start_time_unix_nano, "{}", span.name);
        assert!(took(span) <= took(root), "{}", span.name);
    }
    let compute = spans.iter().find(|s| s.name == "compute").unwrap();
    assert!(took(compute) > took(root) / 2, "the model takes most of it");
}

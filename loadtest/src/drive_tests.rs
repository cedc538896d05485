use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::arrivals::Pattern;

fn plan(address: SocketAddr, load: Load) -> Plan {
    Plan {
        address,
        uri: "/predict".parse().unwrap(),
        headers: HeaderMap::new(),
        bodies: vec![(vec![b'x'; 10].into(), HeaderValue::from_static("text/plain"))],
        grpc: None,
        load,
        warmup: Duration::ZERO,
        timeout: Duration::from_secs(5),
        server_pid: None,
    }
}

/// Answers what `status` gives for the number of the request; closes where `close` says so,
/// without having read the body.
async fn server(
    status: fn(usize) -> u16,
    close: fn(usize) -> bool,
) -> (SocketAddr, Rc<Cell<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Rc::new(Cell::new(0));
    let counter = count.clone();
    tokio::task::spawn_local(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let counter = counter.clone();
            tokio::task::spawn_local(async move {
                let mut seen = Vec::new();
                let mut buffer = [0; 1024];
                loop {
                    let Some(head) = seen.windows(4).position(|w| w == b"\r\n\r\n") else {
                        match stream.read(&mut buffer).await {
                            Ok(n) if n > 0 => seen.extend_from_slice(&buffer[..n]),
                            _ => return,
                        }
                        continue;
                    };
                    let number = counter.replace(counter.get() + 1);
                    let line = format!("HTTP/1.1 {} X\r\ncontent-length: 2\r\n", status(number));
                    if close(number) {
                        let text = format!("{line}connection: close\r\n\r\nno");
                        stream.write_all(text.as_bytes()).await.unwrap();
                        return;
                    }
                    while seen.len() < head + 4 + 10 {
                        let n = stream.read(&mut buffer).await.unwrap();
                        seen.extend_from_slice(&buffer[..n]);
                    }
                    seen.drain(..head + 4 + 10);
                    stream.write_all(format!("{line}\r\nok").as_bytes()).await.unwrap();
                }
            });
        }
    });
    (address, count)
}

async fn on_local(test: impl Future<Output = ()>) {
    tokio::task::LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn every_arrival_is_counted_once() {
    on_local(async {
        let (address, count) = server(|n| if n % 3 == 0 { 503 } else { 200 }, |_| false).await;
        let phase = Phase { rate: 300.0, lasts: Duration::from_secs(1) };
        let pattern = Pattern::Uniform;
        let expected = Arrivals::new(&pattern, &[phase], 1).count();
        let load = Load::Open { pattern, phases: vec![phase], seed: 1, max_in_flight: 100 };
        let finished = run(plan(address, load)).await.unwrap();
        let tally = &finished.record.phases[0];
        assert_eq!(count.get(), expected);
        assert_eq!(tally.statuses[&503], expected.div_ceil(3) as u64);
        assert_eq!(tally.statuses[&200] as usize, expected - expected.div_ceil(3));
        assert_eq!(tally.ok.len() + tally.refused.len(), expected as u64);
        assert!(tally.errors.is_empty() && tally.not_sent == 0);
    })
    .await;
}

#[tokio::test]
async fn a_refusal_that_closes_the_connection_is_an_answer() {
    on_local(async {
        let (address, count) = server(|n| if n % 2 == 0 { 503 } else { 200 }, |n| n % 2 == 0).await;
        let load = Load::Closed { concurrency: 3, lasts: Duration::from_millis(300) };
        let finished = run(plan(address, load)).await.unwrap();
        let tally = &finished.record.phases[0];
        let answers: u64 = tally.statuses.values().sum();
        let broken: u64 = tally.errors.values().sum();
        assert_eq!((answers + broken) as usize, count.get());
        assert!(tally.statuses[&503] > 10 && tally.statuses[&200] > 10, "{:?}", tally.statuses);
        assert_eq!(broken, 0, "{:?}", tally.errors);
    })
    .await;
}

#[tokio::test]
async fn what_is_over_the_bound_is_told() {
    on_local(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let phase = Phase { rate: 100.0, lasts: Duration::from_millis(500) };
        let (pattern, phases) = (Pattern::Uniform, vec![phase]);
        let load = Load::Open { pattern, phases, seed: 1, max_in_flight: 5 };
        let mut plan = plan(address, load);
        plan.timeout = Duration::from_millis(700);
        // Nobody accepts: the first five wait until they are given up.
        let finished = run(plan).await.unwrap();
        let tally = &finished.record.phases[0];
        assert_eq!(tally.errors["timed out"], 5);
        assert!(tally.not_sent >= 40, "{}", tally.not_sent);
    })
    .await;
}

//! A server for tests.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};

use serde_json::Value;

use super::address::Address;

/// A server that answers every request as told: the head and the body to a status and a body. With status
/// 0 it hangs up. It stays until the tests end.
pub fn stub(answer: impl Fn(&str, Value) -> (u16, Value) + Send + 'static) -> Address {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::parse(&listener.local_addr().unwrap().to_string(), false).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
            let lower = head.to_ascii_lowercase();
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            reader.read_exact(&mut body).unwrap();
            let (status, body) = answer(&head, serde_json::from_slice(&body).unwrap_or_default());
            if status > 0 {
                let body = body.to_string();
                let length = body.len();
                let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n");
                let head = format!("{head}content-length: {length}\r\n\r\n");
                stream.write_all((head + &body).as_bytes()).unwrap();
            }
        }
    });
    address
}

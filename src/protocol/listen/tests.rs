//! Connections as clients have them: how they begin, grow old and end.

use std::net::SocketAddr;

use super::*;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::routing::get;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::config::{Address, ClientAuth};

const SLOW: Duration = Duration::from_millis(700);

/// Longer than a first request may take, as it is by default.
const IDLE: Duration = Duration::from_secs(75);

struct Door {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    served: JoinHandle<bool>,
}

async fn open(tls: Option<Arc<Tls>>, max_age: Option<Duration>) -> Door {
    let who = |request: Request| async move {
        request.extensions().get::<ClientCert>().map_or("nobody".to_owned(), |c| c.0.to_string())
    };
    let slow = || async {
        tokio::time::sleep(SLOW).await;
        "done"
    };
    let router = Router::new().route("/who", get(who)).route("/slow", get(slow));
    let life = Life {
        max_connections: 100,
        idle: IDLE,
        keepalive: Some(Duration::from_secs(30)),
        max_age,
        max_streams: 10,
        grace: Duration::from_secs(5),
        leaving: Arc::default(),
    };
    let socket = Socket::bind(&Address::Tcp(([127, 0, 0, 1], 0).into())).await.unwrap();
    let Address::Tcp(address) = socket.address().unwrap() else { unreachable!() };
    let (stop, stopped) = watch::channel(false);
    Door { address, stop, served: tokio::spawn(serve(socket, tls, router, life, stopped)) }
}

async fn two(door: &Door) -> (http2::SendRequest<Body>, JoinHandle<hyper::Result<()>>) {
    let stream = TokioIo::new(TcpStream::connect(door.address).await.unwrap());
    let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    (sender, tokio::spawn(connection))
}

fn request(path: &str) -> Request {
    Request::get(format!("http://x{path}")).header("host", "x").body(Body::empty()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn whoever_makes_no_request_is_let_go() {
    let door = open(None, None).await;
    let preface: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    // Length, type 4 (settings), no flags, stream 0.
    let settings = [preface, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    // A request's headers that go on and on: type 1, neither the end of the stream nor of them.
    let headers = [&settings[..], &[0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82]].concat();
    for said in [b"", &b"GET /who HTTP/1.1\r\nhost: x\r\nx-a"[..], preface, &settings, &headers] {
        let start = Instant::now();
        let mut stream = TcpStream::connect(door.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let took = start.elapsed();
        assert!(took >= PATIENCE && took < PATIENCE * 11 / 10, "{said:?}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_has_asked_may_be_idle_for_longer() {
    let door = open(None, None).await;
    let mut stream = TcpStream::connect(door.address).await.unwrap();
    let ask = b"GET /who HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut answer = [0; 1024];
    for idle in [Duration::ZERO, IDLE * 9 / 10] {
        tokio::time::sleep(idle).await;
        stream.write_all(ask).await.unwrap();
        let n = stream.read(&mut answer).await.unwrap();
        assert!(
            answer[..n].starts_with(b"HTTP/1.1 200"),
            "{:?}",
            String::from_utf8_lossy(&answer[..n])
        );
    }
    // Neither silence nor half a head holds it for ever.
    for said in [&b""[..], b"GET /who HTTP/1.1\r\nx-a"] {
        let start = Instant::now();
        let mut stream = TcpStream::connect(door.address).await.unwrap();
        stream.write_all(ask).await.unwrap();
        assert!(stream.read(&mut answer).await.unwrap() > 0);
        stream.write_all(said).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
        let took = start.elapsed();
        assert!(took >= IDLE && took < IDLE * 11 / 10, "{said:?}: {took:?}");
    }
}

#[tokio::test]
async fn an_old_http2_connection_finishes_what_it_began() {
    let door = open(None, Some(SLOW / 3)).await;
    let (mut sender, connection) = two(&door).await;
    let answer = sender.send_request(request("/slow")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let body = axum::body::to_bytes(Body::new(answer.into_body()), 10).await.unwrap();
    assert_eq!(body, "done");
    connection.await.unwrap().unwrap();
    assert!(sender.send_request(request("/who")).await.is_err());
}

#[tokio::test]
async fn an_old_http1_connection_says_so_in_its_next_answer() {
    let door = open(None, Some(SLOW / 3)).await;
    let stream = TokioIo::new(TcpStream::connect(door.address).await.unwrap());
    let (mut sender, connection) = http1::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request("/who")).await.unwrap();
    assert!(!answer.headers().contains_key(header::CONNECTION));
    drop(answer);
    tokio::time::sleep(SLOW).await;
    let answer = sender.send_request(request("/who")).await.unwrap();
    assert_eq!(answer.headers()[header::CONNECTION], "close");
    drop(answer);
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_waits_for_requests_and_for_nobody_else() {
    let door = open(None, None).await;
    let _silent = TcpStream::connect(door.address).await.unwrap();
    let (mut sender, _connection) = two(&door).await;
    let asked = tokio::spawn(async move { sender.send_request(request("/slow")).await });
    tokio::time::sleep(SLOW / 3).await;
    let start = Instant::now();
    door.stop.send_replace(true);
    assert!(door.served.await.unwrap());
    assert!(start.elapsed() < SLOW * 2);
    assert_eq!(asked.await.unwrap().unwrap().status(), StatusCode::OK);
    assert!(TcpStream::connect(door.address).await.is_err());
}

#[tokio::test]
async fn handlers_see_whose_certificate_was_verified() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let make = |name: &str| {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &ca).unwrap(), key)
    };
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (cert, key) = make("server");
    let settings = TlsSettings {
        cert: write("cert.pem", cert.pem()),
        key: write("key.pem", key.serialize_pem()),
        clients: Some((write("ca.pem", ca.pem()), ClientAuth::Optional)),
    };
    let door = open(Some(Tls::start(settings).unwrap()), None).await;
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let builder = || {
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots.clone())
    };
    let (cert, key) = make("scanner 7");
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let known = builder().with_client_auth_cert(vec![cert.der().clone()], key).unwrap();
    for (mut config, told) in [(builder().with_no_client_auth(), "nobody"), (known, "CN=scanner 7")]
    {
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(door.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let answer = sender.send_request(request("/who")).await.unwrap();
        let body = axum::body::to_bytes(Body::new(answer.into_body()), 100).await.unwrap();
        assert_eq!(body, told);
    }
}

//! The edge: TLS, keys, rates, sockets, and clients that misbehave. Asked with curl, which is what
//! people try first.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::support::{BINARY, Server, onnx, put};

const SUM: &str = "/v1/models/sum:predict";
const BODY: &str = r#"{"instances": [[1, 2]]}"#;
const GRPC: [&str; 3] = ["--http2-prior-knowledge", "-Hcontent-type: application/grpc", "-XPOST"];

/// A directory of models, and of what else a server is given.
fn scratch() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let models = dir.path().join("models");
    put(&models, "sum", 1, &onnx::affine(2, 1, &[1.0, 1.0]));
    (dir, models)
}

fn start(models: &Path, flags: &[&str]) -> Server {
    Server::start_with(models.to_str().unwrap(), flags)
}

/// The status, and the whole answer; none if there was no answer.
fn curl(url: &str, args: &[&str]) -> Option<(u16, String)> {
    let mut command = Command::new("curl");
    command.args(["-sS", "-i", "--max-time", "20", url]).args(args).stderr(Stdio::null());
    let out = command.output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let status = text.split(' ').nth(1)?.trim().parse().ok()?;
    out.status.success().then_some((status, text))
}

fn status(url: &str, args: &[&str]) -> Option<u16> {
    curl(url, args).map(|(status, _)| status)
}

/// Asks until the answer is as wanted: files are looked at once a second.
fn within(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes `NAME-ca.pem`, `NAME.pem` and `NAME.key`; gives back their paths.
    fn sign(&self, dir: &Path, name: &str) -> [String; 3] {
        let params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]);
        let key = KeyPair::generate().unwrap();
        let cert = params.unwrap().signed_by(&key, &self.0).unwrap();
        let write = |end: &str, text: String| {
            let path = dir.join(format!("{name}{end}"));
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        [
            write("-ca.pem", self.0.pem()),
            write(".pem", cert.pem()),
            write(".key", key.serialize_pem()),
        ]
    }
}

fn https(url: &str) -> String {
    url.replacen("http:", "https:", 1)
}

#[test]
fn tls_is_spoken_on_both_ports_and_its_certificate_can_be_replaced() {
    let (dir, models) = scratch();
    let (old, new) = (Authority::new(), Authority::new());
    let [old_ca, cert, key] = old.sign(dir.path(), "server");
    let [new_ca, ..] = new.sign(dir.path(), "other");
    let server = start(&models, &["--tls-cert", &cert, "--tls-key", &key]);
    let rest = https(&server.url(SUM));
    let grpc = https(&server.grpc_url("/a.B/C"));
    let trusting = |ca: &str| status(&rest, &["--cacert", ca, "-d", BODY]);
    assert_eq!(trusting(&old_ca), Some(200));
    assert_eq!(trusting(&new_ca), None);
    assert_eq!(status(&server.url(SUM), &["-d", BODY]), None);
    let (_, http2) = curl(&rest, &["--cacert", &old_ca, "--http2", "-d", BODY]).unwrap();
    assert!(http2.starts_with("HTTP/2 200"), "{http2}");
    let typed = ["--cacert", &old_ca, "-Hcontent-type: application/grpc", "-d", ""];
    let (code, answer) = curl(&grpc, &typed).unwrap();
    assert!(code == 200 && answer.contains("grpc-status: "), "{answer}");

    // A broken file, then one half of a pair: the old pair stays.
    std::fs::write(&cert, "broken").unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(trusting(&old_ca), Some(200));
    let files = |name: &str| dir.path().join(name);
    std::fs::copy(files("other.pem"), &cert).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(trusting(&old_ca), Some(200));
    std::fs::copy(files("other.key"), &key).unwrap();
    within("the new certificate", || trusting(&new_ca) == Some(200));
    assert_eq!(trusting(&old_ca), None);
}

#[test]
fn a_client_shows_a_certificate_if_it_must() {
    let (dir, models) = scratch();
    let (ours, theirs) = (Authority::new(), Authority::new());
    let [ca, cert, key] = ours.sign(dir.path(), "ours");
    let [_, their_cert, their_key] = theirs.sign(dir.path(), "theirs");
    let tls = ["--tls-cert", &cert, "--tls-key", &key, "--tls-client-ca", &ca];
    for (auth, without) in [("required", None), ("optional", Some(200))] {
        let server = start(&models, &[&tls[..], &["--tls-client-auth", auth]].concat());
        let url = https(&server.url(SUM));
        let base = ["--cacert", &ca, "-d", BODY];
        let with = |cert: &str, key: &str| {
            status(&url, &[&base[..], &["--cert", cert, "--key", key]].concat())
        };
        assert_eq!(status(&url, &base), without, "{auth}");
        assert_eq!(with(&cert, &key), Some(200), "{auth}");
        assert_eq!(with(&their_cert, &their_key), None, "{auth}");
    }
}

#[test]
fn the_command_line_reaches_an_admin_api_that_asks_for_certificates() {
    let (dir, models) = scratch();
    let (ours, theirs) = (Authority::new(), Authority::new());
    let [ca, cert, key] = ours.sign(dir.path(), "ours");
    let [their_ca, their_cert, their_key] = theirs.sign(dir.path(), "theirs");
    let tls = ["--tls-cert", &cert, "--tls-key", &key, "--tls-client-ca", &ca];
    let open = ["--tls-client-auth", "required", "--admin-addr", "0.0.0.0:0"];
    let server = start(&models, &[&tls[..], &open].concat());
    let port = server.admin_url("").rsplit(':').next().unwrap().to_owned();
    let ask = |args: &[&str]| {
        let admin = format!("localhost:{port}");
        let mut command = Command::new(BINARY);
        let out =
            command.args(["models", "--admin", &admin, "--json"]).args(args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (out.status.success(), text(&out.stdout), text(&out.stderr))
    };
    let (done, told, error) = ask(&["--ca", &ca, "--cert", &cert, "--key", &key]);
    assert!(done && told.contains("\"sum\""), "{told} {error}");
    // Who is not known, and who does not know.
    assert!(!ask(&["--ca", &ca, "--cert", &their_cert, "--key", &their_key]).0);
    assert!(!ask(&["--ca", &their_ca, "--cert", &cert, "--key", &key]).0);
    assert!(!ask(&["--ca", &ca]).0);
    let (done, _, error) = ask(&["--ca", &key]);
    assert!(!done && error.contains("there is no certificate in it"), "{error}");
}

/// A new token, and its entry for the file.
fn token(args: &[&str]) -> (String, String) {
    let out = Command::new(BINARY).args(["keys", "new"]).args(args).output().unwrap();
    assert!(out.status.success());
    let told = String::from_utf8(out.stderr).unwrap();
    (told.trim().rsplit(' ').next().unwrap().to_owned(), String::from_utf8(out.stdout).unwrap())
}

#[test]
fn each_door_asks_for_its_right_and_a_new_file_of_keys_is_read() {
    let (dir, models) = scratch();
    let file = dir.path().join("keys.toml");
    let (predict, one) = token(&["--name", "scanner"]);
    let (admin, two) = token(&["--name", "ops", "--right", "admin"]);
    let (both, three) = token(&["--name", "deploy", "--right", "predict", "--right", "admin"]);
    std::fs::write(&file, one + &two + &three).unwrap();
    let flags = ["--keys-file", file.to_str().unwrap(), "--allow-control=true"];
    let server = start(&models, &flags);
    let rest = |more: &[&str]| status(&server.url(SUM), &[&["-d", BODY], more].concat());
    let bearer = |token: &str| format!("-Hauthorization: Bearer {token}");
    assert_eq!(rest(&[]), Some(401));
    assert_eq!(rest(&[&bearer("wrong")]), Some(401));
    assert_eq!(rest(&[&bearer(&predict)]), Some(200));
    assert_eq!(rest(&[&format!("-Hx-api-key: {predict}")]), Some(200));
    assert_eq!(rest(&[&bearer(&admin)]), Some(403));
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(status(&server.url(path), &[]), Some(200), "{path}");
    }
    let (_, refused) = curl(&server.url(SUM), &["-d", BODY]).unwrap();
    assert!(refused.to_lowercase().contains("www-authenticate: bearer"), "{refused}");
    assert!(refused.contains("x-request-id: ") && refused.contains("{\"error\":"), "{refused}");
    assert!(
        server.text("/metrics").contains("ocelli_access_refused_total{reason=\"forbidden\"} 1")
    );

    let grpc = |path: &str, more: &[&str]| {
        let (code, answer) = curl(&server.grpc_url(path), &[&GRPC, more].concat()).unwrap();
        assert_eq!(code, 200);
        let found = answer.lines().find_map(|line| line.strip_prefix("grpc-status: "));
        found.unwrap().trim().to_owned()
    };
    assert_eq!(grpc("/a.B/C", &[]), "16");
    assert_eq!(grpc("/a.B/C", &[&bearer(&admin)]), "7");
    assert_eq!(grpc("/a.B/C", &[&bearer(&predict)]), "12");
    assert_ne!(grpc("/grpc.health.v1.Health/Check", &[]), "16");
    // To load and unload on this port is to administer.
    let empty = dir.path().join("empty-message");
    std::fs::write(&empty, [0; 5]).unwrap();
    let data = format!("@{}", empty.display());
    let unload = |token: &str| {
        let rpc = "/inference.GRPCInferenceService/RepositoryModelUnload";
        grpc(rpc, &["--data-binary", &data, &bearer(token)])
    };
    assert_eq!(unload(&predict), "7");
    assert!(!["7", "12", "16"].contains(&&*unload(&both)));

    let models_url = server.admin_url("/admin/v1/models");
    assert_eq!(status(&models_url, &[]), Some(401));
    assert_eq!(status(&models_url, &[&bearer(&predict)]), Some(403));
    assert_eq!(status(&models_url, &[&bearer(&admin)]), Some(200));
    assert_eq!(status(&server.admin_url("/healthz"), &[]), Some(200));
    assert!(server.traffic(&["get", "sum"]).unwrap_err().contains("no key came"));
    assert!(
        server.traffic(&["get", "sum", "--token", &admin]).unwrap().contains("follows the latest")
    );

    // A broken file leaves the keys; a good one replaces them.
    std::fs::write(&file, "[[key]]\nnmae = \"x\"").unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(rest(&[&bearer(&predict)]), Some(200));
    let (fresh, entry) = token(&["--name", "scanner"]);
    std::fs::write(&file, entry).unwrap();
    within("the new key", || rest(&[&bearer(&fresh)]) == Some(200));
    assert_eq!(rest(&[&bearer(&predict)]), Some(401));
}

#[test]
fn a_token_that_is_there_already_is_hashed_and_its_rate_kept() {
    let (dir, models) = scratch();
    let mut hash = Command::new(BINARY)
        .args(["keys", "hash", "--name", "few"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    hash.stdin.take().unwrap().write_all(b"mine\n").unwrap();
    let entry = String::from_utf8(hash.wait_with_output().unwrap().stdout).unwrap();
    let file = dir.path().join("keys.toml");
    std::fs::write(&file, entry + "rate = 0.05\nburst = 2\n").unwrap();
    let flags = ["--keys-file", file.to_str().unwrap(), "--protect-metrics=true"];
    let server = start(&models, &flags);
    let key = "-Hx-api-key: mine";
    assert_eq!(status(&server.url("/metrics"), &[]), Some(401));
    assert_eq!(status(&server.url(SUM), &["-d", BODY, key]), Some(200));
    assert_eq!(status(&server.url("/metrics"), &[key]), Some(200));
    let (code, answer) = curl(&server.url(SUM), &["-d", BODY, key]).unwrap();
    let after = answer.lines().find_map(|line| line.strip_prefix("retry-after: "));
    let after: u64 = after.unwrap().trim().parse().unwrap();
    assert!(code == 429 && (15..=20).contains(&after), "{answer}");
    let (_, answer) = curl(&server.grpc_url("/a.B/C"), &[&GRPC[..], &[key]].concat()).unwrap();
    assert!(answer.contains("grpc-status: 8") && answer.contains("grpc-retry-pushback-ms"));
}

#[test]
fn a_unix_socket_is_served_and_a_stale_one_taken_over() {
    let (dir, models) = scratch();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (rest, grpc) = (path("rest.sock"), path("grpc.sock"));
    let flags = [format!("--rest-addr=unix:{rest}"), format!("--grpc-addr=unix:{grpc}")];
    // TLS is for TCP: sidecars need none.
    let [_, cert, key] = Authority::new().sign(dir.path(), "server");
    let flags = [&*flags[0], &flags[1], "--lame-duck-ms=0", "--tls-cert", &cert, "--tls-key", &key];
    let mut killed = start(&models, &flags);
    assert_eq!(killed.url(""), format!("http://unix:{rest}"));
    killed.kill();
    assert!(Path::new(&rest).exists());
    let server = start(&models, &flags);
    let url = format!("http://localhost{SUM}");
    assert_eq!(status(&url, &["--unix-socket", &rest, "-d", BODY]), Some(200));
    let args = [&GRPC[..], &["--unix-socket", &grpc]].concat();
    assert_eq!(status("http://localhost/a.B/C", &args), Some(200));
    server.terminate();
    assert!(server.wait().success());
    assert!(!Path::new(&rest).exists() && !Path::new(&grpc).exists());
}

#[test]
fn one_port_may_serve_both() {
    let (dir, models) = scratch();
    let [ca, cert, key] = Authority::new().sign(dir.path(), "server");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // The address for gRPC is not touched.
    let elsewhere = format!("--grpc-addr={}", taken.local_addr().unwrap());
    let tls = ["--single-port", "--tls-cert", &cert, "--tls-key", &key, &elsewhere];
    for flags in [&["--single-port", &elsewhere][..], &tls] {
        let server = start(&models, flags);
        assert_eq!(server.url(""), server.grpc_url(""));
        let secure = flags.len() > 2;
        let url = |path: &str| if secure { https(&server.url(path)) } else { server.url(path) };
        let two = if secure { "--http2" } else { "--http2-prior-knowledge" };
        for version in ["--http1.1", two] {
            let args = ["--cacert", &ca, version];
            assert_eq!(status(&url(SUM), &[&args[..], &["-d", BODY]].concat()), Some(200));
            let typed = ["-Hcontent-type: application/grpc", "-d", ""];
            let (_, answer) = curl(&url("/a.B/C"), &[&args[..], &typed].concat()).unwrap();
            assert!(answer.contains("grpc-status: 12"), "{version}: {answer}");
        }
    }
}

#[test]
fn a_connection_is_asked_to_go_when_it_is_old() {
    let (_dir, models) = scratch();
    let server = start(&models, &["--max-connection-age-ms=1000"]);
    let mut stream = TcpStream::connect(server.url("").trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // HTTP/2 by hand: the preface, empty settings, and a GET of `/healthz` as literals.
    let mut said = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    let head = b"\x82\x86\x04\x08/healthz\x01\x01x";
    said.extend([0, 0, head.len() as u8, 1, 5, 0, 0, 0, 1]);
    said.extend(head);
    stream.write_all(&said).unwrap();
    let start = Instant::now();
    let mut frames = Vec::new();
    let mut header = [0; 9];
    while stream.read_exact(&mut header).is_ok() {
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).unwrap();
        frames.push(header[3]);
        if header[3] == 6 && header[4] == 0 {
            // A ping, answered: so the server knows that its farewell has arrived.
            stream.write_all(&[0, 0, 8, 6, 1, 0, 0, 0, 0]).unwrap();
            stream.write_all(&payload).unwrap();
        }
    }
    let took = start.elapsed();
    assert!(took > Duration::from_millis(800) && took < Duration::from_secs(5), "{took:?}");
    // The answer's headers, and then a GOAWAY.
    let at = |kind: u8| frames.iter().position(|frame| *frame == kind).unwrap();
    assert!(at(1) < at(7), "{frames:?}");
}

#[test]
fn headers_that_are_too_large_are_told_so() {
    let (_dir, models) = scratch();
    let server = start(&models, &[]);
    let large = format!("-Hx-large: {}", "x".repeat(20_000));
    let fits = format!("-Hx-large: {}", "x".repeat(12_000));
    let url = server.url("/healthz");
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        assert_eq!(status(&url, &[version, &fits]), Some(200), "{version}");
        assert_eq!(status(&url, &[version, &large]), Some(431), "{version}");
    }
    let many: Vec<_> = (0..200).map(|n| format!("-Hx-{n}: x")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(status(&url, &[&["--http1.1"][..], &many].concat()), Some(431));
}

#[test]
fn a_client_that_says_nothing_is_let_go() {
    let (_dir, models) = scratch();
    let server = start(&models, &["--max-connections=8"]);
    let address = server.url("").trim_start_matches("http://").to_owned();
    // With few places left, patience is short.
    let silent: Vec<_> = (0..8).map(|_| TcpStream::connect(&address).unwrap()).collect();
    assert_eq!(status(&server.url("/healthz"), &["--max-time", "15"]), Some(200));
    let mut last = &silent[7];
    last.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let start = Instant::now();
    assert_eq!(last.read(&mut [0; 1]).unwrap(), 0);
    assert!(start.elapsed() < Duration::from_secs(8));
}

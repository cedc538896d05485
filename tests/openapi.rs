//! What the documents promise is there, under the methods they name and no others.

use serde_json::Value;

use crate::support::{MODELS, Server, agent};

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// Status and error of a call without a body.
fn call(method: &str, url: &str) -> (u16, String) {
    let agent = agent();
    let mut response = match method {
        "get" => agent.get(url).call(),
        "delete" => agent.delete(url).call(),
        "put" => agent.put(url).send_empty(),
        "post" => agent.post(url).send_empty(),
        _ => agent.patch(url).send_empty(),
    }
    .unwrap();
    (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
}

fn check(url: impl Fn(&str) -> String) {
    let document = call("get", &url("/openapi.json")).1;
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    for (path, item) in document["paths"].as_object().unwrap() {
        let there = path.replace("{model}", "efficientnet_lite0").replace("{version}", "1");
        // TensorFlow Serving takes PUT for POST, which is nothing to tell.
        let put_is_post = path.starts_with("/v1/") && item.get("post").is_some();
        for method in METHODS.into_iter().filter(|method| *method != "put" || !put_is_post) {
            let (status, body) = call(method, &url(&there.replace("{label}", "none")));
            let taken = status != 405
                && !body.contains("no such route")
                && !body.contains("Malformed request");
            assert_eq!(taken, item.get(method).is_some(), "{method} {path}: {status} {body}");
            let promised = &item[method]["responses"][status.to_string()];
            assert!(!taken || promised.is_object(), "{method} {path}: {status} {body}");
        }
    }
}

#[test]
fn documents_tell_the_methods_that_are_taken() {
    let server = Server::start(MODELS);
    check(|path| server.url(path));
    check(|path| server.admin_url(path));
}

#[test]
fn the_page_may_load_nothing_from_elsewhere() {
    let server = Server::start(MODELS);
    for url in [server.url("/docs"), server.admin_url("/docs")] {
        let mut response = agent().get(&url).call().unwrap();
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'self';"), "{policy}");
        let page = response.body_mut().read_to_string().unwrap();
        let named = page.split('"').filter(|text| text.starts_with("docs/"));
        let base = url.strip_suffix("docs").unwrap();
        let files: Vec<_> = named.map(|file| call("get", &format!("{base}{file}"))).collect();
        assert_eq!(files.len(), 3);
        assert!(files.iter().all(|(status, text)| *status == 200 && !text.is_empty()));
    }
}

#[test]
fn kserve_is_told_that_the_server_is_alive() {
    let server = Server::start(MODELS);
    let (status, body) = call("get", &server.url("/"));
    assert_eq!((status, &*body), (200, r#"{"status":"alive"}"#));
}

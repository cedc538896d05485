use serde_json::json;

use super::super::stub::stub;
use super::*;

fn address(text: &str) -> Address {
    Address::parse(text, false).unwrap()
}

/// Port 1 is nobody's.
fn nobody() -> Address {
    address("127.0.0.1:1")
}

fn client(first: Vec<Address>) -> Client {
    Client::new(Some("secret"), TlsConfig::default(), first, vec![]).unwrap()
}

#[test]
fn the_first_that_can_be_reached_answers() {
    let there = stub(|head, body| (200, json!({"head": head, "body": body})));
    let call = Call::change(Method::POST, of_model("a b/c", "/traffic"), json!({"x": 1}));
    let (at, answer) = client(vec![nobody(), there.clone()]).ask(&call).unwrap();
    assert_eq!(at, there);
    let head = answer["head"].as_str().unwrap().to_ascii_lowercase();
    assert!(head.starts_with("post /admin/v1/models/a%20b%2fc/traffic http/1.1"), "{head}");
    assert!(head.contains("authorization: bearer secret"), "{head}");
    assert_eq!(answer["body"], json!({"x": 1}));
}

#[test]
fn nobody_there_is_told_with_what_to_do() {
    let refusal = client(vec![nobody()]).ask(&Call::get("/")).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "can't reach 127.0.0.1:1 (connection refused); is the server running? name its address with \
         --admin"
    );
    let both = client(vec![nobody(), address("no.such.name.invalid:1")]);
    let both = both.ask(&Call::get("/")).unwrap_err().to_string();
    assert!(both.contains("127.0.0.1:1 (connection refused), no.such.name.invalid:1 ("), "{both}");
}

#[test]
fn a_change_that_may_have_been_made_is_not_made_again() {
    let silent = stub(|_, _| (0, json!(null)));
    let there = stub(|_, _| (200, json!({})));
    let client = client(vec![silent.clone(), there.clone()]);
    let change = client.ask(&Call::change(Method::PUT, "/", json!({}))).unwrap_err().to_string();
    let told = format!("{silent} gave no answer (");
    assert!(change.starts_with(&told) && change.ends_with("look before asking again"), "{change}");
    assert_eq!(client.ask(&Call::get("/")).unwrap().0, there);
}

#[test]
fn a_refusal_says_what_to_do() {
    let refused = |status: u16, body: Value| {
        let there = stub(move |_, _| (status, body.clone()));
        let refusal = client(vec![there.clone()]).ask(&Call::get("/")).unwrap_err();
        refusal.to_string().replace(&there.to_string(), "ADDRESS")
    };
    assert_eq!(
        refused(401, json!({"error": "no key"})),
        "ADDRESS asks for a key: give its token with --token or OCELLI_TOKEN (no key)"
    );
    assert_eq!(
        refused(403, json!({"error": "no right"})),
        "ADDRESS does not let this key do that: give the --token of one with the right `admin` (no \
         right)"
    );
    assert_eq!(
        refused(404, json!({"error": "Servable not found for request: Latest(m)"})),
        "there is no model m; `ocelli models` lists those there are"
    );
    assert_eq!(
        refused(404, json!({"error": "no such route: GET /"})),
        "ADDRESS is no admin API (no such route: GET /): name its address with --admin"
    );
    assert_eq!(refused(409, json!({"error": "too\nlate"})), "too late");
    assert_eq!(
        refused(404, json!("?")),
        "ADDRESS answers, but not as an admin API does (status 404): name the address of the admin \
         API with --admin"
    );
}

#[test]
fn a_token_must_fit_into_a_header() {
    assert!(Client::new(Some("a\nb"), TlsConfig::default(), vec![], vec![]).is_err());
}

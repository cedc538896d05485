use ureq::tls::TlsConfig;

use super::super::stub::stub;
use super::super::table::plain;
use super::*;

fn client(replicas: &[&Address]) -> Client {
    let replicas: Vec<_> = replicas.iter().map(|a| (*a).clone()).collect();
    Client::new(None, TlsConfig::default(), replicas.clone(), replicas).unwrap()
}

#[test]
fn every_other_replica_is_told() {
    let document = json!({"revision": 4, "author": "ada"});
    let offered = document.clone();
    let first = stub(|_, _| (500, json!({"error": "nobody asks the one that was changed"})));
    let adopts = stub(move |head, body| {
        assert!(head.starts_with("POST /admin/v1/models/m/traffic/offer "), "{head}");
        assert_eq!(body, offered);
        (200, json!({"model": "m", "revision": 4, "adopted": true}))
    });
    let knows = |history: Value, revision: u64| {
        stub(move |head, _| match head.starts_with("POST") {
            true => (200, json!({"model": "m", "revision": revision, "adopted": false})),
            false => (200, json!({"history": history})),
        })
    };
    let known = knows(json!([document, {"revision": 5}]), 5);
    let other = knows(json!([{"revision": 4, "author": "eve"}]), 4);
    let refuses = stub(|_, _| (400, json!({"error": "no such model"})));
    let nobody = Address::parse("127.0.0.1:1", false).unwrap();
    let all = [&first, &adopts, &known, &other, &refuses, &nobody];
    let fan = client(&all).spread(&first, "m", &document);
    let told: Vec<_> = fan.0.iter().map(|(_, told)| told.clone()).collect();
    assert_eq!(
        told,
        [
            Told::Changed,
            Told::Adopted,
            Told::Known,
            Told::Differs(4),
            Told::Untold("no such model".to_owned()),
            Told::Untold("can't be reached (connection refused)".to_owned()),
        ]
    );
    assert_eq!(fan.code(), PARTLY);
    assert_eq!(fan.json()[3]["outcome"], "differs");
    assert_eq!(fan.json()[5]["replica"], "127.0.0.1:1");
}

#[test]
fn the_outcome_is_a_table() {
    let address = |text| Address::parse(text, false).unwrap();
    let fan = Fan(vec![
        (address("a:1"), Told::Changed),
        (address("b:1"), Told::Known),
        (address("10.0.0.3:1"), Told::Untold("timeout".to_owned())),
    ]);
    assert_eq!(
        plain(&fan.text()),
        "\nreplica     outcome\n\
         a:1         changed here\n\
         b:1         already there\n\
         10.0.0.3:1  timeout\n\
         1 of 3 replicas could not be told. The change stands; those that share its store will find it \
         there.\n"
    );
    assert_eq!(
        fan.json_line(),
        "{\"replicas\":[{\"outcome\":\"changed\",\"replica\":\"a:1\"},\
         {\"outcome\":\"known\",\"replica\":\"b:1\"},\
         {\"error\":\"timeout\",\"outcome\":\"untold\",\"replica\":\"10.0.0.3:1\"}]}\n"
    );
}

#[test]
fn without_replicas_nobody_is_told() {
    let fan = client(&[]).spread(&Address::parse("a:1", false).unwrap(), "m", &Value::Null);
    assert_eq!((fan.text(), fan.json_line(), fan.code()), (String::new(), String::new(), 0));
}

use super::super::table::plain;
use super::*;

fn loaded() -> Loaded {
    let models = json!([
        {"name": "digits", "problem": null, "labels": {"stable": 1}, "versions": [
            {"version": 1, "state": "AVAILABLE", "engine": "tract", "precision": "f32",
             "digest": "sha256:0123456789abcdef", "loaded_at_unix": 1_795_570_267},
            {"version": 3, "state": "AVAILABLE", "engine": "openvino", "precision": "bf16"},
            {"version": 2, "state": "END", "error": "no input"}
        ]},
        {"name": "ocr", "problem": "nothing could be loaded", "labels": {}, "versions": []}
    ]);
    let traffic = json!({"model": "digits", "split": [{"version": 1, "weight": 10000}]});
    Loaded { models, traffic: [("digits".to_owned(), traffic)].into() }
}

#[test]
fn a_row_is_a_version() {
    let address = Address::parse("a:1", false).unwrap();
    let answers = vec![(address, Ok(loaded()))];
    assert_eq!(
        plain(&text(&answers, false).unwrap()),
        "model   version     state      traffic  engine         digest        loaded                error\n\
         digits  1 (stable)  AVAILABLE     100%  tract          0123456789ab  2026-11-25 01:31:07Z\n\
         digits  3           AVAILABLE       0%  openvino bf16  -             -\n\
         digits  2           END             0%  -              -             -                     no input\n\
         ocr     -           -                -  -              -             -                     nothing \
         could be loaded\n"
    );
}

#[test]
fn several_replicas_have_a_column_and_the_silent_a_line() {
    let address = |text| Address::parse(text, false).unwrap();
    let models = json!([{"name": "m", "versions": [{"version": 1, "state": "LOADING"}]}]);
    let loaded = Loaded { models, traffic: BTreeMap::new() };
    let lost = Refusal::Lost { address: address("b:1"), why: "timeout".to_owned() };
    let answers = vec![(address("a:1"), Ok(loaded)), (address("b:1"), Err(lost))];
    assert_eq!(
        plain(&text(&answers, true).unwrap()),
        "replica  model  version  state    traffic  engine  digest  loaded  error\n\
         a:1      m      1        LOADING        -  -       -       -\n\
         b:1 gave no answer (timeout)\n"
    );
}

#[test]
fn a_server_without_models_says_so() {
    let none = Loaded { models: json!([]), traffic: BTreeMap::new() };
    let answers = vec![(Address::parse("a:1", false).unwrap(), Ok(none))];
    assert_eq!(text(&answers, false).unwrap(), "there are no models\n");
}

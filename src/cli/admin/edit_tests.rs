use clap::Parser;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    set: SetArgs,
}

fn set(line: &str) -> SetArgs {
    Cli::try_parse_from(["set", "m"].into_iter().chain(line.split_whitespace())).unwrap().set
}

fn body(line: &str, current: Option<Value>) -> Value {
    let set = set(line);
    assert_eq!(set.wants_current(), current.is_some(), "{line}");
    let mut body = set.body(current.as_ref()).unwrap();
    body.as_object_mut().unwrap().remove("author");
    body
}

fn wrong(line: &str) -> String {
    match Cli::try_parse_from(["set", "m"].into_iter().chain(line.split_whitespace())) {
        Ok(cli) => cli.set.body(None).unwrap_err().to_string(),
        Err(e) => e.to_string().lines().next().unwrap().to_owned(),
    }
}

#[test]
fn weights_are_a_ratio() {
    assert_eq!(body("1=90 2=10", None), json!({"weights": {"1": 90, "2": 10}}));
    assert_eq!(body("1=99.5% 2=0.5%", None), json!({"weights": {"1": 995_000, "2": 5_000}}));
    assert_eq!(body("latest", None), json!({"latest": true}));
    assert_eq!(
        body("1=1 --reason x --if-revision 3", None),
        json!({"weights": {"1": 1}, "reason": "x", "if_revision": 3})
    );
}

#[test]
fn the_other_parts_are_said_or_left() {
    assert_eq!(
        body("--shadow 3=10 --shadow 4=0.5% --match header:x-a=b=c->2 --match cookie:d=->3", None),
        json!({
            "shadow": [{"version": 3, "percent": 10.0}, {"version": 4, "percent": 0.5}],
            "match": [{"header": "x-a", "equals": "b=c", "version": 2},
                      {"cookie": "d", "equals": "", "version": 3}]
        })
    );
    assert_eq!(body("--shadow none --match none", None), json!({"shadow": [], "match": []}));
    assert_eq!(body("--sticky none", None), json!({"sticky": null}));
    assert_eq!(
        body("--sticky header:x-user --salt s", None),
        json!({"sticky": {"by": "header", "name": "x-user", "salt": "s"}})
    );
}

#[test]
fn a_key_keeps_its_salt_and_a_salt_its_key() {
    let current = json!({"revision": 7, "sticky": {"by": "cookie", "name": "u", "salt": "s"}});
    assert_eq!(
        body("--sticky client-cert", Some(current.clone())),
        json!({"sticky": {"by": "client-cert", "salt": "s"}, "if_revision": 7})
    );
    assert_eq!(
        body("--salt t", Some(current)),
        json!({"sticky": {"by": "cookie", "name": "u", "salt": "t"}, "if_revision": 7})
    );
    // Where nothing was ever changed.
    assert_eq!(
        body("--sticky query:u", Some(Value::Null)),
        json!({"sticky": {"by": "query", "name": "u"}, "if_revision": 0})
    );
}

#[test]
fn says_what_was_written_and_what_is_valid() {
    assert_eq!(
        wrong("1:90"),
        "error: invalid value '1:90' for '[VERSION=WEIGHT]...': write VERSION=WEIGHT, such as 1=90, \
         or `latest`"
    );
    assert!(wrong("1=-1").contains("'1=-1'"));
    assert!(wrong("1=NaN").contains("'1=NaN'"));
    assert_eq!(
        wrong("--shadow 3=101"),
        "error: invalid value '3=101' for '--shadow <VERSION=PERCENT>': write VERSION=PERCENT, such \
         as 3=10, or `none`"
    );
    assert_eq!(
        wrong("--sticky header"),
        "error: invalid value 'header' for '--sticky <KEY>': write header:NAME, cookie:NAME, \
         query:NAME, client-cert or none"
    );
    assert_eq!(
        wrong("--match header:a=b-"),
        "error: invalid value 'header:a=b-' for '--match <RULE>': write \
         'header:NAME=VALUE->VERSION' or 'cookie:NAME=VALUE->VERSION', in quotes, or `none`"
    );
    assert_eq!(wrong("1=1 latest"), "`latest` takes no weights beside it");
    assert_eq!(wrong("1=1 1=2"), "version 1 is there twice");
    assert_eq!(
        wrong("--shadow none --shadow 1=1"),
        "--shadow none takes no other --shadow beside it"
    );
    assert_eq!(wrong("--sticky none --salt s"), "--sticky none takes no --salt");
    assert!(wrong("").starts_with("say what is to change"));
}

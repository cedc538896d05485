use serde_json::json;

use super::super::table::plain;
use super::*;

#[test]
fn tells_what_holds_what_held_and_what_going_back_would_do() {
    let traffic: Traffic = serde_json::from_value(json!({
        "model": "digits", "latest": false,
        "current": {
            "revision": 3, "author": "ada", "reason": "", "created": "2026-11-25T01:31:07.5Z",
            "arms": [{"version": 1, "weight": 9000}, {"version": 2, "weight": 1000}],
            "sticky": {"by": "header", "name": "x-user"},
            "shadow": [{"version": 3, "percent": 10.0}],
            "match": [{"cookie": "beta", "equals": "yes", "version": 3}],
            "rollout": {"from": 1, "to": 2, "state": "running"},
            "bandit": {"min": 500, "max": 9500, "interval": "1m", "metric": "accuracy"}
        },
        "split": [{"version": 1, "weight": 10000}],
        "history": [
            {"revision": 1, "author": "ada", "reason": "first", "created": "2026-11-24T01:31:07Z"},
            {"revision": 2, "author": "rollout", "reason": "fine", "created": "2026-11-25T01:31:07Z",
             "restores": 1, "arms": [{"version": 1, "weight": 10000}]},
            {"revision": 3, "author": "ada", "reason": "", "created": "2026-11-25T01:31:07.5Z",
             "arms": [{"version": 1, "weight": 9000}, {"version": 2, "weight": 1000}]}
        ],
        "rollback": [
            {"revision": 2, "instant": true, "missing": []},
            {"revision": 1, "instant": false, "missing": [4, 5]}
        ]
    }))
    .unwrap();
    assert_eq!(
        plain(&traffic.text()),
        "   revision  split        by       when                  why\n\
         *         3  1=90% 2=10%  ada      2026-11-25 01:31:07Z\n\
         \x20         2  1=100%       rollout  2026-11-25 01:31:07Z  (back to 1) fine\n\
         \x20         1  latest       ada      2026-11-24 01:31:07Z  first\n\
         \n\
         in force  1=100%\n\
         sticky    header:x-user, salt digits\n\
         shadow    version 3 gets copies of 10%\n\
         match     cookie:beta=yes->3\n\
         rollout   of version 2 over 1: running\n\
         bandit    by accuracy, every 1m, between 5% and 95% an arm\n\
         rollback  to revision 2, at once\n\
         \x20         --to 1, once versions 4, 5 are loaded\n"
    );
}

#[test]
fn a_model_that_nobody_touched_has_a_short_story() {
    let traffic: Traffic = serde_json::from_value(json!({
        "model": "digits", "latest": true, "current": null,
        "split": [{"version": 2, "weight": 10000}], "history": [],
        "rollback": [{"revision": null, "instant": false, "missing": [1]}]
    }))
    .unwrap();
    assert_eq!(
        traffic.text(),
        "digits follows the latest version: nobody changed that yet\n\
         \n\
         in force  2=100%\n\
         rollback  to what was served before, once version 1 is loaded\n"
    );
}

#[test]
fn a_change_tells_what_holds_and_what_is_not_in_force_yet() {
    let changed: Changed = serde_json::from_value(json!({
        "model": "digits",
        "current": {"revision": 4, "restores": 2, "arms": [{"version": 1, "weight": 10000}]},
        "split": [{"version": 2, "weight": 10000}]
    }))
    .unwrap();
    assert_eq!(
        changed.text(),
        "traffic of digits: 1=100% (revision 4, back to 2)\n\
         so far    2=100%, until its versions are loaded\n"
    );
}

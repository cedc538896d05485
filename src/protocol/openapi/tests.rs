use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use serde_json::Value;
use utoipa::openapi::OpenApi;

use super::*;
use crate::protocol::http;

/// Routes that answer 501 to everything: there is nothing to tell of them.
const LEFT_OUT: [&str; 6] = [
    "/v2/systemsharedmemory/",
    "/v2/cudasharedmemory/",
    "/v2/logging",
    "/trace/setting",
    "/generate",
    "/generate_stream",
];

/// The paths of a router. It has no list to give, but it prints itself.
fn registered(router: &impl Debug) -> BTreeSet<String> {
    let text = format!("{router:?}");
    let (own, _) = text.split_once("fallback_router").expect("axum prints its fallback");
    let quoted = own.split('"').skip(1).step_by(2).filter(|quoted| quoted.starts_with('/'));
    // `/v1/models/` is `/v1/models` to all clients that write it so.
    let path = |path: &str| if path == "/" { path } else { path.trim_end_matches('/') }.to_owned();
    let paths = quoted.map(path);
    paths.filter(|path| !LEFT_OUT.iter().any(|out| path.contains(out))).collect()
}

fn json(document: &OpenApi) -> Value {
    serde_json::from_str(&document.to_json().unwrap()).unwrap()
}

#[track_caller]
fn check_routes(router: &impl Debug, document: &OpenApi) {
    let (catching, exact): (BTreeSet<_>, BTreeSet<_>) =
        registered(router).into_iter().partition(|path| path.ends_with("{*rest}"));
    // What is below a catch-all is told apart by its handler.
    let mut caught = BTreeSet::new();
    let mut documented: BTreeSet<String> = document.paths.paths.keys().cloned().collect();
    documented.retain(|path| {
        let below = |all: &&String| path.starts_with(all.trim_end_matches("{*rest}"));
        caught.extend(catching.iter().filter(below).cloned());
        !catching.iter().any(|all| below(&all))
    });
    assert_eq!((documented, caught), (exact, catching));
}

#[test]
fn routes_and_documents_are_the_same() {
    check_routes(&http::rest_routes(), &rest());
    check_routes(&http::admin_routes(), &admin());
}

fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|v| references(v, found));
        }
        Value::Array(items) => items.iter().for_each(|v| references(v, found)),
        _ => {}
    }
}

/// That they are valid, `tests/api/run` has a validator say.
#[test]
fn documents_are_whole() {
    for document in [rest(), admin()] {
        let json = json(&document);
        assert_eq!(json["openapi"], "3.1.0");
        let mut found = Vec::new();
        references(&json, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(json.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
        let operations = json["paths"].as_object().unwrap().values();
        let operations: Vec<_> = operations.flat_map(|p| p.as_object().unwrap().values()).collect();
        let ids: BTreeSet<_> =
            operations.iter().map(|o| o["operationId"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), operations.len(), "a name is there twice");
    }
}

#[test]
fn a_name_means_one_schema() {
    let groups = [tfs::group(), oip::group(), ops::rest(), admin::group()];
    let mut known = BTreeMap::new();
    for operation in groups.into_iter().flat_map(|group| group.operations) {
        for (name, schema) in operation.schemas {
            let there = known.entry(name.clone()).or_insert_with(|| schema.clone());
            assert!(*there == schema, "{name} is two types");
        }
    }
}

#[test]
fn the_page_names_only_its_own_files() {
    let page = include_str!("page/index.html");
    let named: Vec<_> = page.split(['"']).filter(|text| text.starts_with("docs/")).collect();
    let served: BTreeSet<_> = page::ASSETS.iter().map(|a| a.path.trim_start_matches('/')).collect();
    assert_eq!(BTreeSet::from_iter(named), served);
    assert!(!page.contains("//"));
}

//! What every port answers: health, metrics, and these documents.

use serde_json::Value;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use super::document::Group;
use super::operation::Operation;
use super::page::ASSETS;
use crate::error::Code;
use crate::protocol::http::{Alive, Autoscale, Live, Ready};

/// Of the REST port.
pub fn rest() -> Group {
    let mut group = admin();
    let alive = Operation::get("/", "alive", "Whether the server runs");
    let told = "What KServe's client of the first protocol asks.";
    group.operations.insert(0, alive.told(told).gives::<Alive>("It does."));
    group
}

/// Of the admin port.
pub fn admin() -> Group {
    let mut operations = vec![
        Operation::get("/healthz", "healthz", "Whether the server runs")
            .open()
            .gives::<Live>("It does."),
        Operation::get("/readyz", "readyz", "Whether requests should come here")
            .open()
            .gives::<Ready>("They should.")
            .gives_with::<Ready>(503, &[], "Models are still loading, or the server is stopping."),
        Operation::get("/metrics", "metrics", "What is scraped")
            .told("Needs no key unless the server was started to ask for one.")
            .gives_text("text/plain", "Prometheus's text format."),
        Operation::get("/autoscale", "autoscale", "How many replicas are wanted")
            .told("Of this replica's load. Needs no key unless the server was started to ask for one.")
            .query("target", "The load that a replica should have; 0.7 if not given.", target())
            .query("replicas", "How many there are.", replicas())
            .gives::<Autoscale>("The load, and what to do.")
            .fails(&[Code::InvalidArgument]),
        Operation::get("/openapi.json", "openapi", "This document").gives::<Value>("OpenAPI 3.1."),
        Operation::get("/docs", "docs", "This document, to browse")
            .gives_text("text/html", "A page that loads nothing from elsewhere."),
    ];
    operations.extend(ASSETS.iter().map(|asset| {
        let name = format!("docs_{}", asset.name.replace(['.', '-'], "_"));
        Operation::get(asset.path, &name, "A part of the page").gives_text(asset.kind, "Its text.")
    }));
    Group { name: "Operations", what: "Health, metrics and documents.", operations }
}

fn target() -> Object {
    ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0.01)).maximum(Some(10.0)).build()
}

fn replicas() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0))
        .maximum(Some(1_000_000))
        .build()
}

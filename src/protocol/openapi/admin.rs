//! The admin API, whose routes are in `protocol/http`.

use serde_json::json;
use utoipa::openapi::Required;

use super::document::Group;
use super::inference::model;
use super::operation::Operation;
use crate::error::Code;
use crate::protocol::http::admin::{InForce, ModelState, Models, SetTraffic, TrafficState};

pub fn group() -> Group {
    let of = "/admin/v1/models/{model}";
    let operations = vec![
        Operation::get("/admin/v1/models", "models", "What is loaded")
            .gives::<Models>("The models, by name."),
        model(Operation::get(of, "model", "What is loaded of a model"))
            .gives::<ModelState>("Its versions.")
            .fails(&[Code::InvalidArgument, Code::NotFound]),
        model(Operation::get(&format!("{of}/traffic"), "traffic", "Where a model's requests go"))
            .gives::<TrafficState>("The table in force, and those before it.")
            .fails(&[Code::InvalidArgument, Code::NotFound]),
        model(Operation::put(
            &format!("{of}/traffic"),
            "set_traffic",
            "Sends a model's requests elsewhere",
        ))
        .told("Either weights by version, or `latest`.")
        .takes::<SetTraffic>(Required::True, json!({ "latest": true }))
        .gives::<InForce>("The table that is in force now.")
        .fails(&[
            Code::InvalidArgument,
            Code::NotFound,
            Code::TooLarge,
            Code::Unavailable,
        ]),
        model(Operation::post(
            &format!("{of}/traffic/rollback"),
            "roll_back",
            "Brings the table before the one in force back",
        ))
        .gives::<InForce>("The table that is in force now.")
        .fails(&[Code::InvalidArgument, Code::NotFound]),
    ];
    Group { name: "Admin", what: "What is loaded, where traffic goes, and going back.", operations }
}

//! The admin API, whose routes are in `protocol/admin`.

use serde_json::json;
use utoipa::openapi::Required;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use super::document::Group;
use super::inference::model;
use super::operation::Operation;
use crate::control::experiment::Experiment;
use crate::control::rollout::Start;
use crate::control::{Document, Edit};
use crate::error::Code;
use crate::protocol::admin::experiment::{BanditState, FeedbackState, SetBandit};
use crate::protocol::admin::models::{ModelState, Models};
use crate::protocol::admin::rollout::{RolloutState, Steered};
use crate::protocol::admin::status::{Events, Status};
use crate::protocol::admin::traffic::{InForce, Offered, RollBack, TrafficState};

/// What asking about a model may come to.
const ASKED: [Code; 3] = [Code::InvalidArgument, Code::NotFound, Code::Unavailable];
/// What a change may come to.
const CHANGED: [Code; 6] = [
    Code::InvalidArgument,
    Code::NotFound,
    Code::TooLarge,
    Code::Aborted,
    Code::Unavailable,
    Code::DeadlineExceeded,
];

pub fn group() -> Group {
    let operations =
        [server(), traffic(), rollouts(), experiments()].into_iter().flatten().collect();
    let what = "What is loaded, where traffic goes, going back, rollouts and experiments.";
    Group { name: "Admin", what, operations }
}

fn of(what: &str) -> String {
    format!("/admin/v1/models/{{model}}{what}")
}

fn server() -> Vec<Operation> {
    vec![
        Operation::get("/admin/v1/status", "server_status", "How the server fares")
            .gives::<Status>("This replica, and where traffic is kept."),
        Operation::get("/admin/v1/events", "events", "What happened to traffic")
            .query("limit", "So many at most.", count())
            .gives::<Events>("The newest first.")
            .fails(&[Code::InvalidArgument]),
        Operation::get("/admin/v1/models", "models", "What is loaded")
            .gives::<Models>("The models, by name."),
        model(Operation::get(&of(""), "model", "What is loaded of a model"))
            .gives::<ModelState>("Its versions.")
            .fails(&[Code::InvalidArgument, Code::NotFound]),
    ]
}

fn traffic() -> Vec<Operation> {
    vec![
        model(Operation::get(&of("/traffic"), "traffic", "Where a model's requests go"))
            .gives::<TrafficState>("The document in force, and those before it.")
            .fails(&ASKED),
        model(Operation::put(&of("/traffic"), "set_traffic", "Sends requests elsewhere"))
            .told("What is left out stays as it is.")
            .takes::<Edit>(Required::True, json!({ "latest": true }))
            .gives::<InForce>("The document that is in force now.")
            .fails(&CHANGED),
        model(Operation::post(&of("/traffic/rollback"), "roll_back", "Goes back"))
            .takes::<RollBack>(Required::False, json!({}))
            .gives::<InForce>("The document that is in force now.")
            .fails(&CHANGED),
        model(Operation::post(&of("/traffic/offer"), "offer", "Takes another replica's document"))
            .told("What the store would tell a moment later.")
            .takes::<Document>(
                Required::True,
                json!({ "revision": 1, "author": "a", "reason": "", "created": "2026-01-01T00:00:00Z" }),
            )
            .gives::<Offered>("Whether it is newer than what is here.")
            .fails(&CHANGED),
    ]
}

fn rollouts() -> Vec<Operation> {
    let verbs = ["pause", "resume", "abort", "promote"];
    let verb = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(verbs)).build();
    vec![
        model(Operation::get(&of("/rollout"), "rollout", "How the newest rollout stands"))
            .gives::<RolloutState>("Its step, its gates.")
            .fails(&ASKED),
        model(Operation::post(&of("/rollout"), "start_rollout", "Starts a rollout"))
            .takes::<Start>(Required::True, json!({ "to": 2, "gates": ["error_rate<=0.5%"] }))
            .gives::<RolloutState>(
                "It begins when the version is loaded and its golden requests pass.",
            )
            .fails(&CHANGED),
        model(Operation::post(&of("/rollout/{verb}"), "steer_rollout", "Steers a rollout"))
            .segment("verb", "What to do.", verb)
            .takes::<Steered>(Required::False, json!({}))
            .gives::<RolloutState>("As it is now.")
            .fails(&CHANGED),
    ]
}

fn experiments() -> Vec<Operation> {
    let metrics = ["accuracy", "reward", "success"];
    let metric = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(metrics)).build();
    let number = ObjectBuilder::new().schema_type(Type::Number).build();
    vec![
        model(Operation::get(&of("/experiment"), "experiment", "What the arms show"))
            .query("baseline", "What the others are compared to.", count())
            .query("min_effect", "The least difference worth having.", number)
            .query("metric", "What is compared.", metric)
            .gives::<Experiment>("Figures, comparisons, a verdict.")
            .fails(&ASKED),
        model(Operation::get(&of("/feedback"), "feedback_state", "What feedback says"))
            .gives::<FeedbackState>("By version, in all and by window.")
            .fails(&ASKED),
        model(Operation::post(&of("/bandit"), "set_bandit", "Has a bandit move the weights"))
            .takes::<SetBandit>(
                Required::True,
                json!({ "min": 500, "max": 9500, "interval": "1m", "metric": "accuracy" }),
            )
            .gives::<BanditState>("The document that is in force now.")
            .fails(&CHANGED),
        model(Operation::delete(&of("/bandit"), "end_bandit", "Ends the bandit"))
            .gives::<BanditState>("The document that is in force now.")
            .fails(&CHANGED),
    ]
}

fn count() -> Object {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).build()
}

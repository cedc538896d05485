//! Whose a change is.

use axum::http::Extensions;

use crate::control::By;
use crate::protocol::access::Caller;

/// Who makes a change. A key's name is told whatever its holder says.
pub fn by(caller: &Extensions, author: Option<&str>, reason: Option<&str>, otherwise: &str) -> By {
    let key = caller.get::<Caller>().map(Caller::name);
    let author = match (author, key) {
        (Some(author), Some(key)) if author != key => format!("{author} (key {key})"),
        (_, Some(key)) => key.to_owned(),
        (Some(author), None) => author.to_owned(),
        (None, None) => "admin".to_owned(),
    };
    let reason = reason.unwrap_or(otherwise).to_owned();
    By { author, reason, if_revision: None }
}

//! The page on which people see and move traffic: three files in the binary, nothing from elsewhere.

use axum::Router;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::routing::get;

/// Nothing from elsewhere is loaded, and nobody may frame the page.
const POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'self'; frame-ancestors 'none'; base-uri 'none'");

/// Path, media type, text. They carry no secret, so no key is asked for.
pub const FILES: [(&str, &str, &str); 3] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/app.js", "text/javascript", include_str!("page/app.js")),
    ("/style.css", "text/css", include_str!("page/style.css")),
];

/// Browsers ask for one; there is none.
const ICON: &str = "/favicon.ico";

/// Whether a path is the page's.
pub fn has(path: &str) -> bool {
    path == ICON || FILES.iter().any(|(file, ..)| *file == path)
}

/// The routes of the files.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let icon = Router::new().route(ICON, get(async || StatusCode::NO_CONTENT));
    FILES.into_iter().fold(icon, |router, (path, kind, text)| {
        let headers: [(HeaderName, HeaderValue); 4] = [
            (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        ];
        router.route(path, get(move || async move { (headers, text) }))
    })
}

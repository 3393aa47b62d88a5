//! Serves the page below the path under which a reverse proxy has it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::site::Site;

/// Takes the base path from the front of the request's path. Any other path is not found.
pub(crate) async fn below_base(
    State(site): State<Arc<Site>>,
    mut request: Request,
    next: Next,
) -> Response {
    match without(request.uri(), &site.settings.base_path) {
        Some(uri) => {
            *request.uri_mut() = uri;
            next.run(request).await
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn without(uri: &Uri, base: &str) -> Option<Uri> {
    let rest = uri.path_and_query()?.as_str().strip_prefix(base)?;
    match rest.as_bytes().first() {
        Some(b'/') => rest.parse().ok(),
        Some(b'?') | None => format!("/{rest}").parse().ok(),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_the_base_path_is_served() {
        for (uri, rest) in [
            ("/a/b", Some("/b")),
            ("/a/", Some("/")),
            ("/a", Some("/")),
            ("/a?q=1", Some("/?q=1")),
            ("/ab", None),
            ("/", None),
        ] {
            let found = without(&uri.parse().unwrap(), "/a").map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), rest, "{uri}");
        }
    }
}

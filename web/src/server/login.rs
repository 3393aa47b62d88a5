//! The form to log in, and the cookie.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use tokio::time::timeout;

use crate::access::sessions::{LASTS, Refusal};
use crate::pages;
use crate::server::accept::REQUEST;
use crate::site::Site;
use crate::site::link::Query;
use crate::site::request::Asked;
use crate::text::Text;

/// The name of the cookie.
const NAME: &str = "backup_manager_session";
/// Bytes of the form.
const FORM: usize = 4096;

/// The session that the browser has.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(NAME)?.strip_prefix('='))
}

/// The form.
pub(crate) async fn form(State(site): State<Arc<Site>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    pages::login::login(&Asked::new(site, parts), StatusCode::OK, None)
}

/// Someone sends the form.
pub(crate) async fn login(State(site): State<Arc<Site>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    // Without it the connection ends: the rest of the request is never read.
    let Ok(form) = timeout(REQUEST, to_bytes(body, FORM)).await else {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::REQUEST_TIMEOUT;
        return response;
    };
    let sent = Query::read(&form.unwrap_or_default());
    let checking = Arc::clone(&site);
    let checked = tokio::task::spawn_blocking(move || {
        let name = sent.text("name").unwrap_or_default();
        checking.sessions.log_in(name, sent.bytes("password").unwrap_or_default())
    });
    let (status, wrong) = match checked.await.unwrap_or(Err(Refusal::Wrong)) {
        Ok(token) => return back(&site, &token, LASTS),
        Err(Refusal::Wrong) => (StatusCode::FORBIDDEN, Text::WrongPassword),
        Err(Refusal::TooMany) => (StatusCode::TOO_MANY_REQUESTS, Text::TooManyAttempts),
    };
    pages::login::login(&Asked::new(site, parts), status, Some(wrong))
}

/// Someone logs out.
pub(crate) async fn logout(State(site): State<Arc<Site>>, request: Request) -> Response {
    site.sessions.log_out(cookie(request.headers()));
    back(&site, "", Duration::ZERO)
}

/// Leads to the front page with this session.
fn back(site: &Site, token: &str, lasts: Duration) -> Response {
    let base = &site.settings.base_path;
    let cookie = format!(
        "{NAME}={token}; Path={base}/; Max-Age={}; SameSite=Strict; HttpOnly",
        lasts.as_secs()
    );
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    for (name, value) in [(LOCATION, format!("{base}/")), (SET_COOKIE, cookie)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let headers = |value| HeaderMap::from_iter([(COOKIE, HeaderValue::from_static(value))]);
        assert_eq!(cookie(&headers("a=b; backup_manager_session=xyz")), Some("xyz"));
        assert_eq!(cookie(&headers("backup_manager_sessions=xyz")), None);
        assert_eq!(cookie(&HeaderMap::new()), None);
    }
}

//! What each request has to pass, and the headers of each answer.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderName, LOCATION, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use crate::server::login::cookie;
use crate::settings::{Listen, Settings};
use crate::site::Site;
use crate::site::answer;
use crate::site::request::User;

/// Pages load the style sheet and pictures of their own address, and send forms there. Nothing else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

/// The header in which a reverse proxy names the user that it let in. It counts over a unix socket only: there no one else
/// can send it.
const REMOTE_USER: HeaderName = HeaderName::from_static("remote-user");

/// What everyone may see: nothing of the backups.
const PUBLIC: [&str; 4] = ["/login", "/healthz", "/style.css", "/icon.svg"];

pub(crate) async fn guard(
    State(site): State<Arc<Site>>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut response = match admitted(&site, &request) {
        Err(refusal) => refused(&site, refusal),
        Ok(user) => {
            if let Some(user) = user {
                request.extensions_mut().insert(user);
            }
            next.run(request).await
        }
    };
    let headers = response.headers_mut();
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(POLICY);
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Why a request is not answered with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// It wants to do more than read.
    Method,
    /// It names another host.
    Host,
    /// A page of another site sends it.
    Foreign,
    /// Nobody is logged in.
    Stranger,
}

/// The user who may see the page, if users are known.
fn admitted(site: &Site, request: &Request) -> Result<Option<User>, Refusal> {
    let path = request.uri().path();
    let form = matches!(path, "/login" | "/logout");
    match *request.method() {
        Method::GET | Method::HEAD => {}
        Method::POST if form => {}
        _ => return Err(Refusal::Method),
    }
    if !is_ours(&site.settings, request.headers()) {
        return Err(Refusal::Host);
    }
    if is_foreign(request) {
        return Err(Refusal::Foreign);
    }
    if let Some(user) = remote_user(&site.settings, request.headers()) {
        return Ok(Some(user));
    }
    match site.sessions.user(cookie(request.headers())) {
        Some(name) => Ok(Some(User { name, logged_in: true })),
        None if site.sessions.needs_no_login() || PUBLIC.contains(&path) => Ok(None),
        None => Err(Refusal::Stranger),
    }
}

/// The answer to a request that is refused. A stranger is led to the form.
fn refused(site: &Site, refusal: Refusal) -> Response {
    let (status, why) = match refusal {
        Refusal::Method => (StatusCode::METHOD_NOT_ALLOWED, "this page only reads\n"),
        Refusal::Host => (
            StatusCode::MISDIRECTED_REQUEST,
            "this name is not known to the page; WEB_HOST names those of a reverse proxy\n",
        ),
        Refusal::Foreign => (StatusCode::FORBIDDEN, "another site may only link to this page\n"),
        Refusal::Stranger => (StatusCode::SEE_OTHER, "log in first\n"),
    };
    let mut response = answer::of("text/plain; charset=utf-8", why);
    *response.status_mut() = status;
    if refusal == Refusal::Stranger
        && let Ok(form) = HeaderValue::from_str(&format!("{}/login", site.settings.base_path))
    {
        response.headers_mut().insert(LOCATION, form);
    }
    response
}

/// Whether the header Host names this page. A page of another site that makes its own name point here (DNS rebinding)
/// sends that name; nobody can rebind an address.
fn is_ours(settings: &Settings, headers: &HeaderMap) -> bool {
    if matches!(settings.listen, Listen::Unix(_)) {
        return true;
    }
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let plain = name.trim_start_matches('[').trim_end_matches(']');
    plain.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || settings.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Whether a page of another site sends the request, and does not just link here. Browsers say so (Fetch Metadata, W3C) over
/// TLS and to this machine.
fn is_foreign(request: &Request) -> bool {
    let says = |name, value| request.headers().get(name).is_some_and(|said| said == value);
    let here = !request.headers().contains_key("sec-fetch-site")
        || says("sec-fetch-site", "same-origin")
        || says("sec-fetch-site", "none");
    let link = request.method() != Method::POST && says("sec-fetch-mode", "navigate");
    !here && !link
}

fn remote_user(settings: &Settings, headers: &HeaderMap) -> Option<User> {
    let socket = matches!(settings.listen, Listen::Unix(_));
    let name = headers.get(REMOTE_USER).filter(|_| socket)?.to_str().ok()?;
    (!name.is_empty()).then(|| User { name: name.to_owned(), logged_in: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn only_names_that_cannot_be_rebound_are_answered() {
        let settings =
            Settings { hosts: vec!["nas.example.org".to_owned()], ..Settings::default() };
        for (host, ours) in [
            ("127.0.0.1:8385", true),
            ("[::1]:8385", true),
            ("[::1]", true),
            ("192.168.1.2", true),
            ("LocalHost:1", true),
            ("nas.example.org:443", true),
            ("NAS.example.org", true),
            ("evil.example.org", false),
            ("evil.example.org:8385", false),
            ("localhost.evil.example.org", false),
            ("", false),
        ] {
            assert_eq!(is_ours(&settings, &headers(HOST, host)), ours, "{host}");
        }
        assert!(!is_ours(&settings, &HeaderMap::new()));
    }

    #[test]
    fn a_user_header_counts_over_a_socket_only() {
        let sent = headers(REMOTE_USER, "ann");
        assert!(remote_user(&Settings::default(), &sent).is_none());
        let settings = Settings { listen: Listen::Unix("/run/x".into()), ..Settings::default() };
        assert_eq!(remote_user(&settings, &sent).map(|user| user.name).as_deref(), Some("ann"));
    }
}

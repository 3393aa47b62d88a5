//! Which page answers which address.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};

use crate::pages::failure::failed;
use crate::pages::{compare, front, place, restore, search, timeline};
use crate::server::base_path::below_base;
use crate::server::{guard, login};
use crate::site::Site;
use crate::site::answer::{self, Failure, Outcome};
use crate::site::request::Asked;
use crate::{download, export};

const STYLE: &str = include_str!("../style.css");
const ICON: &str = include_str!("../icon.svg");

/// All addresses of the page, behind the guard.
pub(crate) fn router(site: &Arc<Site>) -> Router {
    let pages = Router::new()
        .route("/", page(|asked| front::front(&asked)))
        .route("/job/{*path}", page(timeline::timeline))
        .route("/browse/{*path}", page(place::place))
        .route("/compare/{*path}", page(compare::compare))
        .route("/search", page(search::search))
        .route("/restore/{*path}", page(restore::restore))
        .route("/raw/{*path}", page(download::raw))
        .route("/picture/{*path}", page(download::picture))
        .route("/tar/{*path}", page(download::tar))
        .route("/zip/{*path}", page(download::zip))
        .route("/api/{*path}", page(export::api::api))
        .route("/metrics", page(export::metrics::metrics))
        .route("/healthz", get(async || answer::of("text/plain", "ok\n")))
        .route("/style.css", get(async || fixed("text/css; charset=utf-8", STYLE)))
        .route("/icon.svg", get(async || fixed("image/svg+xml", ICON)))
        .route("/login", get(login::form).post(login::login))
        .route("/logout", post(login::logout))
        .fallback(page(|_| Err(Failure::NotFound)))
        .layer(from_fn_with_state(Arc::clone(site), guard::guard))
        .with_state(Arc::clone(site));
    match site.settings.base_path.as_str() {
        "" => pages,
        _ => Router::new()
            .fallback_service(pages)
            .layer(from_fn_with_state(Arc::clone(site), below_base)),
    }
}

/// What is part of the program.
fn fixed(media: &'static str, text: &'static str) -> Response {
    let mut response = answer::of(media, text);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    response
}

/// A page that is made on a thread of its own.
fn page(make: fn(Asked) -> Outcome) -> MethodRouter<Arc<Site>> {
    get(async move |State(site): State<Arc<Site>>, request: Request| {
        let (parts, _) = request.into_parts();
        let asked = Asked::new(Arc::clone(&site), parts.clone());
        let made = tokio::task::spawn_blocking(move || make(asked)).await;
        match made.unwrap_or(Err(Failure::Broken)) {
            Ok(response) => response,
            Err(failure) => failed(&Asked::new(site, parts), &failure),
        }
    })
}

//! The page that says why there is no answer.

use axum::response::Response;
use maud::html;

use crate::pages::layout::with_status;
use crate::site::answer::Failure;
use crate::site::request::Asked;
use crate::text::Text;

/// The page for `failure`.
pub(crate) fn failed(asked: &Asked, failure: &Failure) -> Response {
    let (text, part) = failure.words();
    let words = asked.language.fill(text, &[part]);
    let content = html! {
        h1 { (words) }
        p { a href=(asked.link("")) { (asked.say(Text::Overview)) } }
    };
    with_status(asked, failure.status(), &words, &content)
}

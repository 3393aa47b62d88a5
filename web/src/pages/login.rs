//! The form to log in.

use axum::http::StatusCode;
use axum::response::Response;
use maud::html;

use crate::pages::layout::with_status;
use crate::site::request::Asked;
use crate::text::Text;

/// The form, with what was wrong with the last attempt.
pub(crate) fn login(asked: &Asked, status: StatusCode, wrong: Option<Text>) -> Response {
    let content = html! {
        h1 { (asked.say(Text::LogIn)) }
        @if let Some(wrong) = wrong { p.complaint role="alert" { (asked.say(wrong)) } }
        form.login method="post" action=(asked.link("login")) {
            label { span { (asked.say(Text::UserName)) } input name="name" autocomplete="username" required; }
            label { span { (asked.say(Text::Password)) } input type="password" name="password" autocomplete="current-password" required; }
            button.main { (asked.say(Text::LogIn)) }
        }
    };
    with_status(asked, status, asked.say(Text::LogIn), &content)
}

//! The frame of each page.

use std::io::{self, Write};

use axum::http::StatusCode;
use axum::response::Response;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::site::answer::{self, Failure, Outcome};
use crate::site::request::Asked;
use crate::site::stream::{ChunkWriter, body};
use crate::text::Text;

/// Where the content goes in the frame. Nothing that follows it contains it; the search that someone sent may.
const CONTENT: &str = "\0";

/// A page with `content`.
pub(crate) fn page(asked: &Asked, title: &str, content: &Markup) -> Response {
    with_status(asked, StatusCode::OK, title, content)
}

pub(crate) fn with_status(
    asked: &Asked,
    status: StatusCode,
    title: &str,
    content: &Markup,
) -> Response {
    answer::html(status, frame(asked, title, content).into_string())
}

/// A page of which `first` is sent at once, and what `rest` writes follows.
pub(crate) fn streamed(
    asked: &Asked,
    title: &str,
    first: &Markup,
    rest: impl FnOnce(&mut ChunkWriter) -> io::Result<()> + Send + 'static,
) -> Outcome {
    let permit = asked.site.pages.clone().try_acquire_owned().map_err(|_| Failure::Busy)?;
    let frame = frame(asked, title, &PreEscaped(CONTENT.to_owned())).into_string();
    let (before, after) = frame.rsplit_once(CONTENT).unwrap_or((&frame, ""));
    let (before, after) = (format!("{before}{}", first.0), after.to_owned());
    Ok(answer::html(
        StatusCode::OK,
        body(move |out| {
            let _permit = permit;
            out.write_all(before.as_bytes())?;
            out.flush()?;
            rest(out)?;
            out.write_all(after.as_bytes())
        }),
    ))
}

fn frame(asked: &Asked, title: &str, content: &Markup) -> Markup {
    let say = |text| asked.say(text);
    html! {
        (DOCTYPE)
        html lang=(asked.language.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – " (say(Text::Title)) }
                link rel="icon" href=(asked.link("icon.svg"));
                link rel="stylesheet" href=(asked.link("style.css"));
            }
            body {
                a.skip href="#content" { (say(Text::SkipToContent)) }
                header {
                    a.home href=(asked.link("")) { (say(Text::Title)) }
                    form.search role="search" action=(asked.link("search")) {
                        input type="search" name="q" aria-label=(say(Text::SearchLabel)) placeholder=(say(Text::SearchLabel)) value=(asked.query.text("q").unwrap_or_default());
                        button { (say(Text::Search)) }
                    }
                    @if let Some(user) = &asked.user {
                        @if user.logged_in {
                            form method="post" action=(asked.link("logout")) {
                                button.quiet { (say(Text::LogOut)) " (" (user.name) ")" }
                            }
                        } @else {
                            span.user { (user.name) }
                        }
                    }
                }
                main #content { (content) }
                footer { p { (say(Text::ReadOnly)) } }
            }
        }
    }
}

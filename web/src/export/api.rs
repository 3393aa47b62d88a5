//! `/api/`: what the verbs print with `--json`.

use std::sync::Arc;

use crate::program::Question;
use crate::site::answer::{self, Failure, Outcome};
use crate::site::request::Asked;
use crate::site::stream::begun;

/// JSON lines (jsonlines.org); `status` is one object.
const JSON_LINES: &str = "application/x-ndjson";
const JSON: &str = "application/json";

pub(crate) fn api(asked: Asked) -> Outcome {
    let asked = &asked;
    let [verb] = &asked.components()?[..] else { return Err(Failure::NotFound) };
    let question = question(asked, verb).ok_or(Failure::NotFound)?;
    let media = if question == Question::Status { JSON } else { JSON_LINES };
    let quick = matches!(question, Question::Status | Question::List { sizes: false, .. });
    if quick {
        let mut text = Vec::new();
        asked.site.program.answer(&question, &mut text).map_err(Failure::NoAnswer)?;
        return Ok(answer::of(media, text));
    }
    let permit = asked.site.searches.clone().try_acquire_owned().map_err(|_| Failure::Busy)?;
    let site = Arc::clone(&asked.site);
    let written = begun(move |out| {
        let _permit = permit;
        site.program.answer(&question, out)
    });
    Ok(answer::of(media, written.map_err(Failure::NoAnswer)?))
}

/// The question that the URL asks.
fn question(asked: &Asked, verb: &[u8]) -> Option<Question> {
    let query = &asked.query;
    let job = query.text("job").map(str::to_owned);
    Some(match verb {
        b"status" => Question::Status,
        b"list" => Question::List { job, sizes: query.has("sizes") },
        b"history" => Question::History { job, path: query.bytes("path")?.to_vec() },
        b"find" => {
            let pattern = query.bytes("pattern")?.to_vec();
            Question::Find { job, pattern, ignore_case: query.has("ignore_case") }
        }
        b"diff" => {
            let name = |name: &str| query.text(name).map(str::to_owned);
            Question::Diff { job, first: name("a")?, second: name("b")? }
        }
        _ => return None,
    })
}

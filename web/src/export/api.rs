//! `/api/`: what the verbs print with `--json`.

use crate::program::Question;
use crate::site::answer::{self, Failure, Outcome};
use crate::site::request::Asked;

/// JSON lines (jsonlines.org); `status` is one object.
const JSON_LINES: &str = "application/x-ndjson";
const JSON: &str = "application/json";

pub(crate) fn api(asked: Asked) -> Outcome {
    let asked = &asked;
    let [verb] = &asked.components()?[..] else { return Err(Failure::NotFound) };
    let question = question(asked, verb).ok_or(Failure::NotFound)?;
    let media = if question == Question::Status { JSON } else { JSON_LINES };
    let quick = matches!(question, Question::Status | Question::List { sizes: false, .. });
    let _permit = match quick {
        true => None,
        false => Some(asked.site.searches.try_acquire().map_err(|_| Failure::Busy)?),
    };
    let text = asked.site.program.answer(&question).map_err(Failure::NoAnswer)?;
    Ok(answer::of(media, text))
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

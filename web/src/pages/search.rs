//! A search by name or pattern over all snapshots.

use engine::entry::Kind;
use engine::entry::escape::shown;
use engine::inspect::{NamePattern, find};
use maud::{Markup, html};

use crate::pages::layout::page;
use crate::pages::parts::{label, sign};
use crate::program::Job;
use crate::site::answer::{Failure, Outcome};
use crate::site::request::Asked;
use crate::text::Text;

/// Finds that are listed.
const LISTED: usize = 500;
/// Finds that are counted.
const COUNTED: usize = 10_000;

pub(crate) fn search(asked: Asked) -> Outcome {
    let asked = &asked;
    let jobs = asked.jobs()?;
    let wanted = asked.query.text("job");
    let content = html! {
        h1 { (asked.say(Text::SearchTitle)) }
        (form(asked, &jobs, wanted))
        @if let Some(pattern) = asked.query.bytes("q") {
            @for job in jobs.iter().filter(|job| wanted.is_none_or(|wanted| wanted == job.name)) {
                (found(asked, job, pattern)?)
            }
        }
    };
    Ok(page(asked, asked.say(Text::SearchTitle), &content))
}

fn form(asked: &Asked, jobs: &[Job], wanted: Option<&str>) -> Markup {
    html! {
        form.when action=(asked.link("search")) {
            label {
                span { (asked.say(Text::SearchLabel)) }
                input type="search" name="q" required aria-describedby="hint" value=(asked.query.text("q").unwrap_or_default());
            }
            @if jobs.len() > 1 {
                label {
                    span { (asked.say(Text::Job)) }
                    select name="job" {
                        option value="" { (asked.say(Text::AllJobs)) }
                        @for job in jobs { option value=(job.name) selected[wanted == Some(&job.name)] { (job.name) } }
                    }
                }
            }
            label.check {
                input type="checkbox" name="i" value="1" checked[asked.query.has("i")];
                (asked.say(Text::IgnoreCase))
            }
            button { (asked.say(Text::Search)) }
        }
        p #hint { small { (asked.say(Text::SearchHint)) } }
    }
}

fn found(asked: &Asked, job: &Job, pattern: &[u8]) -> Result<Markup, Failure> {
    let _permit = asked.site.searches.try_acquire().map_err(|_| Failure::Busy)?;
    let history = job.repository.history(&job.prefix)?;
    let located =
        |name: &engine::SnapshotName| (name.clone(), (*asked.site.roots(job, name)).clone());
    let snapshots: Vec<_> = history.complete.iter().map(located).collect();
    let pattern = NamePattern::new(pattern, asked.query.has("i"));
    let finds = find(&job.repository, &snapshots, &pattern, COUNTED)?;
    let number = finds.found.len();
    let all = asked.language.count(snapshots.len() as u64);
    Ok(html! {
        section {
            h2 { (job.name) }
            @if number == 0 { p { (asked.say(Text::NothingFound)) } }
            ul.finds {
                @for (path, entry) in finds.found.iter().take(LISTED) {
                    @if let Some((name, roots)) = entry.snapshots.last().and_then(|last| snapshots.get(*last)) {
                        @let to = asked.link("browse").component(job.name.as_bytes()).path(&roots.inside(path));
                        li {
                            (sign(asked, if entry.folder { Kind::Folder } else { Kind::File })) " "
                            a href=(to.with("at", &name.to_string())) { bdi { (shown(path)) } }
                            " "
                            small {
                                (asked.language.fill(Text::FoundIn, &[&asked.language.count(entry.snapshots.len() as u64), &all]))
                                ", " (asked.say(Text::LastIn)) " " (label(asked, name))
                            }
                        }
                    }
                }
            }
            @if number > LISTED {
                @let more = asked.language.count((number - LISTED) as u64);
                p { (asked.language.fill(if finds.cut { Text::ManyFound } else { Text::MoreFound }, &[&more])) }
            }
        }
    })
}

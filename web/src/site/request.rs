//! A request as the pages read it.

use std::sync::Arc;

use axum::http::header::{ACCEPT_LANGUAGE, HeaderName};
use axum::http::request::Parts;
use engine::entry::check_name;

use crate::program::{Clock, Job};
use crate::site::Site;
use crate::site::answer::Failure;
use crate::site::link::{Link, Query, unescaped};
use crate::text::{Language, Text};

/// Who sent a request, as the guard found out.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) name: String,
    /// Whether the page itself let them in, so that they can log out.
    pub(crate) logged_in: bool,
}

/// A request.
pub(crate) struct Asked {
    pub(crate) site: Arc<Site>,
    pub(crate) language: Language,
    pub(crate) query: Query,
    pub(crate) user: Option<User>,
    /// The clocks here, as they were when the request came.
    pub(crate) clock: Clock,
    parts: Parts,
}

impl Asked {
    pub(crate) fn new(site: Arc<Site>, parts: Parts) -> Self {
        let accepted = parts.headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        Self {
            language: Language::preferred(accepted.unwrap_or_default()),
            query: Query::read(parts.uri.query().unwrap_or_default().as_bytes()),
            user: parts.extensions.get::<User>().cloned(),
            clock: site.program.clock(),
            site,
            parts,
        }
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: HeaderName) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// A link to the page `name`.
    pub(crate) fn link(&self, name: &str) -> Link {
        Link::to(&self.site.settings.base_path, name)
    }

    pub(crate) fn say(&self, text: Text) -> &'static str {
        self.language.say(text)
    }

    /// The components of the path after the name of the page. Each is a name that an entry can have.
    pub(crate) fn components(&self) -> Result<Vec<Vec<u8>>, Failure> {
        let path = self.parts.uri.path().as_bytes();
        let mut components = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        components.next();
        let name = |component: &[u8]| {
            unescaped(component).filter(|name| check_name(name).is_ok()).ok_or(Failure::NotFound)
        };
        components.map(name).collect()
    }

    /// All jobs.
    pub(crate) fn jobs(&self) -> Result<Vec<Job>, Failure> {
        self.site.program.jobs().map_err(Failure::Unreadable)
    }

    /// The job that the path names, and the path inside its snapshots.
    pub(crate) fn job(&self) -> Result<(Job, Vec<u8>), Failure> {
        let mut components = self.components()?.into_iter();
        let name = components.next().ok_or(Failure::NotFound)?;
        let jobs = self.jobs()?.into_iter();
        let job = jobs.into_iter().find(|job| job.name.as_bytes() == name);
        let inside: Vec<Vec<u8>> = components.collect();
        Ok((job.ok_or(Failure::NotFound)?, inside.join(&b'/')))
    }
}

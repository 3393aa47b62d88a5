//! End to end in real containers: the unchanged Dockerfile and docker-compose.yml, built from this
//! checkout.
//!
//! The crontab uses the real clock, so a test waits up to a minute for each tick; the tests wait in
//! parallel.

mod compose;
mod crontab;
mod health;
mod host_keys;
mod interrupted;
mod remote;
mod restore;
mod rights;
mod stand;
mod together;

use std::path::Path;

use fixtures::docker::Engine;
use fixtures::need::Missing;

/// The engine with our image, or why there is none.
fn engine() -> Result<&'static Engine, Missing> {
    fixtures::docker::engine(Path::new(env!("CARGO_MANIFEST_DIR")))
}

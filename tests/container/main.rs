//! End to end in real containers: the shipped Dockerfile and docker-compose.yml, as they are, built from this checkout.
//!
//! The crontab's clock is the real one, so a test waits up to a minute for each tick; they wait side by side.

mod compose;
mod crontab;
mod health;
mod interrupted;
mod remote;
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

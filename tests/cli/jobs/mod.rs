//! Jobs: when a run is due, its limits, hooks, alerts, the daemon, recipes.

mod daemon;
mod history;
mod hooks;
mod limits;
mod notify;
mod recipes;

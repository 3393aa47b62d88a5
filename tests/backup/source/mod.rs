//! What a run reads: its roots, filters and mount points, and sources that fail, change meanwhile or were encrypted.

mod brake;
mod failing;
mod filters;
mod mounts;
mod roots;
mod unruly;

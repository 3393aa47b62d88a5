//! The process of a run: kills and signals, other processes, clocks, memory.

mod clock;
mod concurrency;
mod interrupted;
mod memory;
mod resume;

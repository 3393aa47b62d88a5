//! Power cuts, kills, disk errors, file systems without locks.

mod injected;
mod kills;
mod lockless;
mod lost_disk;
mod model;
mod power_cut;

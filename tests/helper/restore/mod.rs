//! Restores to a host: everything comes back, and far ends that break the protocol.

mod hostile;
mod to_host;

//! Destinations on distributed file systems: real clusters. `make -C tests distributed` runs these tests; others skip them.

mod cases;
mod glusterfs;
mod moosefs;
mod mounted;

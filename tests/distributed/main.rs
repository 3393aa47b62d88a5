//! Destinations on distributed file systems: real clusters. Only `make -C tests distributed` runs these tests: their servers are no
//! part of what `make -C tests` installs.

mod cases;
mod glusterfs;
mod moosefs;
mod mounted;

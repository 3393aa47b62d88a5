//! backup_manager.
fn main() {}

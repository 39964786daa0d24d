//! Static PID 1 of every domain.
fn main() {}

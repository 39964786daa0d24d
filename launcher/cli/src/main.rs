//! `launch`: runs a Docker image as its own Xen domain.
fn main() {}

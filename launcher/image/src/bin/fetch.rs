//! `/usr/lib/launch/fetch`: fetches and converts an image for `launch`, without root.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    image::fetch_child()
}

//! A user's name and password as HTTP has them.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The value of `Authorization` or `Proxy-Authorization`.
pub(super) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

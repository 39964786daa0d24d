//! When an app that ended is started again: Docker's `--restart`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// When an app that ended is started again: Docker's `--restart`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// If it ended with a code other than 0.
    OnFailure {
        /// The most restarts; without a limit if absent.
        at_most: Option<u32>,
    },
    /// Always, unless a user stops the app; when the host starts, even then.
    Always,
    /// Always, unless a user stops the app.
    UnlessStopped,
}

impl RestartPolicy {
    /// Whether to start an app again that ended with `code`. `restarts` is how often it was started again before, and
    /// `stopped` says whether a user has stopped it.
    #[must_use]
    pub fn wants(self, code: u8, restarts: u32, stopped: bool) -> bool {
        match self {
            _ if stopped => false,
            Self::No => false,
            Self::OnFailure { at_most } => code != 0 && at_most.is_none_or(|most| restarts < most),
            Self::Always | Self::UnlessStopped => true,
        }
    }

    /// Whether to start an ended app when the host starts.
    #[must_use]
    pub fn at_boot(self, stopped: bool) -> bool {
        match self {
            Self::No | Self::OnFailure { .. } => false,
            Self::Always => true,
            Self::UnlessStopped => !stopped,
        }
    }

    /// Docker's name of the policy, without the number.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::OnFailure { .. } => "on-failure",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
        }
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnFailure { at_most: Some(most) } => write!(f, "on-failure:{most}"),
            other => f.write_str(other.name()),
        }
    }
}

/// The error for text that is not a restart policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "restart policy {0:?} is not known; use no, on-failure, on-failure:N, always or unless-stopped"
)]
pub struct RestartPolicyError(String);

impl FromStr for RestartPolicy {
    type Err = RestartPolicyError;

    fn from_str(text: &str) -> Result<Self, RestartPolicyError> {
        let error = || RestartPolicyError(text.chars().take(64).collect());
        Ok(match (text, text.strip_prefix("on-failure:")) {
            ("no" | "", _) => Self::No,
            ("always", _) => Self::Always,
            ("unless-stopped", _) => Self::UnlessStopped,
            ("on-failure", _) => Self::OnFailure { at_most: None },
            (_, Some(number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                let most: u32 = number.parse().map_err(|_| error())?;
                // As in Docker, 0 means no limit.
                Self::OnFailure { at_most: Some(most).filter(|most| *most > 0) }
            }
            _ => return Err(error()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> RestartPolicy {
        text.parse().unwrap()
    }

    #[test]
    fn policies_are_read_as_docker_writes_them() {
        for text in ["no", "always", "unless-stopped", "on-failure", "on-failure:3"] {
            assert_eq!(policy(text).to_string(), text);
        }
        assert_eq!(policy("on-failure:0"), policy("on-failure"));
        for text in ["never", "on-failure:", "on-failure:x", "on-failure:-1", "always:3", "Always"]
        {
            assert_eq!(text.parse::<RestartPolicy>(), Err(RestartPolicyError(text.into())));
        }
    }

    #[test]
    fn an_app_is_started_again_as_its_policy_says() {
        assert!(!policy("no").wants(1, 0, false));
        assert!(
            policy("always").wants(0, 1000, false) && policy("unless-stopped").wants(0, 0, false)
        );
        assert!(
            policy("on-failure").wants(3, 1000, false) && !policy("on-failure").wants(0, 0, false)
        );
        assert!(
            policy("on-failure:2").wants(3, 1, false) && !policy("on-failure:2").wants(3, 2, false)
        );
    }

    #[test]
    fn one_that_a_user_stopped_comes_back_with_the_host_only_where_it_is_always() {
        for text in ["on-failure", "always", "unless-stopped"] {
            assert!(!policy(text).wants(1, 0, true), "{text}");
        }
        assert!(policy("always").at_boot(true) && !policy("unless-stopped").at_boot(true));
        assert!(policy("unless-stopped").at_boot(false) && !policy("on-failure").at_boot(false));
    }
}

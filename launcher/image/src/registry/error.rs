//! Errors of registries, and of reaching them.

use crate::{
    certificates::CertificatesError,
    digest::Digest,
    failure::{Failure, FailureKind},
};
use std::io;

/// An error of a registry, or of reaching it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    #[error("image not found: {image} at {at}{said}; check its name and tag")]
    NotFound { image: String, at: String, said: String },
    #[error(
        "{at} does not have {what}{said}; the name is right, so have the image pushed again, or ask the \
         registry's administrator"
    )]
    Lost { at: String, what: String, said: String },
    #[error(
        "image not found: {image} at {at}, or it needs credentials ({said}); check its name, or \
         log in with `docker login`, whose credentials are used"
    )]
    Denied { image: String, at: String, said: String },
    #[error(
        "{at} wants a login for {image} ({said}); log in with `docker login`, whose credentials are used"
    )]
    Login { image: String, at: String, said: String },
    #[error(
        "{at} does not take the credentials for {image} ({said}); log in again with `docker login`"
    )]
    Credentials { image: String, at: String, said: String },
    #[error("{at} does not give out {what} ({said}); {next}")]
    Forbidden { at: String, what: String, said: String, next: &'static str },
    #[error("{at} cannot be reached: {cause}; {next}")]
    Unreachable { at: String, cause: String, next: String },
    #[error("{at} answers {status} for {what}{said}")]
    Status { at: String, status: u16, what: String, said: String },
    #[error("{at} sends {what} that breaks the protocol: {cause}")]
    Protocol { at: String, what: String, cause: String },
    #[error("{what} from {at} is longer than {allowed} bytes")]
    Long { at: String, what: String, allowed: u64 },
    #[error("{what} from {at} has digest {found}, not {wanted}")]
    Digest { at: String, what: String, found: Digest, wanted: Digest },
    #[error("mirror {text:?} in the settings is not http[s]://HOST[:PORT][/PREFIX]")]
    Mirror { text: String },
    #[error("{url:?} is no URL of HTTP; check the registry's name")]
    Url { url: String },
    #[error(transparent)]
    Certificates(#[from] CertificatesError),
    #[error("{error}; and {others}")]
    Several { error: Box<RegistryError>, others: String },
}

impl RegistryError {
    /// One error of all endpoints'. The last is the registry's own and counts, unless it cannot
    /// be reached (as behind a firewall) where a mirror can, which does not have the image.
    pub(super) fn of(mut errors: Vec<Self>) -> Self {
        let last = errors.len().saturating_sub(1);
        let out_of_reach = matches!(errors.last(), Some(Self::Unreachable { .. }));
        let not_found = errors
            .iter()
            .position(|error| matches!(error, Self::NotFound { .. } | Self::Lost { .. }));
        let error = errors.swap_remove(not_found.filter(|_| out_of_reach).unwrap_or(last));
        if errors.is_empty() {
            return error;
        }
        let others = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; and ");
        Self::Several { error: Box::new(error), others }
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self::new(registry_kind(&error), &error)
    }
}

fn registry_kind(error: &RegistryError) -> FailureKind {
    match error {
        RegistryError::NotFound { .. } | RegistryError::Lost { .. } => FailureKind::NotFound,
        RegistryError::Denied { .. }
        | RegistryError::Login { .. }
        | RegistryError::Credentials { .. }
        | RegistryError::Forbidden { .. } => FailureKind::Denied,
        RegistryError::Unreachable { .. } | RegistryError::Status { .. } => {
            FailureKind::Unreachable
        }
        RegistryError::Protocol { .. }
        | RegistryError::Long { .. }
        | RegistryError::Digest { .. } => FailureKind::Mismatch,
        RegistryError::Mirror { .. }
        | RegistryError::Url { .. }
        | RegistryError::Certificates(_) => FailureKind::Other,
        RegistryError::Several { error, .. } => registry_kind(error),
    }
}

/// Carries a registry's error through a reader.
pub(super) fn into_io(error: RegistryError) -> io::Error {
    io::Error::other(Failure::from(error))
}

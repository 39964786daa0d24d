//! Registries: OCI's distribution protocol (Docker's v2), over mirrors where some are set.

mod addresses;
mod auth;
mod blob;
mod client;
mod endpoint;
#[cfg(test)]
mod tests;

use crate::{
    digest::Digest,
    failure::Failure,
    fetch::Credentials,
    manifest::{ACCEPTED, Descriptor, MAX_MANIFEST_BYTES},
    oci::Blobs,
    progress::Event,
    reference::Reference,
    settings::Settings,
};
use blob::BlobReader;
use client::Client;
use endpoint::Endpoint;
use std::{
    collections::BTreeMap,
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What a registry, or the way to it, does wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    #[error("image not found: {image} at {at}; check its name and tag")]
    NotFound { image: String, at: String },
    #[error(
        "image not found: {image} at {at}, or it needs credentials ({said}); check its name, or \
         log in with `docker login`, whose credentials are used"
    )]
    Denied { image: String, at: String, said: String },
    #[error(
        "{at} does not take the credentials for {image} ({said}); log in again with `docker login`"
    )]
    Credentials { image: String, at: String, said: String },
    #[error("registry {at} cannot be reached: {cause}; {next}")]
    Unreachable { at: String, cause: String, next: &'static str },
    #[error("registry {at} answers {status} for {what}{said}")]
    Status { at: String, status: u16, what: String, said: String },
    #[error("registry {at} sends {what} that breaks the protocol: {cause}")]
    Protocol { at: String, what: String, cause: String },
    #[error("{what} from {at} is longer than {allowed} bytes")]
    Long { at: String, what: String, allowed: u64 },
    #[error("{what} from {at} has digest {found}, not {wanted}")]
    Digest { at: String, what: String, found: Digest, wanted: Digest },
    #[error("mirror {text:?} in the settings is not http[s]://HOST[:PORT][/PREFIX]")]
    Mirror { text: String },
    #[error("cannot read certificates from {path}: {cause}")]
    Certificates { path: String, cause: String },
    #[error("{error}; and {others}")]
    Several { error: Box<RegistryError>, others: String },
}

/// An image in a registry.
pub(crate) struct Remote {
    client: Arc<Client>,
    reference: Reference,
    /// Mirrors first, the registry itself last.
    endpoints: Vec<Arc<Endpoint>>,
    /// The one that had the manifest; layers are asked of it first.
    chosen: AtomicUsize,
}

impl Remote {
    pub(crate) fn new(
        reference: Reference,
        settings: &Settings,
        credentials: BTreeMap<String, Credentials>,
        notify: Arc<dyn Fn(Event) + Send + Sync>,
    ) -> Result<Self, RegistryError> {
        let endpoints = Endpoint::all(reference.registry(), settings)?;
        let guard = addresses::Guard::new(endpoints.iter());
        let client = Client::new(settings, guard, credentials, notify)?;
        Ok(Self {
            client: Arc::new(client),
            reference,
            endpoints: endpoints.into_iter().map(Arc::new).collect(),
            chosen: AtomicUsize::new(0),
        })
    }

    /// The manifest or index that the reference names, and its digest.
    pub(crate) fn top(&self) -> Result<Vec<u8>, RegistryError> {
        self.fetch_manifest(&self.reference.version(), self.reference.digest())
    }

    fn fetch_manifest(
        &self,
        version: &str,
        wanted: Option<&Digest>,
    ) -> Result<Vec<u8>, RegistryError> {
        self.first_that_has(|endpoint| {
            let path = format!("manifests/{version}");
            let image = self.reference.to_string();
            let response = self.client.get(
                endpoint,
                self.reference.repository(),
                &path,
                ACCEPTED,
                0,
                &image,
            )?;
            let told = response.headers().get("docker-content-digest");
            let told = told.and_then(|value| value.to_str().ok()?.parse::<Digest>().ok());
            let what = || format!("the manifest of {image}");
            let body = self.client.read_body(endpoint, response, MAX_MANIFEST_BYTES, &what())?;
            let found = Digest::of(&body);
            match wanted.copied().or(told).filter(|wanted| *wanted != found) {
                Some(wanted) => {
                    let (at, what) = (endpoint.to_string(), what());
                    Err(RegistryError::Digest { at, what, found, wanted })
                }
                None => Ok(body),
            }
        })
    }

    /// Asks each endpoint in turn, from the chosen one on.
    fn first_that_has<T>(
        &self,
        mut ask: impl FnMut(&Arc<Endpoint>) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut errors = Vec::new();
        let first = self.chosen.load(Ordering::Relaxed);
        for (index, endpoint) in self.endpoints.iter().enumerate().skip(first) {
            match ask(endpoint) {
                Ok(answer) => {
                    self.chosen.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) => {
                    tracing::info!("{endpoint} did not help: {error}");
                    errors.push(error);
                }
            }
        }
        Err(RegistryError::of(errors))
    }
}

impl RegistryError {
    /// One error of all endpoints'. The last is the registry's own and counts, unless it cannot
    /// be reached (as behind a firewall) where a mirror can, which does not have the image.
    fn of(mut errors: Vec<Self>) -> Self {
        let last = errors.len().saturating_sub(1);
        let out_of_reach = matches!(errors.last(), Some(Self::Unreachable { .. }));
        let not_found = errors.iter().position(|error| matches!(error, Self::NotFound { .. }));
        let error = errors.swap_remove(not_found.filter(|_| out_of_reach).unwrap_or(last));
        if errors.is_empty() {
            return error;
        }
        let others = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; and ");
        Self::Several { error: Box::new(error), others }
    }
}

impl Blobs for Remote {
    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Failure> {
        let digest = &descriptor.digest;
        Ok(self.fetch_manifest(&digest.to_string(), Some(digest))?)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, Failure> {
        let reader = self.first_that_has(|endpoint| {
            BlobReader::open(
                Arc::clone(&self.client),
                Arc::clone(endpoint),
                self.reference.clone(),
                descriptor,
            )
        })?;
        Ok(Box::new(reader))
    }
}

/// Carries a registry's error through a reader.
fn into_io(error: RegistryError) -> io::Error {
    io::Error::other(Failure::from(error))
}

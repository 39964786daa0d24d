//! Registries: OCI's distribution protocol (Docker's v2), over mirrors where some are set.

mod addresses;
mod auth;
mod blob;
mod challenge;
mod client;
mod endpoint;
mod error;
mod get;
#[cfg(test)]
mod tests;

use crate::{
    credentials::Credentials,
    digest::Digest,
    failure::Failure,
    manifest::{ACCEPTED, Descriptor, MAX_MANIFEST_BYTES},
    oci::Blobs,
    progress::Event,
    reference::Reference,
    settings::Settings,
};
use blob::BlobReader;
use client::Client;
use endpoint::Endpoint;
use error::RegistryError;
use get::get;
use std::{
    collections::BTreeMap,
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

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
            let response = get(
                &self.client,
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

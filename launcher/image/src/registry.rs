//! Registries: OCI's distribution protocol (Docker's v2), over mirrors where some are set.

mod addresses;
mod auth;
mod blob;
mod challenge;
mod client;
mod endpoint;
mod error;
mod get;
mod login;
mod obstacle;
mod proxy;
mod redirect;
mod said;
mod socks;
#[cfg(test)]
mod tests;
mod tls;
mod tunnel;
mod url;

use crate::{
    certificates::Certificates,
    credentials::Credentials,
    digest::Digest,
    failure::Failure,
    manifest::{ACCEPTED, Descriptor, MAX_MANIFEST_BYTES},
    oci::Blobs,
    reference::Reference,
    settings::Settings,
};
use addresses::Guard;
use blob::BlobReader;
use client::{Client, Notify};
use endpoint::Endpoint;
use error::RegistryError;
use get::{Wanted, get};
use proxy::Proxies;
use serde::de::IgnoredAny;
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
    reference: Reference,
    /// Of mirrors first, of the registry itself last.
    clients: Vec<Arc<Client>>,
    /// The one that had the manifest; layers are asked of it first.
    chosen: AtomicUsize,
}

impl Remote {
    pub(crate) fn new(
        reference: Reference,
        settings: &Settings,
        credentials: BTreeMap<String, Credentials>,
        certificates: &Certificates,
        notify: Notify,
    ) -> Result<Self, RegistryError> {
        let proxies = Proxies::from_environment();
        Self::through(proxies, reference, settings, credentials, certificates, notify)
    }

    fn through(
        proxies: Proxies,
        reference: Reference,
        settings: &Settings,
        credentials: BTreeMap<String, Credentials>,
        certificates: &Certificates,
        notify: Notify,
    ) -> Result<Self, RegistryError> {
        let endpoints = Endpoint::all(reference.registry(), settings)?;
        let proxies = Arc::new(proxies);
        let guards: Vec<_> =
            endpoints.iter().map(|_| Guard::new(&endpoints, Arc::clone(&proxies))).collect();
        let client = |(endpoint, guard): (Endpoint, Guard)| {
            let account = credentials.get(&endpoint.account).cloned();
            let notify = Arc::clone(&notify);
            Client::new(endpoint, settings, guard, account, certificates, notify).map(Arc::new)
        };
        let clients: Result<Vec<_>, _> = endpoints.into_iter().zip(guards).map(client).collect();
        Ok(Self { reference, clients: clients?, chosen: AtomicUsize::new(0) })
    }

    /// The manifest or index that the reference names.
    pub(crate) fn top(&self) -> Result<Vec<u8>, RegistryError> {
        self.fetch_manifest(&self.reference.version(), self.reference.digest(), None)
    }

    fn fetch_manifest(
        &self,
        version: &str,
        wanted: Option<&Digest>,
        part: Option<&str>,
    ) -> Result<Vec<u8>, RegistryError> {
        let image = self.reference.to_string();
        let path = format!("manifests/{version}");
        let manifest = Wanted {
            image: &image,
            repository: self.reference.repository(),
            path: &path,
            accept: ACCEPTED,
            part,
        };
        self.first_that_has(|client| {
            let (answer, url) = get(client, &manifest, 0)?;
            let told = answer.headers().get("docker-content-digest");
            let told = told.and_then(|value| value.to_str().ok()?.parse::<Digest>().ok());
            let (at, what) = (client.place(&url), manifest.what());
            let body = client.read_body(at.clone(), answer, MAX_MANIFEST_BYTES, &what)?;
            // A page of a firewall or a front end, say, or the half of a document: another endpoint may be better.
            let is_last = self.clients.last().is_some_and(|last| Arc::ptr_eq(last, client));
            let broken = !body.trim_ascii_start().starts_with(b"{")
                || !(is_last || serde_json::from_slice::<IgnoredAny>(&body).is_ok());
            if broken {
                let words = said::after_colon(&said::in_words(&body));
                let cause = format!("it is no JSON{words}");
                return Err(RegistryError::Protocol { at, what, cause });
            }
            let found = Digest::of(&body);
            match wanted.copied().or(told).filter(|wanted| *wanted != found) {
                Some(wanted) => Err(RegistryError::Digest { at, what, found, wanted }),
                None => Ok(body),
            }
        })
    }

    /// Asks each endpoint in turn, from the chosen one on.
    fn first_that_has<T>(
        &self,
        mut ask: impl FnMut(&Arc<Client>) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut errors = Vec::new();
        let first = self.chosen.load(Ordering::Relaxed);
        for (index, client) in self.clients.iter().enumerate().skip(first) {
            match ask(client) {
                Ok(answer) => {
                    self.chosen.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) => {
                    tracing::info!("going on without an endpoint: {error}");
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
        let part = format!("the manifest {digest}");
        Ok(self.fetch_manifest(&digest.to_string(), Some(digest), Some(&part))?)
    }

    fn blob(&self, descriptor: &Descriptor, part: &str) -> Result<Box<dyn Read + Send>, Failure> {
        let reader = self.first_that_has(|client| {
            let after = self.clients.iter().skip_while(|other| !Arc::ptr_eq(other, client));
            BlobReader::open(after.cloned().collect(), self.reference.clone(), descriptor, part)
        })?;
        Ok(Box::new(reader))
    }

    fn source(&self) -> Option<String> {
        let client = self.clients.get(self.chosen.load(Ordering::Relaxed))?;
        Some(client.place(&client.url("").ok()?))
    }

    fn avoid_source(&self) -> bool {
        let next = self.chosen.load(Ordering::Relaxed) + 1;
        if next < self.clients.len() {
            self.chosen.store(next, Ordering::Relaxed);
        }
        next < self.clients.len()
    }
}

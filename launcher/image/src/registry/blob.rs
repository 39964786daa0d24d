//! Blobs: a layer as a stream that continues where a broken connection ended.

use super::{
    client::Client,
    error::{RegistryError, into_io},
    get::{Wanted, get},
    url::Url,
};
use crate::{failure::plain, manifest::Descriptor, reference::Reference};
use std::{
    io::{self, Read},
    sync::Arc,
};
use ureq::http::{Response, StatusCode, header};

/// Bytes received since the last break that count as progress: the count of retries starts over.
const PROGRESS_BYTES: u64 = 1 << 20;

/// Reads a blob of a known size. The caller checks its digest.
pub(super) struct BlobReader {
    /// Where the blob is read from, then others that may have it.
    clients: Vec<Arc<Client>>,
    reference: Reference,
    path: String,
    /// Which part of the image it is.
    part: String,
    size: u64,
    offset: u64,
    body: Option<Box<dyn Read + Send>>,
    breaks: u32,
    retries_from: u64,
    /// Ranges are of no use.
    refuses_ranges: bool,
}

impl BlobReader {
    /// `clients`: at least one.
    pub(super) fn open(
        clients: Vec<Arc<Client>>,
        reference: Reference,
        descriptor: &Descriptor,
        part: &str,
    ) -> Result<Self, RegistryError> {
        let mut reader = Self {
            clients,
            reference,
            path: format!("blobs/{}", descriptor.digest),
            part: format!("{part} ({})", descriptor.digest),
            size: descriptor.size,
            offset: 0,
            body: None,
            breaks: 0,
            retries_from: 0,
            refuses_ranges: false,
        };
        reader.connect()?;
        Ok(reader)
    }

    fn connect(&mut self) -> Result<(), RegistryError> {
        let image = self.reference.to_string();
        let wanted = Wanted {
            image: &image,
            repository: self.reference.repository(),
            path: &self.path,
            accept: "*/*",
            part: Some(&self.part),
        };
        let client = &self.clients[0];
        let from = if self.refuses_ranges { 0 } else { self.offset };
        let (answer, url) = match get(client, &wanted, from) {
            Err(RegistryError::Unreachable { at, cause, next }) => {
                return Err(RegistryError::Unreachable { at, cause, next });
            }
            // Not the part but the range may be what it does not take.
            Err(_) if from > 0 => return self.connect_anew(),
            got => got?,
        };
        let resumes = answer.status() == StatusCode::PARTIAL_CONTENT;
        if resumes && content_range_start(&answer) != Some(from) {
            if from > 0 {
                return self.connect_anew();
            }
            let cause = "it sends a range that nobody asked for".to_owned();
            return Err(self.protocol(&url, cause));
        }
        let skip = if resumes { 0 } else { self.offset };
        let length = answer.headers().get(header::CONTENT_LENGTH);
        let length: Option<u64> = length.and_then(|value| value.to_str().ok()?.parse().ok());
        // A manifest does not have to say it.
        if self.size == 0 {
            self.size = length.unwrap_or(0);
        }
        if let Some(length) = length.filter(|length| *length != self.size - (self.offset - skip)) {
            let all = length.saturating_add(self.offset - skip);
            let cause = format!("{all} bytes are announced, not {}", self.size);
            return Err(self.protocol(&url, cause));
        }
        let mut body = answer.into_body().into_with_config().limit(u64::MAX).reader();
        if skip > 0 {
            tracing::info!("{} cannot resume; reading {skip} bytes again", client.place(&url));
            // A break in here shows at the next read.
            let _ = io::copy(&mut (&mut body).take(skip), &mut io::sink());
        }
        self.body = Some(Box::new(body));
        Ok(())
    }

    /// Connects from the first byte on.
    fn connect_anew(&mut self) -> Result<(), RegistryError> {
        self.refuses_ranges = true;
        self.connect()
    }

    fn protocol(&self, url: &Url, cause: String) -> RegistryError {
        let what = format!("{} of {}", self.part, self.reference);
        RegistryError::Protocol { at: self.clients[0].place(url), what, cause }
    }

    /// The URL of the blob where it is read from.
    fn url(&self) -> Result<Url, RegistryError> {
        let client = &self.clients[0];
        client.url(&client.endpoint().path(self.reference.repository(), &self.path))
    }

    /// Waits and connects again, or goes on with the next endpoint, or gives up.
    fn resume(&mut self, cause: &str) -> Result<(), RegistryError> {
        let mut failed = match self.resume_here(cause) {
            Ok(()) => return Ok(()),
            Err(error) => vec![error],
        };
        while self.clients.len() > 1 {
            self.clients.remove(0);
            (self.breaks, self.refuses_ranges) = (0, false);
            let last = failed.last().map(ToString::to_string).unwrap_or_default();
            self.clients[0].tell(format!("{last}; going on elsewhere"));
            match self.connect() {
                Ok(()) => return Ok(()),
                Err(error) => failed.push(error),
            }
        }
        Err(RegistryError::of(failed))
    }

    fn resume_here(&mut self, cause: &str) -> Result<(), RegistryError> {
        self.body = None;
        if self.offset - self.retries_from >= PROGRESS_BYTES {
            self.breaks = 0;
        }
        self.retries_from = self.offset;
        let client = Arc::clone(&self.clients[0]);
        let at = client.place(&self.url()?);
        // Another endpoint is tried sooner than the same one for long.
        let retries = client.retries().min(if self.clients.len() > 1 { 1 } else { u32::MAX });
        if self.breaks >= retries {
            return Err(RegistryError::Unreachable {
                at,
                cause: format!(
                    "the connection breaks again and again, at byte {} of {} of {}: {cause}",
                    self.offset, self.size, self.part
                ),
                next: "try again later".to_owned(),
            });
        }
        let delay = client.back_off(self.breaks);
        self.breaks += 1;
        client.wait(
            &format!("{at}: broken at byte {} of {}: {cause}", self.offset, self.size),
            delay,
        );
        self.connect()
    }
}

fn content_range_start<T>(answer: &Response<T>) -> Option<u64> {
    let value = answer.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    value.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let left = self.size - self.offset;
            let Some(body) = &mut self.body else { return Ok(0) };
            if left == 0 {
                // One extra byte is enough to know.
                let more = matches!(body.read(&mut [0]), Ok(1..));
                self.body = None;
                if more {
                    let cause = format!("it goes on after its {} bytes", self.size);
                    let error =
                        self.url().map_or_else(|error| error, |url| self.protocol(&url, cause));
                    return Err(into_io(error));
                }
                return Ok(0);
            }
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let cause = match body.read(&mut buffer[..most]) {
                Ok(0) => "it ended early".to_owned(),
                Ok(count) => {
                    self.offset += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => plain(&error),
            };
            self.resume(&cause).map_err(into_io)?;
        }
    }
}

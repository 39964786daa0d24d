//! Blobs: a layer as a stream that continues where a broken connection ended.

use super::{
    client::Client,
    endpoint::Endpoint,
    error::{RegistryError, into_io},
    get::get,
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
    client: Arc<Client>,
    endpoint: Arc<Endpoint>,
    reference: Reference,
    path: String,
    size: u64,
    offset: u64,
    body: Option<Box<dyn Read + Send>>,
    breaks: u32,
    retries_from: u64,
}

impl BlobReader {
    pub(super) fn open(
        client: Arc<Client>,
        endpoint: Arc<Endpoint>,
        reference: Reference,
        descriptor: &Descriptor,
    ) -> Result<Self, RegistryError> {
        let mut reader = Self {
            client,
            endpoint,
            reference,
            path: format!("blobs/{}", descriptor.digest),
            size: descriptor.size,
            offset: 0,
            body: None,
            breaks: 0,
            retries_from: 0,
        };
        reader.connect()?;
        Ok(reader)
    }

    fn connect(&mut self) -> Result<(), RegistryError> {
        let image = self.reference.to_string();
        let repository = self.reference.repository();
        let answer =
            get(&self.client, &self.endpoint, repository, &self.path, "*/*", self.offset, &image)?;
        let resumes = answer.status() == StatusCode::PARTIAL_CONTENT;
        let skip = if resumes { 0 } else { self.offset };
        let start = match resumes {
            true => content_range_start(&answer),
            false => Some(0),
        };
        if resumes && start != Some(self.offset) {
            return Err(self.protocol("it sends another range than requested".to_owned()));
        }
        let length = answer.headers().get(header::CONTENT_LENGTH);
        let length: Option<u64> = length.and_then(|value| value.to_str().ok()?.parse().ok());
        if let Some(length) = length.filter(|length| *length != self.size - (self.offset - skip)) {
            let cause =
                format!("{} bytes are announced, not {}", length + self.offset - skip, self.size);
            return Err(self.protocol(cause));
        }
        let mut body = answer.into_body().into_with_config().limit(u64::MAX).reader();
        if skip > 0 {
            tracing::info!("{} cannot resume; reading {skip} bytes again", self.endpoint);
            // A break in here shows at the next read.
            let _ = io::copy(&mut (&mut body).take(skip), &mut io::sink());
        }
        self.body = Some(Box::new(body));
        Ok(())
    }

    fn protocol(&self, cause: String) -> RegistryError {
        let what = format!("blob {}", self.path.trim_start_matches("blobs/"));
        RegistryError::Protocol { at: self.endpoint.to_string(), what, cause }
    }

    /// Waits and connects again, or gives up.
    fn resume(&mut self, cause: &str) -> Result<(), RegistryError> {
        self.body = None;
        if self.offset - self.retries_from >= PROGRESS_BYTES {
            self.breaks = 0;
        }
        self.retries_from = self.offset;
        if self.breaks >= self.client.retries() {
            return Err(RegistryError::Unreachable {
                at: self.endpoint.to_string(),
                cause: format!("the connection breaks again and again: {cause}"),
                next: "try again later",
            });
        }
        let delay = self.client.back_off(self.breaks);
        self.breaks += 1;
        let at =
            format!("{}: broken at byte {} of {}: {cause}", self.endpoint, self.offset, self.size);
        self.client.wait(&at, delay);
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
                    return Err(into_io(self.protocol(cause)));
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

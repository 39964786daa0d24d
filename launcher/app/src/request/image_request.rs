//! What an image may request. An image is not trusted, so the settings bound its requests for the host's resources.
//! They do not bound the user's requests.

use crate::request::run_request::RunRequest;
use crate::request::size::{SizeError, parse_size_mib};
use crate::settings::Settings;
use image::Config;
use std::fmt;

/// Labels that set a domain's memory, e.g. `launch.memory=128m`; the first one that the image has counts.
pub(crate) const MEMORY_LABELS: [&str; 2] = ["launch.memory", "io.launch.memory"];

/// A request of an image that was reduced to what the settings allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutRequest {
    /// Memory, requested by a label.
    Memory {
        /// What the image requests, in MiB.
        wanted_mib: u32,
        /// What the app gets, in MiB.
        given_mib: u32,
    },
    /// Time from the stop signal to the app's end.
    StopTimeout {
        /// What the image requests, in seconds.
        wanted_s: u64,
        /// What the app gets, in seconds.
        given_s: u64,
    },
}

impl fmt::Display for CutRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { wanted_mib, given_mib } => write!(
                formatter,
                "the image asks for {wanted_mib} MiB of memory and gets {given_mib} MiB, \
                 max_image_memory_mib under [domain]; --memory gives more"
            ),
            Self::StopTimeout { wanted_s, given_s } => write!(
                formatter,
                "the image asks for {wanted_s} seconds to stop and gets {given_s}, \
                 max_image_stop_timeout_s under [domain]; --stop-timeout gives more"
            ),
        }
    }
}

/// The image's requests that are reduced. Omits those that the user overrides.
#[must_use]
pub fn cut_requests(request: &RunRequest, settings: &Settings) -> Vec<CutRequest> {
    let config = &request.image.config;
    let mut cut = Vec::new();
    if request.shape.memory_mib.is_none() {
        // A label that is not a size makes the resolution of the domain fail.
        if let Ok(Some(wanted_mib)) = wanted_memory_mib(config).map_err(drop) {
            let given_mib = wanted_mib.min(settings.max_image_memory_mib);
            cut.extend(
                (given_mib < wanted_mib).then_some(CutRequest::Memory { wanted_mib, given_mib }),
            );
        }
    }
    if let (None, Some(wanted_s)) = (request.stop_timeout_s, config.stop_timeout_s) {
        let given_s = wanted_s.min(settings.max_image_stop_timeout_s);
        cut.extend((given_s < wanted_s).then_some(CutRequest::StopTimeout { wanted_s, given_s }));
    }
    cut
}

/// The memory in MiB that the image requests, bounded; `None` if it requests none.
///
/// # Errors
/// The label is not a size; returns the label and the reason.
pub(crate) fn memory_mib(
    config: &Config,
    settings: &Settings,
) -> Result<Option<u32>, (&'static str, SizeError)> {
    let wanted = wanted_memory_mib(config)?;
    Ok(wanted.map(|wanted| wanted.min(settings.max_image_memory_mib)))
}

/// The stop time in seconds that the image requests, bounded; `None` if it requests none.
pub(crate) fn stop_timeout_s(config: &Config, settings: &Settings) -> Option<u64> {
    config.stop_timeout_s.map(|wanted| wanted.min(settings.max_image_stop_timeout_s))
}

fn wanted_memory_mib(config: &Config) -> Result<Option<u32>, (&'static str, SizeError)> {
    let labels = &config.labels;
    let Some((label, text)) =
        MEMORY_LABELS.iter().find_map(|label| labels.get(*label).map(|text| (*label, text)))
    else {
        return Ok(None);
    };
    parse_size_mib(text.raw()).map(Some).map_err(|source| (label, source))
}

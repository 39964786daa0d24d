//! Decides which pooled domain fits which request.

use crate::record::pooled_domain::PooledDomain;
use crate::record::writable_choice::WritableChoice;
use crate::request::run_request::RunRequest;
use crate::settings::Settings;
use toolstack::Shape;

/// Whether an app of this shape and request can use the domain.
pub(crate) fn fits(
    pooled: &PooledDomain,
    shape: &Shape,
    request: &RunRequest,
    settings: &Settings,
) -> bool {
    let usual_disk = request.writable == WritableChoice::Disk
        && request.storage_mib.is_none_or(|size_mib| size_mib == settings.storage_mib);
    let usual_interface = request.network == net::NetworkRequest::Launch
        && request.ip.is_none()
        && request.mac.is_none();
    let usual_image = |digest: &String| *digest == request.image.digest.to_string();
    pooled.shape == *shape
        && pooled.image.as_ref().is_none_or(usual_image)
        && (usual_disk && usual_interface || !pooled.furnished)
        && pooled.is_current()
}

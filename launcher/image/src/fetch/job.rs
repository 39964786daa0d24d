//! The work of the child, from the request to the finished disk, without any process around it.

use super::messages::{Done, Input, Request};
use crate::{
    archive::{Dir, DockerArchive, Folder, Layout, TarIndex, rootfs, seekable},
    failure::{Failure, FailureKind},
    host::{Host, Identity, Resolved},
    layers,
    oci::{self, Blobs, Plan},
    progress::Event,
    registry::Remote,
};
use std::{fs::File, io, sync::Arc};

/// Fetches and converts; `None` when the launcher has the disk already.
pub(crate) fn run(
    request: Request,
    archive: Option<File>,
    host: &Arc<dyn Host>,
) -> Result<Option<Done>, Failure> {
    let job = Job { name: &request.name, settings: &request.settings, host };
    let archive = || {
        let archive = archive.ok_or(io::Error::from(io::ErrorKind::NotFound));
        archive.map_err(|error| Failure::from_io(error, "find the archive"))
    };
    match &request.input {
        Input::Registry(reference) => {
            let notify = Arc::clone(host);
            let remote = Remote::new(
                reference.clone(),
                &request.settings,
                request.credentials,
                &request.certificates,
                Arc::new(move |event| notify.event(event)),
            )?;
            job.oci(&remote, remote.top()?)
        }
        Input::OciLayout { tag } => {
            let folder = Folder { host: Arc::clone(host), name: request.name.clone() };
            let layout = Layout::open(Box::new(folder), &request.name)?;
            job.oci(&layout, layout.top(tag.as_deref())?)
        }
        Input::Dir => {
            let folder = Folder { host: Arc::clone(host), name: request.name.clone() };
            let dir = Dir::new(Box::new(folder), &request.name);
            job.oci(&dir, dir.top()?)
        }
        Input::OciArchive { tag } => {
            let layout = Layout::open(Box::new(job.files(archive()?)?), &request.name)?;
            job.oci(&layout, layout.top(tag.as_deref())?)
        }
        Input::DockerArchive { image } => {
            let saved = DockerArchive::open(job.files(archive()?)?, image.as_ref())?;
            // First, because the launcher takes a config that it cannot read for a lie.
            let plan = saved.plan(&job.settings.limits)?;
            let identity = Identity::Config(saved.config().to_owned());
            let Some(out) = job.resolved(identity, saved.names())? else { return Ok(None) };
            job.convert(plan, out).map(Some)
        }
        Input::Rootfs => {
            let Some(out) = job.resolved(Identity::Contents, Vec::new())? else {
                return Ok(None);
            };
            job.convert(rootfs(archive()?), out).map(Some)
        }
    }
}

struct Job<'a> {
    name: &'a str,
    settings: &'a crate::Settings,
    host: &'a Arc<dyn Host>,
}

impl Job<'_> {
    fn files(&self, archive: File) -> Result<TarIndex, Failure> {
        let limits = &self.settings.limits;
        let file = seekable(archive, self.name, limits, || self.host.scratch())?;
        Ok(TarIndex::read(file, self.name)?)
    }

    fn oci(&self, blobs: &dyn Blobs, top: Vec<u8>) -> Result<Option<Done>, Failure> {
        let (documents, manifest) = oci::resolve(blobs, top, self.name)?;
        let identity = Identity::Manifests(documents);
        let Some(out) = self.resolved(identity, Vec::new())? else { return Ok(None) };
        loop {
            // The converter drops what the disk holds already.
            let again =
                out.try_clone().map_err(|error| Failure::from_io(error, "write the disk"))?;
            let plan = oci::plan(blobs, manifest.clone(), self.name, &self.settings.limits);
            let mut failure = match plan.and_then(|plan| self.convert(plan, again)) {
                Err(failure) if failure.kind == FailureKind::Mismatch => failure,
                converted => return converted.map(Some),
            };
            if let Some(source) = blobs.source().filter(|source| !failure.message.contains(source))
            {
                failure.message = format!("{}; it came from {source}", failure.message);
            }
            if !blobs.avoid_source() {
                return Err(failure);
            }
            let reason = format!("{failure}; reading all of it elsewhere").into();
            self.host.event(Event::Retry { reason });
        }
    }

    fn resolved(&self, identity: Identity, names: Vec<String>) -> Result<Option<File>, Failure> {
        let answer = self.host.resolved(Resolved { identity, names });
        answer.map_err(|error| Failure::from_io(error, "talk to the launcher"))
    }

    fn convert(&self, plan: Plan<'_>, out: File) -> Result<Done, Failure> {
        let config = plan.config.clone();
        let limits = &self.settings.limits;
        let notify = |event| self.host.event(event);
        let converted = layers::convert(plan, out, self.name, limits, &notify)?;
        Ok(Done { config, disk_bytes: converted.bytes })
    }
}

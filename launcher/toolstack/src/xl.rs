//! The xl toolstack: renders a config and runs Xen's own `xl`. Works on any Xen.

use crate::disk::attached;
use crate::domains::Domains;
use crate::error::ToolstackError;
use crate::guest_nodes::GuestNodes;
use crate::settings::Settings;
use crate::spec::{DomainSpec, Uuid};
use crate::state::DomainState;
use crate::xl_config;
use crate::xl_program::{cause, run_xl};
use files::{Durability, Writers, replace};
use std::fs::File;
use std::process::Output;
use std::sync::Arc;
use std::time::{Duration, Instant};
use xen::DomId;
use xen::store::Store;

/// The name of the config's file in a domain's folder.
const CONFIG: &str = "domain.cfg";
/// How long to wait for another process's `xl destroy`.
const OTHERS_TIME: Duration = Duration::from_secs(10);

/// Builds domains with `xl`.
#[derive(Debug)]
pub(crate) struct Xl {
    settings: Settings,
    domains: Arc<Domains>,
}

impl Xl {
    /// The toolstack with these settings.
    #[must_use]
    pub(crate) fn new(settings: Settings, domains: Arc<Domains>) -> Self {
        Self { settings, domains }
    }

    fn failure(&self, spec: &DomainSpec, output: &Output) -> ToolstackError {
        let words = String::from_utf8_lossy(&output.stderr);
        let no_memory = ["failed to free memory", "Out of memory", "Cannot allocate memory"];
        if no_memory.iter().any(|text| words.contains(text)) {
            let free_mib = self.domains.free_mib();
            return ToolstackError::NoMemory {
                domain: spec.name.clone(),
                memory_mib: spec.shape.memory_mib,
                free: free_mib.map_or(String::new(), |mib| format!(", {mib} MiB are free")),
            };
        }
        if words.contains("already exists") {
            return ToolstackError::NameTaken(spec.name.clone());
        }
        let cause = cause(&words, output);
        ToolstackError::Xl { action: "create", domain: spec.name.clone(), cause }
    }

    fn wipe(&self, uuid: Uuid) -> Result<(), ToolstackError> {
        match self.domains.find(uuid)? {
            Some(domid) => self.destroy(domid, uuid),
            None => Ok(()),
        }
    }

    /// Builds the domain and unpauses it. `xl` inherits `lock`, so that no other process repairs the app while `xl`
    /// works, even if this process was killed.
    ///
    /// # Errors
    /// The domain cannot be built. Nothing of it is left then.
    pub(crate) fn create(
        &self,
        spec: &DomainSpec,
        nodes: &GuestNodes,
        lock: File,
    ) -> Result<DomId, ToolstackError> {
        self.write_config(spec, nodes)?;
        for (what, path) in
            [("guest kernel", &spec.shape.kernel), ("initramfs", &spec.shape.ramdisk)]
        {
            File::open(path).map_err(|source| ToolstackError::File {
                what,
                path: path.clone(),
                source,
            })?;
        }
        self.domains.check_kind(spec.shape.kind)?;
        xen::builder::check_event_channels()?;
        let path = spec.folder.join(CONFIG);
        let args = ["create".as_ref(), "-e".as_ref(), "-q".as_ref(), path.as_os_str()];
        // `xl` holds the lock as its standard input, which it does not read.
        let output = run_xl(args, Some(lock))?;
        if !output.status.success() {
            let error = self.failure(spec, &output);
            // libxl cleans up after a failure, but not if it was killed.
            return Err(match self.wipe(spec.uuid) {
                Ok(()) => error,
                Err(second) => ToolstackError::Both(Box::new(error), Box::new(second)),
            });
        }
        self.domains.find(spec.uuid)?.ok_or_else(|| ToolstackError::Vanished(spec.name.clone()))
    }

    /// Writes the config for `xl create`, and the guest's nodes for [`crate::hotplug`], into the folder of `spec`.
    /// Returns the config.
    ///
    /// # Errors
    /// A value does not fit a config, a template has an error, or the file system fails.
    pub(crate) fn write_config(
        &self,
        spec: &DomainSpec,
        nodes: &GuestNodes,
    ) -> Result<String, ToolstackError> {
        let config = xl_config::render(spec, &self.settings)?;
        replace(&spec.folder.join(CONFIG), config.as_bytes(), Durability::Crash, Writers::Many)
            .map_err(|error| ToolstackError::Write(error.into()))?;
        nodes.write(&spec.folder).map_err(ToolstackError::Write)?;
        Ok(config)
    }

    /// Destroys the domain with all its devices. It is no error if the domain is already gone.
    ///
    /// # Errors
    /// The domain still exists.
    pub(crate) fn destroy(&self, domid: DomId, uuid: Uuid) -> Result<(), ToolstackError> {
        if self.domains.state(domid, uuid)? != DomainState::Gone {
            let output = run_xl(["destroy", &domid.to_string()], None)?;
            if !output.status.success() && self.domains.state(domid, uuid)? != DomainState::Gone {
                let cause = cause(&String::from_utf8_lossy(&output.stderr), &output);
                let domain = domid.to_string();
                return Err(ToolstackError::Xl { action: "destroy", domain, cause });
            }
        }
        wait_for_others(domid, uuid)?;
        // The hotplug program detaches the disks for libxl; this detaches those that it could not.
        Ok(attached::detach(domid)?)
    }
}

/// Waits if another process is destroying the domain: Xen removes a domain before libxl has removed its devices.
fn wait_for_others(domid: DomId, uuid: Uuid) -> Result<(), ToolstackError> {
    let store = Store::connect()?;
    let node = format!("/local/domain/{domid}/vm");
    let deadline = Instant::now() + OTHERS_TIME;
    while store.read_optional(&node)? == Some(format!("/vm/{uuid}")) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

//! Changes the resources of an app and its domain.

use crate::apps::{App, Apps};
use crate::domain::domain;
use crate::error::AppsError;
use crate::record::app::Record;
use crate::record::restart_policy::RestartPolicy;
use crate::request::shape::{check_memory_mib, check_vcpus};
use toolstack::{AppDomain, Schedule};

/// The requested changes; `None` leaves a value unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Memory in MiB.
    pub memory_mib: Option<u32>,
    /// Number of vCPUs.
    pub vcpus: Option<u32>,
    /// Processor time.
    pub schedule: Schedule,
    /// When the app is started again.
    pub restart: Option<RestartPolicy>,
}

/// The result of a [`Change`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// One line for each value that the running domain gets only at its next start.
    pub later: Vec<String>,
}

/// Changes the resources of the app: those of the running domain as far as possible, and those of later starts.
///
/// # Errors
/// The change cannot be made, or Xen refuses. Nothing is changed then.
pub fn update(apps: &Apps, app: &App, change: &Change) -> Result<Changed, AppsError> {
    let folder = apps.folder(&app.record.id);
    let _common = apps.common_lock()?;
    let mut record = folder.read_record()?;
    if let Some(memory_mib) = change.memory_mib {
        record.shape.memory_mib = check_memory_mib(memory_mib)?;
    }
    if let Some(vcpus) = change.vcpus {
        record.shape.vcpus = check_vcpus(vcpus)?;
    }
    record.schedule = record.schedule.changed(change.schedule);
    if let Some(restart) = change.restart {
        if restart != RestartPolicy::No && record.remove_on_exit {
            return Err(AppsError::RestartAndRemove(record.name));
        }
        record.restart = restart;
    }
    let changed = match domain(apps, app)? {
        Some(domain) => change_domain(apps, domain, &record, change)?,
        None => Changed::default(),
    };
    folder.write_record(&record)?;
    Ok(changed)
}

/// Changes a running domain. It can have at most what it was built with.
fn change_domain(
    apps: &Apps,
    domain: AppDomain,
    record: &Record,
    change: &Change,
) -> Result<Changed, AppsError> {
    let name = &record.name;
    let mut changed = Changed::default();
    if !change.schedule.is_default() {
        apps.toolstack().schedule(domain, record.schedule)?;
    }
    if change.memory_mib.is_none() && change.vcpus.is_none() {
        return Ok(changed);
    }
    let built = apps.toolstack().resize(domain, change.memory_mib, change.vcpus)?;
    if let (Some(wanted), Some(built)) = (change.memory_mib, built.memory_mib) {
        if u64::from(wanted) > built {
            changed.later.push(format!(
                "app {name} was built with {built} MiB and gets {wanted} at its next start"
            ));
        }
    }
    if let (Some(wanted), Some(built)) = (change.vcpus, built.vcpus) {
        if wanted > built {
            changed.later.push(format!(
                "app {name} was built with {built} vCPUs and gets {wanted} at its next start"
            ));
        }
    }
    Ok(changed)
}

//! Changing an app that is there: its name, and what its domain may have.

use crate::apps::{App, Apps};
use crate::domains::AppDomain;
use crate::error::AppsError;
use crate::record::Record;
use crate::resolve;
use crate::restart_policy::RestartPolicy;
use crate::schedule::Schedule;
use xen::store::Store;

/// What is to be different; `None` stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Memory in MiB.
    pub memory_mib: Option<u32>,
    /// Number of vCPUs.
    pub vcpus: Option<u32>,
    /// Processor time.
    pub schedule: Schedule,
    /// When it is started again.
    pub restart: Option<RestartPolicy>,
}

/// What came of a [`Change`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// What a running domain gets when it is started next only, one line each.
    pub later: Vec<String>,
}

impl Apps {
    /// Gives the app another name; its domain, while there is one, has it too.
    ///
    /// # Errors
    /// The name is taken or cannot be given.
    pub fn rename(&self, app: &App, name: &str) -> Result<(), AppsError> {
        if app.record.name == name {
            return Err(AppsError::SameName(name.to_owned()));
        }
        if self.domains().check().is_ok() {
            self.domains().check_name(name)?;
        }
        let folder = self.folder(&app.record.id);
        let exists = |holder: &str| self.folder(holder).path().exists();
        let _common = self.common_lock()?;
        let mut record = folder.read_record()?;
        self.names().take(&record.id, Some(name), name, exists)?;
        let old = std::mem::replace(&mut record.name, name.to_owned());
        if let Err(error) = folder.write_record(&record) {
            let released = self.names().release(&record.id, name);
            return Err(AppsError::from(error).and(released));
        }
        self.names().release(&record.id, &old)?;
        if let Some(domain) = self.domain(app)? {
            let store = Store::connect()?;
            store.write(&format!("{}/name", domain.home()), name)?;
            store.write(&format!("/vm/{}/name", domain.uuid()), name)?;
        }
        Ok(())
    }

    /// Changes what the app may have: now, as far as its domain can, and whenever it is started.
    ///
    /// # Errors
    /// A wish that cannot be fulfilled, or Xen refuses; nothing is changed then.
    pub fn update(&self, app: &App, change: &Change) -> Result<Changed, AppsError> {
        let folder = self.folder(&app.record.id);
        let _common = self.common_lock()?;
        let mut record = folder.read_record()?;
        if let Some(memory_mib) = change.memory_mib {
            record.machine.memory_mib = resolve::check_memory_mib(memory_mib)?;
        }
        if let Some(vcpus) = change.vcpus {
            record.machine.vcpus = resolve::check_vcpus(vcpus)?;
        }
        record.schedule = record.schedule.changed(change.schedule);
        if let Some(restart) = change.restart {
            if restart != RestartPolicy::No && record.remove_on_exit {
                return Err(AppsError::RestartAndRemove(record.name));
            }
            record.restart = restart;
        }
        let mut changed = Changed::default();
        if let Some(domain) = self.domain(app)? {
            self.change_domain(domain, &record, change, &mut changed)?;
        }
        folder.write_record(&record)?;
        Ok(changed)
    }

    /// A running domain can have less than it was built with, and as much again; not more.
    fn change_domain(
        &self,
        domain: AppDomain,
        record: &Record,
        change: &Change,
        changed: &mut Changed,
    ) -> Result<(), AppsError> {
        let name = &record.name;
        let store = Store::connect()?;
        let home = domain.home();
        if !change.schedule.is_default() {
            self.domains().set_schedule(domain, record.schedule)?;
        }
        if let Some(memory_mib) = change.memory_mib {
            let most = store.read_optional(&format!("{home}/memory/static-max"))?;
            let built_kib: u64 = most.and_then(|kib| kib.parse().ok()).unwrap_or_default();
            let wanted_kib = u64::from(memory_mib) * 1024;
            if wanted_kib > built_kib {
                let built_mib = built_kib / 1024;
                changed.later.push(format!(
                    "app {name} was built with {built_mib} MiB and gets the {memory_mib} when it is started next"
                ));
            }
            // The guest's balloon driver does the rest, page by page.
            let target = wanted_kib.min(built_kib);
            store.write(&format!("{home}/memory/target"), &target.to_string())?;
        }
        if let Some(vcpus) = change.vcpus {
            let built: u32 =
                store.list(&format!("{home}/cpu"))?.len().try_into().unwrap_or(u32::MAX);
            if vcpus > built {
                changed.later.push(format!(
                    "app {name} was built with {built} vCPUs and gets the {vcpus} when it is started next"
                ));
            }
            for vcpu in 0..built {
                let state = if vcpu < vcpus { "online" } else { "offline" };
                store.write(&format!("{home}/cpu/{vcpu}/availability"), state)?;
            }
        }
        Ok(())
    }
}

//! Making an app, and launching one.

use crate::apps::{App, Apps};
use crate::error::AppsError;
use crate::folder::{self, Folder};
use crate::ids::{new_id, uuid_of};
use crate::launch::Launch;
use crate::lock::Lock;
use crate::record::{Phase, Record, State};
use crate::resolve::{self, Identity};
use crate::root::link_disk;
use crate::spec::ToolstackKind;
use crate::timing::{Timings, now_ms, timed};
use crate::waiting::Waiting;
use crate::writable_choice::WritableChoice;
use crate::{start_set, writable};
use files::FileError;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;

impl Apps {
    /// Makes an app, which does not run yet.
    ///
    /// # Errors
    /// The name is taken, the launch makes no sense, or the disk is full; nothing is left then.
    pub fn create(&self, launch: &Launch) -> Result<App, AppsError> {
        self.make(launch, false, &mut Timings::new())
    }

    /// Makes an app and starts it. Its domain, if there is not one that waits, boots while the rest
    /// is made.
    ///
    /// # Errors
    /// As [`Apps::create`] and [`Apps::start`]; nothing is left then.
    pub fn launch(&self, launch: &Launch) -> Result<(App, Timings), AppsError> {
        let mut timings = Timings::new();
        let mut app = self.make(launch, true, &mut timings)?;
        match self.start_timed(&mut app, &mut timings, launch.detached) {
            Ok(()) => Ok((app, timings)),
            // A launch that failed leaves nothing; Docker would keep an app that never ran.
            Err(error) => Err(error.and(self.remove(&app, true))),
        }
    }

    fn make(
        &self,
        launch: &Launch,
        to_start: bool,
        timings: &mut Timings,
    ) -> Result<App, AppsError> {
        let _span = tracing::info_span!("create").entered();
        let named = Some((&launch.image.config, launch.image_name.as_str()));
        let toolstack = self.choose_toolstack(&launch.machine);
        let kind = self.choose_kind(&launch.machine);
        let machine = resolve::machine(&launch.machine, named, &self.settings, (toolstack, kind))?;
        if to_start {
            self.domains.check()?;
        }
        let waiting =
            |waiting: &Waiting| to_start && waiting.fits(&machine, launch, &self.settings);
        let (folder, lock, mut waiting) = timed(timings, "folder", || self.reserve(waiting))?;
        let id = folder.id().to_owned();
        let mut name = None;
        let made = || -> Result<(Record, State), AppsError> {
            let name = name.insert(self.take_name(launch, &id)?).clone();
            if to_start {
                self.domains.check_name(&name)?;
            }
            let identity =
                Identity { uuid: uuid_of(&id), id: id.clone(), name, created_unix_ms: now_ms() };
            let record = resolve::resolve(launch, machine, identity, &self.settings)?;
            if to_start && waiting.is_none() && toolstack == ToolstackKind::Native {
                waiting = Some(timed(timings, "domain", || self.boot(&record))?);
            }
            let state =
                timed(timings, "disks", || self.fill(&folder, launch, &record, waiting.as_ref()))?;
            Ok((record, state))
        };
        match made() {
            Ok((record, state)) => Ok(App { record, state, lock: Some(lock), waiting }),
            Err(error) => {
                let released = name.map_or(Ok(()), |name| self.names().release(&id, &name));
                let error = error.and(released).and(self.destroy_waiting(waiting.as_ref(), &id));
                Err(error.and(folder.remove()))
            }
        }
    }

    /// A folder for a new app: that of a domain which waits and fits, or else an empty one.
    fn reserve(
        &self,
        fits: impl Fn(&Waiting) -> bool,
    ) -> Result<(Folder, Lock, Option<Waiting>), AppsError> {
        // To others a folder looks as if its maker had died, until there is a record in it.
        let _common = self.common_lock()?;
        if let Some((folder, lock, waiting)) = self.take_waiting(fits)? {
            return Ok((folder, lock, Some(waiting)));
        }
        let folder = self.folder(&new_id()?);
        let lock = folder.make()?;
        Ok((folder, lock, None))
    }

    fn take_name(&self, launch: &Launch, id: &str) -> Result<String, AppsError> {
        let base = if launch.image_name.is_empty() { "app" } else { &launch.image_name };
        let exists = |holder: &str| self.folder(holder).path().exists();
        let _common = self.common_lock()?;
        Ok(self.names().take(id, launch.name.as_deref(), base, exists)?)
    }

    fn fill(
        &self,
        folder: &Folder,
        launch: &Launch,
        record: &Record,
        waiting: Option<&Waiting>,
    ) -> Result<State, AppsError> {
        // Until there is a record, nobody else knows that this app has the image.
        let _held = launch.image.hold()?;
        if waiting.is_none_or(|waiting| waiting.image.is_none()) {
            link_disk(&launch.image.disk, &folder.file(folder::ROOT_DISK))?;
            start_set::link(&launch.image.disk, folder)?;
        }
        let has_layer = waiting.is_some_and(|waiting| waiting.furnished);
        if record.writable == WritableChoice::Disk && !has_layer {
            self.make_writable(folder, record.storage_mib)?;
        }
        let log = folder.file(folder::LOG);
        let made = OpenOptions::new().append(true).create(true).mode(0o600).open(&log);
        made.map_err(FileError::io("make", &log))?;
        // With a domain there is something to take down if this process is killed now.
        let state = match waiting {
            Some(waiting) => {
                State { phase: Phase::Starting, domid: Some(waiting.domid), ..State::default() }
            }
            None => State::default(),
        };
        folder.write_state_lightly(&state)?;
        // Last: a folder with a record is complete.
        folder.write_record(record)?;
        Ok(state)
    }

    pub(crate) fn make_writable(&self, folder: &Folder, size_mib: u64) -> Result<(), AppsError> {
        let path = folder.file(folder::WRITABLE_DISK);
        Ok(writable::make(&self.state_dir.join("templates"), &path, size_mib)?)
    }

    /// Writes the writable layer of an app again that a power cut took right after it was made.
    pub(crate) fn mend_writable(&self, folder: &Folder, record: &Record) -> Result<(), AppsError> {
        let path = folder.file(folder::WRITABLE_DISK);
        if writable::mend(&self.state_dir.join("templates"), &path, record.storage_mib)? {
            tracing::warn!("the writable layer of app {} was empty; made it anew", record.name);
        }
        Ok(())
    }
}

//! Ending an app: asked to, by force, by itself; and taking everything down.

use crate::apps::{App, Apps};
use crate::domains::AppDomain;
use crate::end_watch::EndWatch;
use crate::error::AppsError;
use crate::folder::{self, Folder};
use crate::lock::Lock;
use crate::outcome::Outcome;
use crate::record::{Phase, Record, State};
use crate::spec::Uuid;
use crate::timing::now_ms;
use std::time::{Duration, Instant};
use xen::DomId;

/// How long a monitor may take to tidy up after its domain was destroyed.
const TIDY_TIME: Duration = Duration::from_secs(60);

impl Apps {
    /// Ends the app at once: its domain is destroyed, and what it has not written out is lost.
    ///
    /// # Errors
    /// Xen refuses. An app that does not run is no error.
    pub fn kill(&self, app: &App) -> Result<Outcome, AppsError> {
        self.kill_marked(app, folder::STOPPED)
    }

    pub(super) fn kill_marked(&self, app: &App, mark: &str) -> Result<Outcome, AppsError> {
        let folder = self.folder(&app.record.id);
        let end = EndWatch::new(&folder)?;
        // Also one that has just ended: its monitor is taking it down. `destroy` compares the UUID.
        if let Some((domid, uuid)) = self.noted_domain(app)? {
            folder.mark(mark)?;
            tracing::info_span!("destroy")
                .in_scope(|| self.toolstack(&app.record).destroy(domid, uuid))?;
            if !end.wait(Some(Instant::now() + TIDY_TIME))? {
                return Err(AppsError::Stuck(app.record.name.clone()));
            }
        }
        self.outcome(app, &end)
    }

    /// Waits until the app has ended and everything of it is taken down.
    ///
    /// # Errors
    /// Its state cannot be read.
    pub fn wait(&self, app: &App) -> Result<Outcome, AppsError> {
        let end = EndWatch::new(&self.folder(&app.record.id))?;
        end.wait(None)?;
        self.outcome(app, &end)
    }

    /// The running app's domain, as it is now and not as it was when `app` was read; `None` where the app
    /// does not run, or the domain that was noted is another one or has gone.
    pub(crate) fn domain(&self, app: &App) -> Result<Option<AppDomain>, AppsError> {
        match self.noted_domain(app)? {
            Some((domid, uuid)) => Ok(self.domains().of_app(domid, uuid)?),
            None => Ok(None),
        }
    }

    /// The number that is noted for a running app's domain, and the app's UUID: nothing that may be used
    /// without a comparison.
    pub(crate) fn noted_domain(&self, app: &App) -> Result<Option<(DomId, Uuid)>, AppsError> {
        let now = self.read(&app.record.id)?.filter(|now| now.state.phase == Phase::Running);
        Ok(now.and_then(|now| Some((DomId(now.state.domid?), app.record.uuid))))
    }

    pub(super) fn outcome(&self, app: &App, end: &EndWatch) -> Result<Outcome, AppsError> {
        if let Some(outcome) = end.lock.outcome()? {
            return Ok(outcome);
        }
        let state = self.read(&app.record.id)?.map(|app| app.state);
        let outcome = state.and_then(|state| state.outcome);
        Ok(outcome.unwrap_or(Outcome { code: 0, message: None }))
    }

    /// Removes an app and its writable layer; a running one only with `force`.
    ///
    /// # Errors
    /// It runs, or its folder cannot be removed.
    pub fn remove(&self, app: &App, force: bool) -> Result<(), AppsError> {
        let folder = self.folder(&app.record.id);
        let lock = match folder.take_lock() {
            Ok(Some(lock)) => Some(lock),
            // Its own creator gives up on it.
            Ok(None) if app.lock.is_some() => None,
            Ok(None) if force => {
                self.kill(app)?;
                // One that waits to be started again has no domain; whoever waits sees the mark.
                if folder.mark(folder::STOPPED).is_ok() {
                    EndWatch::new(&folder)?.wait(Some(Instant::now() + TIDY_TIME))?;
                }
                match folder.take_lock() {
                    Ok(Some(lock)) => Some(lock),
                    Ok(None) => return Err(AppsError::Running(app.record.name.clone())),
                    Err(error) if error.is_not_found() => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(None) => return Err(AppsError::Running(app.record.name.clone())),
            // Its monitor was faster.
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // A domain of it that nobody watches: started by hand from its config.
        let by_hand = self.domains().check().is_ok().then(|| self.domains().find(app.record.uuid));
        let by_hand = by_hand.transpose()?.flatten();
        if by_hand.is_some() && !force {
            return Err(AppsError::Running(app.record.name.clone()));
        }
        self.take_down(&app.record, by_hand)?;
        self.forget(&app.record, &folder)?;
        drop(lock);
        Ok(())
    }

    /// Removes folder and name of an app; the caller has its lock.
    pub(crate) fn forget(&self, record: &Record, folder: &Folder) -> Result<(), AppsError> {
        let _common = self.common_lock()?;
        // It may have another name than when `record` was read.
        let now = folder.read_record().map_or(record.name.clone(), |record| record.name);
        // Without a record the folder is one that repairs remove, and its name with it, if this
        // process is killed now. An app without a name could not be removed by name.
        folder.remove_record()?;
        self.names().release(&record.id, &now)?;
        Ok(folder.remove()?)
    }

    /// Takes down what a start has made: domain, disks, ports, address. Goes on after an error;
    /// doing it twice is no error.
    pub(crate) fn take_down(&self, record: &Record, domid: Option<DomId>) -> Result<(), AppsError> {
        let _span = tracing::info_span!("take down", app = record.name).entered();
        let mut done: Result<(), AppsError> = Ok(());
        let mut step = |result: Result<(), AppsError>| {
            done = match (std::mem::replace(&mut done, Ok(())), result) {
                (Ok(()), result) => result,
                (Err(first), result) => Err(first.and(result)),
            };
        };
        if let Some(domid) = domid {
            step(self.toolstack(record).destroy(domid, record.uuid).map_err(AppsError::from));
        }
        step(self.with_network(|network| network.unpublish(&record.id)));
        step(self.with_network(|network| network.release(&record.id)));
        done
    }

    /// The end of an app, by whoever is in charge of it: takes it down, notes how it ended, and
    /// removes it where that was asked for.
    pub(crate) fn finish(
        &self,
        folder: &Folder,
        record: &Record,
        state: &mut State,
        mut outcome: Outcome,
        lock: &Lock,
    ) -> Result<(), AppsError> {
        let down = self.take_down(record, state.domid.map(DomId));
        if let Err(error) = &down {
            let error = contract::one_line(error);
            let message = match &outcome.message {
                Some(message) => format!("{message}; and then: {error}"),
                None => error,
            };
            outcome.message = Some(message.into());
        }
        *state = State {
            phase: Phase::Exited,
            domid: None,
            address: None,
            finished_unix_ms: Some(now_ms()),
            outcome: Some(outcome.clone()),
            started_unix_ms: state.started_unix_ms,
            restarts: state.restarts,
            pause_ms: 0,
            marks: std::mem::take(&mut state.marks),
        };
        let goes = record.remove_on_exit && !folder.is_marked(folder::KEPT);
        // One that goes at once need not outlive a power cut.
        let noted = match goes {
            true => folder.write_state_lightly(state),
            false => folder.write_state(state),
        };
        let noted = noted.map_err(AppsError::from);
        let left = lock.leave(&outcome).map_err(AppsError::from);
        // With its domain still there it stays, for the next command to see.
        let gone = match goes && down.is_ok() {
            true => self.forget(record, folder),
            false => Ok(()),
        };
        down.and(noted).and(left).and(gone)
    }
}

//! What a running app is asked for: a signal, or to stop; and pausing it.

use crate::apps::{App, Apps};
use crate::domains::{self, AppDomain};
use crate::end_watch::EndWatch;
use crate::error::AppsError;
use crate::outcome::Outcome;
use crate::record::Phase;
use crate::{folder, timestamp};
use contract::store as nodes;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use xen::DomId;
use xen::store::Store;

/// What a guest gets on top of its app's stop time: to unmount, report and power off.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// How long a guest may take to pass a signal on; one that still boots needs longest.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// So many are stopped at once: each watches its folder, and Linux lets a user do that 128 times.
const STOPS_AT_ONCE: usize = 32;
/// The signal that no app can refuse.
const KILL: i32 = 9;

/// How the domain of an app is that is noted as running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It is there, and nobody has paused it.
    Runs,
    /// It is paused.
    Paused,
    /// It is not there any more: the number is another domain's, or nobody's. The app's monitor, or the
    /// next command, takes the app down.
    Gone,
}

impl Apps {
    /// Asks the app to end, and ends it by force after `timeout` (its own stop time where absent;
    /// [`Duration::MAX`]: never). It is not started again.
    ///
    /// # Errors
    /// Xen refuses. An app that does not run is no error.
    pub fn stop(&self, app: &App, timeout: Option<Duration>) -> Result<Outcome, AppsError> {
        self.stop_marked(app, timeout, folder::STOPPED)
    }

    /// As [`Apps::stop`] for every app, many at once: they end because the host does, and those whose
    /// policy says so start with it again. Returns those that could not be stopped.
    ///
    /// # Errors
    /// The list of apps cannot be read.
    pub fn stop_with_host(&self) -> Result<Vec<(String, AppsError)>, AppsError> {
        // The newest first: a database is likely older than what asks it.
        let apps = Mutex::new(self.list()?.into_iter());
        let next = || apps.lock().unwrap_or_else(PoisonError::into_inner).next();
        let stop_some = || {
            let mut failed = Vec::new();
            while let Some(app) = next() {
                if let Err(error) = self.stop_marked(&app, None, folder::ENDS_WITH_HOST) {
                    failed.push((app.record.name, error));
                }
            }
            failed
        };
        Ok(std::thread::scope(|scope| {
            let some: Vec<_> = (0..STOPS_AT_ONCE).map(|_| scope.spawn(stop_some)).collect();
            some.into_iter().flat_map(|some| some.join().unwrap_or_default()).collect()
        }))
    }

    fn stop_marked(
        &self,
        app: &App,
        timeout: Option<Duration>,
        mark: &str,
    ) -> Result<Outcome, AppsError> {
        let end = EndWatch::new(&self.folder(&app.record.id))?;
        let own = Duration::from_millis(app.record.process.stop_timeout_ms);
        let patience = timeout.unwrap_or(own).checked_add(STOP_GRACE);
        let deadline = patience.and_then(|patience| Instant::now().checked_add(patience));
        if let Some(domain) = self.await_domain(app, &end, deadline, mark)? {
            let store = Store::connect()?;
            if let Some(timeout) = timeout {
                let path = format!("{}/{}", domain.home(), nodes::STOP_TIMEOUT);
                let most_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                store.write(&path, &most_ms.to_string())?;
            }
            domains::shut_down(&store, domain)?;
            self.let_run(domain)?;
            if !end.wait(deadline)? || self.lives(domain)? {
                return self.kill_marked(app, mark);
            }
        }
        self.outcome(app, &end)
    }

    /// As [`Apps::stop`], for an app that is to be started again: one that goes when it ends stays until then.
    ///
    /// # Errors
    /// As there.
    pub fn stop_to_start(&self, app: &App, timeout: Option<Duration>) -> Result<App, AppsError> {
        let folder = self.folder(&app.record.id);
        if app.record.remove_on_exit {
            folder.mark(folder::KEPT)?;
        }
        if let Err(error) = self.stop(app, timeout) {
            return Err(error.and(folder.unmark(folder::KEPT)));
        }
        self.find(&app.record.id)
    }

    /// Sends the app a signal. One that ends it for certain, or that asks it to stop, also keeps
    /// it from being started again.
    ///
    /// SIGKILL leaves the guest time to write everything out; a guest that does not answer is
    /// destroyed then.
    ///
    /// # Errors
    /// It does not run, or its guest does not pass the signal on in time.
    pub fn signal(&self, app: &App, signal: i32) -> Result<(), AppsError> {
        let folder = self.folder(&app.record.id);
        let end = EndWatch::new(&folder)?;
        let stops = signal == KILL || signal == app.record.process.stop_signal;
        let domain = match stops {
            true => {
                let deadline = Instant::now().checked_add(ANSWER_TIME);
                self.await_domain(app, &end, deadline, folder::STOPPED)?
            }
            false => self.domain(app)?,
        };
        let Some(domain) = domain else {
            // One that waited to be started again has ended by this.
            return match stops && app.state.phase == Phase::Restarting {
                true => Ok(()),
                false => Err(AppsError::NotRunning(app.record.name.clone())),
            };
        };
        match (self.hand_over_signal(domain, &end, app, signal), signal) {
            (Ok(true), KILL)
                if end.wait(Instant::now().checked_add(STOP_GRACE))? && !self.lives(domain)? =>
            {
                Ok(())
            }
            // Whatever the guest makes of it.
            (_, KILL) => self.kill(app).map(drop),
            (Err(error), _) => Err(error),
            (Ok(true), _) => Ok(()),
            (Ok(false), _) => Err(AppsError::NoAnswer {
                name: app.record.name.clone(),
                seconds: ANSWER_TIME.as_secs(),
            }),
        }
    }

    /// Whether the domain is still there, though whoever was in charge of it is not.
    fn lives(&self, domain: AppDomain) -> Result<bool, AppsError> {
        Ok(self.domains().of_app(domain.domid(), domain.uuid())?.is_some())
    }

    /// Leaves the signal for the guest and waits until it was passed on; says whether it was, or
    /// the app ended, which comes to the same.
    fn hand_over_signal(
        &self,
        domain: AppDomain,
        end: &EndWatch,
        app: &App,
        signal: i32,
    ) -> Result<bool, AppsError> {
        // There is one place for it: the next sender waits for this one's answer.
        let path = self.folder(&app.record.id).path().to_owned();
        let failed = |source| files::FileError::Io { action: "lock", path, source };
        let _turn = File::open(self.folder(&app.record.id).path())
            .and_then(|folder| Ok(flock(&folder, FlockOperation::LockExclusive).map(|()| folder)?))
            .map_err(failed)?;
        let home = domain.home();
        let number = timestamp::now_ns();
        let store = Store::connect()?;
        let sent = format!("{home}/{}", nodes::SIGNAL_SENT);
        store.watch(&sent, &sent)?;
        store.write(&format!("{home}/{}", nodes::SIGNAL), &nodes::render_signal(number, signal))?;
        self.let_run(domain)?;
        let deadline = Instant::now() + ANSWER_TIME;
        loop {
            if store.read_untrusted(&sent)?.is_some_and(|text| text == number.to_string()) {
                return Ok(true);
            }
            if !end.lock.is_held()? || self.domain(app)?.is_none() {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            // The app's end is not seen by xenstore.
            store.wait_event(Some(left.min(Duration::from_millis(500))))?;
        }
    }

    /// The domain of an app that is to end, and by the mark is not started again from here on: one
    /// that is just being started, or waits for it, is waited for. `None` where it has ended.
    fn await_domain(
        &self,
        app: &App,
        end: &EndWatch,
        deadline: Option<Instant>,
        mark: &str,
    ) -> Result<Option<AppDomain>, AppsError> {
        let folder = self.folder(&app.record.id);
        loop {
            let Some(now) = self.read(&app.record.id)? else { return Ok(None) };
            if matches!(now.state.phase, Phase::Created | Phase::Exited) {
                return Ok(None);
            }
            folder.mark(mark)?;
            if let Some(domain) = self.domain(&now)? {
                return Ok(Some(domain));
            }
            // With nobody in charge nothing will come; the next command puts it right.
            let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if late || !end.lock.is_held()? {
                return Ok(None);
            }
            end.sleep(Duration::from_millis(500))?;
        }
    }

    /// Lets a domain run that is paused: a guest that is to answer must.
    fn let_run(&self, domain: AppDomain) -> Result<(), AppsError> {
        if self.domains().is_paused(domain)? {
            self.domains().unpause(domain)?;
        }
        Ok(())
    }

    /// Pauses the app: none of its processors runs until [`Apps::unpause`].
    ///
    /// # Errors
    /// It does not run, or is paused already.
    pub fn pause(&self, app: &App) -> Result<(), AppsError> {
        let domain = self.running_domain(app)?;
        match self.domains().is_paused(domain)? {
            true => Err(AppsError::Paused(app.record.name.clone())),
            false => Ok(self.domains().pause(domain)?),
        }
    }

    /// Lets a paused app go on.
    ///
    /// # Errors
    /// It does not run, or is not paused.
    pub fn unpause(&self, app: &App) -> Result<(), AppsError> {
        let domain = self.running_domain(app)?;
        match self.domains().is_paused(domain)? {
            true => Ok(self.domains().unpause(domain)?),
            false => Err(AppsError::NotPaused(app.record.name.clone())),
        }
    }

    /// How the domain of an app is that is noted as running; `None` for all other apps. Where Xen cannot
    /// be asked, the note counts.
    #[must_use]
    pub fn condition(&self, app: &App) -> Option<Condition> {
        let domid = app.state.domid.map(DomId).filter(|_| app.state.phase == Phase::Running)?;
        Some(match self.domains().of_app(domid, app.record.uuid) {
            Ok(None) => Condition::Gone,
            Ok(Some(domain)) if self.domains().is_paused(domain).unwrap_or_default() => {
                Condition::Paused
            }
            Ok(Some(_)) | Err(_) => Condition::Runs,
        })
    }

    pub(crate) fn running_domain(&self, app: &App) -> Result<AppDomain, AppsError> {
        let domain = self.domain(app)?;
        domain.ok_or_else(|| AppsError::NotRunning(app.record.name.clone()))
    }
}

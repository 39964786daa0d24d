//! Apps: created, started, asked about, stopped and removed.

use crate::launch::Launch;
use crate::record::{Outcome, Record, State};
use crate::settings::Settings;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// All apps of this machine.
pub struct Apps {
    folder: PathBuf,
    settings: Settings,
}

/// One app: its record, and its state at the time it was read.
#[derive(Clone, Debug)]
pub struct App {
    /// What it is.
    pub record: Record,
    /// What has become of it.
    pub state: State,
}

/// How long each step of a start took.
pub type Timings = Vec<(&'static str, Duration)>;

/// Why something could not be done with an app.
#[derive(Debug, thiserror::Error)]
pub enum AppsError {
    /// No app has this name or id.
    #[error("no app is named {0:?} and no id begins with it; see `launch ps -a`")]
    Unknown(String),
}

/// Something left behind by a killed process that was put right.
#[derive(Debug)]
pub enum Repair {}

/// What [`Follow::next`] brought.
#[derive(Debug)]
pub enum Followed {
    /// More of the log, as the app wrote it.
    Output(Vec<u8>),
    /// Nothing new within the time given.
    Nothing,
    /// The app has ended, everything is taken down, and all output was brought before.
    Ended(Outcome),
}

/// An app's log, followed.
#[derive(Debug)]
pub struct Follow {}

impl Follow {
    /// The next piece of output, or the end; waits for at most `timeout`.
    ///
    /// Returns early with [`Followed::Nothing`] when a signal arrives.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn next(&mut self, _timeout: Duration) -> Result<Followed, AppsError> {
        todo!()
    }
}

impl Apps {
    /// The apps kept under `state_dir` (`/var/lib/launch`).
    ///
    /// # Errors
    /// The folder cannot be made, or the network's state cannot be opened.
    pub fn open(
        state_dir: &Path,
        settings: &Settings,
        _network: &net::Settings,
    ) -> Result<Self, AppsError> {
        Ok(Self { folder: state_dir.join("domains"), settings: settings.clone() })
    }

    /// Puts right what killed processes left behind; cheap where there is nothing.
    ///
    /// # Errors
    /// The state folder cannot be read. What cannot be repaired is a [`Repair`] that says so.
    pub fn reconcile(&self) -> Result<Vec<Repair>, AppsError> {
        todo!()
    }

    /// Makes an app, which does not run yet.
    ///
    /// # Errors
    /// The name is taken, the launch makes no sense, or the disk is full; nothing is left then.
    pub fn create(&self, _launch: &Launch) -> Result<App, AppsError> {
        todo!()
    }

    /// Starts an app that does not run; returns when its domain runs and its monitor is there.
    ///
    /// # Errors
    /// It runs already, or its network or domain cannot be made; all of it is undone then.
    pub fn start(&self, _app: &mut App) -> Result<Timings, AppsError> {
        todo!()
    }

    /// The xl config of an app, ready for `xl create`; also in its folder as `domain.cfg`.
    ///
    /// # Errors
    /// A template cannot be rendered.
    pub fn config(&self, _app: &App) -> Result<String, AppsError> {
        todo!()
    }

    /// The app with this name, or whose id begins so.
    ///
    /// # Errors
    /// None has, or several have.
    pub fn find(&self, _name: &str) -> Result<App, AppsError> {
        todo!()
    }

    /// All apps, the newest first.
    ///
    /// # Errors
    /// The state folder cannot be read.
    pub fn list(&self) -> Result<Vec<App>, AppsError> {
        todo!()
    }

    /// Asks the app to end, and ends it by force after `timeout` (its own stop time where absent).
    ///
    /// # Errors
    /// Xen refuses. An app that does not run is no error.
    pub fn stop(&self, _app: &App, _timeout: Option<Duration>) -> Result<Outcome, AppsError> {
        todo!()
    }

    /// Ends the app at once.
    ///
    /// # Errors
    /// It does not run, or Xen refuses.
    pub fn kill(&self, _app: &App) -> Result<Outcome, AppsError> {
        todo!()
    }

    /// Waits until the app has ended and everything of it is taken down.
    ///
    /// # Errors
    /// It was never started.
    pub fn wait(&self, _app: &App) -> Result<Outcome, AppsError> {
        todo!()
    }

    /// Removes an app and its writable layer; a running one only with `force`.
    ///
    /// # Errors
    /// It runs, or its folder cannot be removed.
    pub fn remove(&self, _app: &App, _force: bool) -> Result<(), AppsError> {
        todo!()
    }

    /// The app's output from its first byte on, or only what is still to come.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub fn follow(&self, _app: &App, _from_start: bool) -> Result<Follow, AppsError> {
        todo!()
    }
}

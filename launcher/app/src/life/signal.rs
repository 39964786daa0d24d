//! Sends a signal to an app.

use crate::apps::{App, Apps};
use crate::domain::{self, lives};
use crate::error::AppsError;
use crate::guest::signal::{ANSWER_TIME, send_signal};
use crate::life::kill::kill;
use crate::life::stop::{STOP_GRACE, await_domain};
use crate::record::state::Phase;
use crate::store::end_watch::EndWatch;
use crate::store::folder;
use std::time::Instant;

/// The signal that an app can neither catch nor ignore.
const KILL: i32 = 9;

/// Sends a signal to the app. After SIGKILL or the app's stop signal, the app is not started again.
///
/// After SIGKILL the guest has time to write its data to disk; a guest that does not answer is destroyed.
///
/// # Errors
/// The app does not run, or its guest does not pass the signal on in time.
pub fn signal(apps: &Apps, app: &App, signal: i32) -> Result<(), AppsError> {
    let folder = apps.folder(&app.record.id);
    let end = EndWatch::new(&folder)?;
    let stops = signal == KILL || signal == app.record.process.stop_signal;
    let domain = match stops {
        true => {
            let deadline = Instant::now().checked_add(ANSWER_TIME);
            await_domain(apps, app, &end, deadline, folder::STOPPED)?
        }
        false => domain::domain(apps, app)?,
    };
    let Some(domain) = domain else {
        // The mark has ended an app that was waiting for a restart.
        return match stops && app.state.phase() == Phase::Restarting {
            true => Ok(()),
            false => Err(AppsError::NotRunning(app.record.name.clone())),
        };
    };
    match (send_signal(apps, domain, &end, app, signal), signal) {
        (Ok(true), KILL)
            if end.wait(Instant::now().checked_add(STOP_GRACE))? && !lives(apps, domain)? =>
        {
            Ok(())
        }
        // Even if the guest did not pass the signal on.
        (_, KILL) => kill(apps, app).map(drop),
        (Err(error), _) => Err(error),
        (Ok(true), _) => Ok(()),
        (Ok(false), _) => Err(AppsError::NoAnswer {
            name: app.record.name.clone(),
            seconds: ANSWER_TIME.as_secs(),
        }),
    }
}

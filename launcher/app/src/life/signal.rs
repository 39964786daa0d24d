//! Sending an app a signal.

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

/// The signal that no app can refuse.
const KILL: i32 = 9;

/// Sends the app a signal. One that ends it for certain, or that asks it to stop, also keeps
/// it from being started again.
///
/// SIGKILL leaves the guest time to write everything out; a guest that does not answer is
/// destroyed then.
///
/// # Errors
/// It does not run, or its guest does not pass the signal on in time.
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
        // One that waited to be started again has ended by this.
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
        // Whatever the guest makes of it.
        (_, KILL) => kill(apps, app).map(drop),
        (Err(error), _) => Err(error),
        (Ok(true), _) => Ok(()),
        (Ok(false), _) => Err(AppsError::NoAnswer {
            name: app.record.name.clone(),
            seconds: ANSWER_TIME.as_secs(),
        }),
    }
}

//! Passes a signal to an app through its guest.

use crate::apps::{App, Apps};
use crate::domain::{self, let_run};
use crate::error::AppsError;
use crate::log::timestamp;
use crate::store::end_watch::EndWatch;
use contract::store as nodes;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::time::{Duration, Instant};
use toolstack::AppDomain;
use xen::store::Store;

/// How long a guest may take to pass a signal on; a booting guest needs longest.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Writes the signal into xenstore and waits until the guest has passed it on. Returns true if the guest did so or
/// the app has ended.
pub(crate) fn send_signal(
    apps: &Apps,
    domain: AppDomain,
    end: &EndWatch,
    app: &App,
    signal: i32,
) -> Result<bool, AppsError> {
    // One node holds the signal, so the next sender must wait for this answer.
    let path = apps.folder(&app.record.id).path().to_owned();
    let failed = |source| files::FileError::Io { action: "lock", path, source };
    let _turn = File::open(apps.folder(&app.record.id).path())
        .and_then(|folder| Ok(flock(&folder, FlockOperation::LockExclusive).map(|()| folder)?))
        .map_err(failed)?;
    let home = domain.home();
    let number = timestamp::now_ns();
    let store = Store::connect()?;
    let sent = format!("{home}/{}", nodes::SIGNAL_SENT);
    store.watch(&sent, &sent)?;
    store.write(&format!("{home}/{}", nodes::SIGNAL), &nodes::render_signal(number, signal))?;
    let_run(apps, domain)?;
    let deadline = Instant::now() + ANSWER_TIME;
    loop {
        if store.read_untrusted(&sent)?.is_some_and(|text| text == number.to_string()) {
            return Ok(true);
        }
        if !end.lock.is_held()? || domain::domain(apps, app)?.is_none() {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        // Xenstore does not report the app's end, so look regularly.
        store.wait_event(Some(left.min(Duration::from_millis(500))))?;
    }
}

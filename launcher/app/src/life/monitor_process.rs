//! Starts the monitor of an app.

use crate::apps::Apps;
use crate::error::AppsError;
use crate::life::monitor_start::MonitorStart;
use crate::life::sigterm::IgnoreSigterm;
use crate::store::folder;
use crate::store::locked::Locked;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Starts the app's monitor and shares the lock with it. The monitor begins its work after `delay`.
///
/// # Errors
/// The program cannot be run.
pub(crate) fn start_monitor(apps: &Apps, app: &Locked, delay: Duration) -> Result<(), AppsError> {
    let share = app.lock.share()?;
    let start = || -> io::Result<()> {
        let words = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(app.folder.file(folder::MONITOR_LOG))?;
        let start = MonitorStart {
            id: app.record.id.clone(),
            state_dir: apps.state_dir.clone(),
            settings: apps.settings.clone(),
            network: apps.network_settings.clone(),
            launcher: std::env::current_exe()?,
            delay_ms: u64::try_from(delay.as_millis()).unwrap_or_default(),
        };
        let _guard = IgnoreSigterm::new();
        Command::new(&apps.settings.monitor)
            .arg0("launch-monitor")
            .arg(serde_json::to_string(&start)?)
            .stdin(Stdio::from(share))
            .stdout(Stdio::null())
            .stderr(Stdio::from(words))
            .spawn()
            .map(drop)
    };
    start().map_err(|source| AppsError::Monitor { name: app.record.name.clone(), source })
}

//! Docker's words for an app's state and network.

use app::{App, Apps, Condition, Phase};

/// The name of the app's network, in the form of `--network`.
pub(crate) fn network(app: &App) -> String {
    match &app.record.network {
        app::Network::Launch { .. } => "default".into(),
        app::Network::Bridge { bridge, .. } => format!("bridge={bridge}"),
        app::Network::None => "none".into(),
    }
}

/// Docker's word for the app's state.
pub(crate) fn state_word(apps: &Apps, app: &App) -> &'static str {
    match app.state.phase() {
        Phase::Created => "created",
        Phase::Starting => "starting",
        Phase::Running => match app::condition(apps, app) {
            Some(Condition::Paused) => "paused",
            Some(Condition::Gone) => "dead",
            Some(Condition::Runs) | None => "running",
        },
        Phase::Restarting => "restarting",
        Phase::Exited => "exited",
    }
}

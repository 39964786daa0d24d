//! Docker's words for an app's state and network.

use domain::{App, Apps, Condition, Phase};

/// The name of the app's network, as `--network` takes it.
pub(crate) fn network(app: &App) -> String {
    match &app.record.network {
        domain::record::Network::Launch { .. } => "default".into(),
        domain::record::Network::Bridge { bridge, .. } => format!("bridge={bridge}"),
        domain::record::Network::None => "none".into(),
    }
}

/// Docker's word for where an app is in its life.
pub(crate) fn state_word(apps: &Apps, app: &App) -> &'static str {
    match app.state.phase {
        Phase::Created => "created",
        Phase::Starting => "starting",
        Phase::Running => match apps.condition(app) {
            Some(Condition::Paused) => "paused",
            Some(Condition::Gone) => "dead",
            Some(Condition::Runs) | None => "running",
        },
        Phase::Restarting => "restarting",
        Phase::Exited => "exited",
    }
}

//! Renders the xl config of an app.

use crate::apps::{App, Apps};
use crate::error::AppsError;
use crate::guest::nodes::guest_nodes;
use crate::network::connect;
use crate::record::state::State;
use crate::request::domain::domain_spec;

/// Renders the xl config of an app that does not run, ready for `xl create`, and writes it into the app's folder as
/// `domain.cfg`. The app keeps the address in it until it is removed.
///
/// # Errors
/// The app runs, the network refuses, or a template cannot be rendered.
pub fn config(apps: &Apps, app: &App) -> Result<String, AppsError> {
    let State::Created { .. } = app.state else {
        return Err(AppsError::Running(app.record.name.clone()));
    };
    let folder = apps.folder(&app.record.id);
    let link = connect(apps, &app.record)?;
    let address = link.as_ref().map(|link| link.lease.address);
    folder.write_state(&State::Created { address })?;
    let nodes = guest_nodes(apps, &folder, &app.record, link.as_ref())?;
    let spec = domain_spec(&app.record, folder.path(), link.as_ref());
    Ok(apps.toolstack().write_config(&spec, &nodes)?)
}

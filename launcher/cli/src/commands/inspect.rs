//! `launch inspect`: everything known about apps or images, as JSON.

use crate::here::{Here, print_json};
use anyhow::Result;
use serde_json::{Value, json};
use std::process::ExitCode;

/// What to show.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names or beginnings of ids of apps, or names or digests of images
    #[arg(required = true)]
    names: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let here = Here::new()?;
    let found = args.names.iter().map(|name| find(&here, name)).collect::<Result<Vec<_>>>()?;
    print_json(&found)?;
    Ok(ExitCode::SUCCESS)
}

/// The app called `name`, or else the image; where there is neither, it is an app that is missed.
fn find(here: &Here, name: &str) -> Result<Value> {
    let missing = match here.apps()?.find(name) {
        Ok(app) => return Ok(json!({ "app": app.record, "state": app.state })),
        Err(error) => error,
    };
    // A name that cannot be an image's is no image; the app's error says more.
    match here.images()?.find(name) {
        Ok(Some(image)) => Ok(json!({
            "digest": image.digest,
            "names": image.names,
            "disk": image.disk,
            "disk_bytes": image.disk_bytes,
            "created_unix": image.created_unix,
            "config": image.config,
        })),
        _ => Err(missing.into()),
    }
}

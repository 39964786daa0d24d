//! The process of an app, by Docker's rules for merging an image with the user's flags.

use crate::request::error::ResolveError;
use crate::request::image_request;
use crate::request::run_request::RunRequest;
use crate::request::signal::{self, parse_signal};
use crate::settings::Settings;
use contract::{Process, Untrusted};
use std::collections::HashMap;

/// Docker's default for `PATH`.
pub(crate) const DEFAULT_PATH: &str =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The process that a request asks for.
///
/// # Errors
/// A part of the request cannot be fulfilled; the error names it.
pub(crate) fn process(
    request: &RunRequest,
    hostname: &str,
    settings: &Settings,
) -> Result<Process, ResolveError> {
    let image = &request.image.config;
    let args = merge_args(
        (&raw(&image.entrypoint), &raw(&image.cmd)),
        (request.entrypoint.as_deref(), &request.args),
    );
    if args.first().is_none_or(String::is_empty) {
        return Err(ResolveError::NoCommand(request.image_name.clone()));
    }
    let mut env = merge_env(hostname, &raw(&image.env), &request.env);
    if request.terminal {
        add_term(&mut env);
    }
    if let Some(entry) = env.iter().find(|entry| entry.starts_with('=')) {
        return Err(ResolveError::Env(entry.clone()));
    }
    // An empty one is what a script's unset variable leaves.
    let cwd = match request.cwd.as_deref().filter(|cwd| !cwd.is_empty()) {
        Some(cwd) if !cwd.starts_with('/') => return Err(ResolveError::Cwd(cwd.to_owned())),
        Some(cwd) => cwd.to_owned(),
        // An image's working directory may be relative; it then starts at the root.
        None => format!("/{}", image.working_dir.raw().trim_start_matches('/')),
    };
    let user = request.user.as_deref().unwrap_or(image.user.raw()).to_owned();
    for (what, values) in [
        ("argument", &args),
        ("environment variable", &env),
        ("working directory", &vec![cwd.clone()]),
        ("user", &vec![user.clone()]),
    ] {
        if let Some(value) = values.iter().find(|value| value.contains('\0')) {
            return Err(ResolveError::Nul { what, value: value.clone() });
        }
    }
    let of_image = image.stop_signal.as_ref().map(Untrusted::raw);
    let stop_signal = request.stop_signal.as_deref().or(of_image);
    let stop_timeout_s = request
        .stop_timeout_s
        .or_else(|| image_request::stop_timeout_s(image, settings))
        .unwrap_or(settings.stop_timeout_s);
    Ok(Process {
        args,
        env,
        cwd,
        user,
        stop_signal: stop_signal.map_or(Ok(signal::TERM), parse_signal)?,
        stop_timeout_ms: stop_timeout_s.saturating_mul(1000),
        stdin: request.stdin,
        terminal: request.terminal,
        init: request.init,
        limits: request.limits.clone(),
    })
}

/// An image's texts unchanged, for the guest.
fn raw(texts: &[Untrusted]) -> Vec<String> {
    texts.iter().map(|text| text.raw().to_owned()).collect()
}

/// Docker's rules: the user's entrypoint drops the image's command, and the user's arguments replace it.
fn merge_args(
    (image_entrypoint, image_cmd): (&[String], &[String]),
    (entrypoint, args): (Option<&[String]>, &[String]),
) -> Vec<String> {
    let (entrypoint, cmd) = match entrypoint {
        Some([empty]) if empty.is_empty() => (&[][..], args),
        Some(entrypoint) => (entrypoint, args),
        None if args.is_empty() => (image_entrypoint, image_cmd),
        None => (image_entrypoint, args),
    };
    [entrypoint, cmd].concat()
}

/// Sets `TERM` as Docker does for a terminal, unless it is set already.
pub(crate) fn add_term(env: &mut Vec<String>) {
    if !env.iter().any(|entry| entry.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
}

/// Later entries replace earlier entries of the same name, in place; an entry without `=` removes the variable.
pub(crate) fn merge_env(hostname: &str, image: &[String], user: &[String]) -> Vec<String> {
    let first = [DEFAULT_PATH.to_owned(), format!("HOSTNAME={hostname}")];
    let mut merged: Vec<Option<&String>> = vec![];
    // The index of each name, because there may be tens of thousands.
    let mut places: HashMap<&str, usize> = HashMap::new();
    for entry in first.iter().chain(image).chain(user) {
        let (name, value) = match entry.split_once('=') {
            Some((name, _)) => (name, Some(entry)),
            None => (entry.as_str(), None),
        };
        match (places.get(name), value) {
            (Some(index), Some(_)) => merged[*index] = value,
            (Some(index), None) => {
                merged[*index] = None;
                places.remove(name);
            }
            (None, Some(_)) => {
                places.insert(name, merged.len());
                merged.push(value);
            }
            (None, None) => {}
        }
    }
    merged.into_iter().flatten().cloned().collect()
}

//! `launch inspect`: everything known about apps or images, as JSON.
//!
//! Each object has Docker's fields under the same names, as far as they make sense for a domain. Lower-case fields are
//! `launch`'s own: `app` and `state`, or the image's `config`.

use super::app::describe::{network, state_word};
use crate::failure;
use crate::here::Here;
use crate::output::{escape_json, print, print_json};
use crate::template::Template;
use anyhow::Result;
use app::{App, Apps, Phase, timestamp};
use serde_json::{Map, Value, json};
use std::process::ExitCode;

/// The objects to show.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// json, or a Go template such as '{{.State.Status}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only apps (or container, as in Docker), or only images
    #[arg(long = "type", value_name = "app|image")]
    kind: Option<Kind>,
    /// Names or beginnings of names or ids of apps, or names or digests of images
    #[arg(required = true)]
    names: Vec<String>,
}

/// The kind of object that a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    #[value(alias = "container")]
    App,
    Image,
}

/// The images to show.
#[derive(Debug, clap::Args)]
pub(crate) struct ImageArgs {
    /// json, or a Go template such as '{{.Architecture}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Names or digests of images
    #[arg(required = true)]
    names: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    show(args.format.as_deref(), &args.names, args.kind)
}

/// Runs `launch image inspect`.
pub(crate) fn run_images(args: &ImageArgs) -> Result<ExitCode> {
    show(args.format.as_deref(), &args.names, Some(Kind::Image))
}

/// Shows the objects that exist and reports the others, as Docker does.
fn show(format: Option<&str>, names: &[String], kind: Option<Kind>) -> Result<ExitCode> {
    let template = format.filter(|format| *format != "json").map(Template::parse).transpose()?;
    let here = Here::new()?;
    let (mut found, mut code) = (Vec::new(), ExitCode::SUCCESS);
    for name in names {
        match find(&here, name, kind) {
            Ok(object) => found.push(object),
            Err(error) => code = failure::report(&error),
        }
    }
    match (template, format) {
        (Some(template), _) => {
            for object in &found {
                print(&format!("{}\n", template.render(object)?))?;
            }
        }
        (None, Some(_)) => print(&format!("{}\n", escape_json(&serde_json::to_string(&found)?)))?,
        // If nothing is found, prints only the line on stderr.
        (None, None) if found.is_empty() => {}
        (None, None) => print_json(&found)?,
    }
    Ok(code)
}

/// The app called `name`, or else the image. If neither exists, the error names an app.
fn find(here: &Here, name: &str, kind: Option<Kind>) -> Result<Value> {
    let missing = if kind == Some(Kind::Image) {
        image::StoreError::NotFound(name.to_owned()).into()
    } else {
        let apps = here.apps()?;
        match apps.find(name) {
            Ok(app) => return Ok(about_app(&apps, &app)),
            Err(error) => anyhow::Error::from(error),
        }
    };
    if kind == Some(Kind::App) {
        return Err(missing);
    }
    // If the text is not a valid image name, the error about the app says more.
    match here.images()?.find(name) {
        Ok(Some(image)) => Ok(about_image(&image)),
        _ => Err(missing),
    }
}

fn about_app(apps: &Apps, app: &App) -> Value {
    let (record, state) = (&app.record, &app.state);
    let time = |unix_ms: Option<u64>| match unix_ms {
        Some(ms) => timestamp::render(ms.saturating_mul(1_000_000)),
        // Docker's form of a time that has not come yet.
        None => "0001-01-01T00:00:00Z".into(),
    };
    let outcome = state.outcome();
    let word = state_word(apps, app);
    let mac = record.mac.map(|mac| mac.to_string());
    let most = match record.restart {
        app::RestartPolicy::OnFailure { at_most } => at_most.unwrap_or_default(),
        _ => 0,
    };
    json!({
        "Id": record.id,
        "Name": record.name,
        "Created": time(Some(record.created_unix_ms)),
        "Image": record.image_digest,
        "Path": record.process.args.first(),
        "Args": record.process.args.get(1..),
        "RestartCount": state.restarts(),
        "State": {
            "Status": word,
            "Running": matches!(state.phase(), Phase::Running | Phase::Restarting),
            "Paused": word == "paused",
            "Restarting": state.phase() == Phase::Restarting,
            "OOMKilled": outcome.is_some_and(|outcome| outcome.oom_killed),
            "ExitCode": outcome.map_or(0, |outcome| outcome.code()),
            "Error": outcome.and_then(|outcome| outcome.message.clone()).unwrap_or_default(),
            "StartedAt": time(state.started_unix_ms()),
            "FinishedAt": time(state.finished_unix_ms()),
        },
        "Config": {
            "Image": record.image,
            "Hostname": record.hostname,
            "User": record.process.user,
            "Env": record.process.env,
            "Cmd": record.process.args,
            "WorkingDir": record.process.cwd,
            "Labels": record.labels,
            "StopSignal": record.process.stop_signal.to_string(),
            "StopTimeout": record.process.stop_timeout_ms / 1000,
        },
        "HostConfig": {
            "Memory": u64::from(record.shape.memory_mib) << 20,
            "NanoCpus": u64::from(record.schedule.cap()) * 10_000_000,
            "CpuWeight": record.schedule.weight(),
            "RestartPolicy": { "Name": record.restart.name(), "MaximumRetryCount": most },
            "AutoRemove": record.remove_on_exit,
            "Init": record.process.init,
            "Sysctls": sysctls(app),
            "ReadonlyRootfs": record.writable == app::WritableChoice::Nothing,
            "NetworkMode": network(app),
            "Dns": record.dns,
            "DnsSearch": record.dns_search,
            "PortBindings": ports(app, true),
        },
        "NetworkSettings": {
            "IPAddress": state.address().map(|address| address.to_string()).unwrap_or_default(),
            "MacAddress": mac.unwrap_or_default(),
            "Ports": ports(app, state.phase() == Phase::Running),
        },
        "app": record,
        "state": state,
    })
}

/// `{"net.core.somaxconn": "1024"}`.
fn sysctls(app: &App) -> Map<String, Value> {
    let sysctls = app.record.sysctls.iter();
    sysctls.map(|sysctl| (sysctl.name.clone(), sysctl.value.clone().into())).collect()
}

/// `{"80/tcp": [{"HostIp": …, "HostPort": "8080"}]}`.
fn ports(app: &App, bound: bool) -> Value {
    let mut ports = Map::new();
    for publish in app.record.publish.iter().filter(|_| bound) {
        for offset in 0..publish.count {
            let address = publish.address.map_or("0.0.0.0".into(), |address| address.to_string());
            let binding = json!({
                "HostIp": address,
                "HostPort": (publish.host + offset).to_string(),
            });
            let guest = format!("{}/{}", publish.guest + offset, publish.protocol);
            if let Value::Array(all) = ports.entry(guest).or_insert_with(|| json!([])) {
                all.push(binding);
            }
        }
    }
    ports.into()
}

fn about_image(image: &image::Image) -> Value {
    let config = &image.config;
    json!({
        "Id": image.digest,
        "RepoTags": image.names,
        "Created": config.created,
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": image.disk_bytes,
        "Config": {
            "User": config.user,
            "Env": config.env,
            "Entrypoint": config.entrypoint,
            "Cmd": config.cmd,
            "WorkingDir": config.working_dir,
            "Labels": config.labels,
            "StopSignal": config.stop_signal,
            "Volumes": config.volumes,
            "ExposedPorts": config.exposed_ports,
        },
        "digest": image.digest,
        "names": image.names,
        "disk": image.disk,
        "disk_bytes": image.disk_bytes,
        "created_unix": image.created_unix,
        "config": config,
    })
}

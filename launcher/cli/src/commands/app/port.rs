//! `launch port`: which ports of this machine lead to an app.

use crate::here::Here;
use crate::output::print;
use anyhow::{Result, bail};
use app::Phase;
use std::process::ExitCode;

/// The app, and which of its ports.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The app's name, or the beginning of its name or id
    app: String,
    /// Only this port of the app
    #[arg(value_name = "PORT[/tcp|/udp]")]
    port: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let apps = Here::new()?.apps()?;
    let app = apps.find(&args.app)?;
    let wanted = args.port.as_deref().map(parse_port).transpose()?;
    let mut lines = String::new();
    // An app that does not run has no ports.
    let up = matches!(app.state.phase(), Phase::Running | Phase::Starting);
    for publish in app.record.publish.iter().filter(|_| up) {
        for offset in 0..publish.count {
            let (guest, host) = (publish.guest + offset, publish.host + offset);
            let guest = (guest, publish.protocol.to_string());
            let address = publish.address.map_or("0.0.0.0".into(), |address| address.to_string());
            match &wanted {
                None => {
                    lines.push_str(&format!("{}/{} -> {address}:{host}\n", guest.0, guest.1));
                }
                Some(wanted) if *wanted == guest => lines.push_str(&format!("{address}:{host}\n")),
                Some(_) => {}
            }
        }
    }
    match (wanted, lines.is_empty()) {
        (Some((port, protocol)), true) => {
            bail!("no public port '{port}/{protocol}' published for {}", app.record.name)
        }
        _ => print(&lines)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn parse_port(text: &str) -> Result<(u16, String)> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    match (port.parse::<u16>(), protocol) {
        (Ok(port), "tcp" | "udp") if port > 0 => Ok((port, protocol.to_owned())),
        _ => bail!(
            "{text:?} is not a valid port; write a number from 1 to 65535, and /udp for a UDP port"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_tcp_unless_it_is_said() {
        assert_eq!(parse_port("80").unwrap(), (80, "tcp".into()));
        assert_eq!(parse_port("53/udp").unwrap(), (53, "udp".into()));
        for text in ["", "0", "http", "80/sctp", "65536", "80/tcp/udp"] {
            let error = parse_port(text).unwrap_err().to_string();
            assert!(error.contains("write a number from 1 to 65535"), "{error}");
        }
    }
}

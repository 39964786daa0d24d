//! `launch logs`: show an app's output.

use crate::here::Here;
use crate::output::say;
use anyhow::{Context, Result, bail};
use app::{Entry, Followed, LogFilter, Stream, timestamp};
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::time::Duration;

const CANNOT_WRITE: &str = "cannot write the app's output";

/// The app, and which part of its output.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Continue until the app ends
    #[arg(short, long)]
    follow: bool,
    /// Only the last N lines of the existing output, or all
    #[arg(short = 'n', long, value_name = "N", default_value = "all", allow_hyphen_values = true)]
    tail: String,
    /// Only output from this time on: a time (2026-11-25T13:00:00Z), seconds since 1970, or a time
    /// ago (90s, 10m, 1h30m)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only output until this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Show when each line was written
    #[arg(short, long)]
    timestamps: bool,
    /// The app's name or the beginning of its id
    app: String,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let part = LogFilter {
        tail: parse_tail(&args.tail)?,
        since_ns: args.since.as_deref().map(|text| parse_time("--since", text)).transpose()?,
        until_ns: args.until.as_deref().map(|text| parse_time("--until", text)).transpose()?,
    };
    let apps = Here::new()?.apps()?;
    let mut follow = app::follow(&apps, &apps.find(&args.app)?, part)?;
    let mut output = Output::new(args.timestamps);
    let mut nothing = true;
    // Without --follow, shows only the existing output.
    let patience = if args.follow { Duration::from_secs(3600) } else { Duration::ZERO };
    loop {
        match follow.next(patience)? {
            Followed::Output(entries) => {
                nothing = false;
                output.write(&entries)?;
            }
            Followed::Gap => tell_gap(),
            Followed::Nothing if args.follow => {}
            Followed::Nothing => return Ok(ExitCode::SUCCESS),
            Followed::Ended(outcome) => {
                // An app that never ran has written nothing that says why.
                if let Some(message) = outcome.message.filter(|_| nothing) {
                    say(message);
                }
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

/// Says that output is missing because the reader of this command is slow.
pub(crate) fn tell_gap() {
    say(
        "some output may be missing here: it was read more slowly than the app wrote it; a larger \
         log_mib in [domain] of /etc/launch/config.toml keeps more",
    );
}

/// Writes an app's output to this process's own streams.
pub(crate) struct Output {
    timestamps: bool,
    /// Whether the next byte of each stream begins a line.
    at_start: [bool; 2],
}

impl Output {
    /// With `timestamps`, the time precedes each line.
    pub(crate) fn new(timestamps: bool) -> Self {
        Self { timestamps, at_start: [true, true] }
    }

    /// Writes the entries and flushes.
    ///
    /// # Errors
    /// A stream is closed.
    pub(crate) fn write(&mut self, entries: &[Entry]) -> Result<()> {
        // Buffered, because the streams would make one system call per line.
        let mut out = BufWriter::new(io::stdout().lock());
        let mut err = BufWriter::new(io::stderr().lock());
        for entry in entries {
            // Both streams may be one terminal, so their lines stay in order.
            match entry.stream {
                Stream::Stdout => err.flush().and_then(|()| self.write_entry(&mut out, 0, entry)),
                Stream::Stderr => out.flush().and_then(|()| self.write_entry(&mut err, 1, entry)),
            }
            .context(CANNOT_WRITE)?;
        }
        out.flush().and_then(|()| err.flush()).context(CANNOT_WRITE)
    }

    fn write_entry(&mut self, to: &mut impl Write, stream: usize, entry: &Entry) -> io::Result<()> {
        if self.timestamps && self.at_start[stream] {
            write!(to, "{} ", timestamp::render(entry.unix_ns))?;
        }
        self.at_start[stream] = entry.ends_line();
        to.write_all(&entry.bytes)
    }
}

/// Parses as Docker does: all, or a number; a negative number also means all.
fn parse_tail(text: &str) -> Result<Option<usize>> {
    if text == "all" {
        return Ok(None);
    }
    match text.parse::<i64>() {
        Ok(number) => Ok(usize::try_from(number).ok()),
        Err(_) => bail!("--tail {text:?} is not a valid number of lines; write a number or all"),
    }
}

/// Parses a point in time, seconds since 1970, or a time ago. Returns nanoseconds since 1970.
fn parse_time(flag: &str, text: &str) -> Result<u64> {
    let ago = |while_ns: u64| timestamp::now_ns().saturating_sub(while_ns);
    let found = timestamp::parse(text).or_else(|| parse_while(text).map(ago)).or_else(|| {
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(seconds) || !digits(fraction) || fraction.len() > 9 {
            return None;
        }
        let fraction: u64 = format!("{fraction:0<9}").parse().ok()?;
        seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(fraction)
    });
    found.with_context(|| {
        format!(
            "{flag} {text:?} is not a valid time; write e.g. 2026-11-25T13:00:00Z, 1795611600, 10m or 1h30m"
        )
    })
}

/// Parses Go's durations: `90s`, `1h30m`, `1.5h`, `300ms`. Returns nanoseconds.
fn parse_while(text: &str) -> Option<u64> {
    let mut total = 0f64;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number * unit;
        rest = &rest[end..];
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded")]
    (!text.is_empty() && total < 1e19).then_some(total as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_each_of_dockers_ways() {
        assert_eq!(parse_time("--since", "1795611600.5").unwrap(), 1_795_611_600_500_000_000);
        assert_eq!(
            parse_time("--since", "2026-11-25T13:00:00Z").unwrap(),
            1_795_611_600_000_000_000
        );
        let since = parse_time("--since", "1h30m").unwrap();
        assert!(since + 5_400_000_000_000 <= timestamp::now_ns());
        assert_eq!(parse_while("1.5h"), Some(5_400_000_000_000));
        for text in ["", "yesterday", "10", "10x", "m", "-5m", "1h m"] {
            assert_eq!(parse_while(text), None, "{text:?}");
        }
        for text in ["", "yesterday", "10x", "-5"] {
            let error = parse_time("--since", text).unwrap_err().to_string();
            assert!(error.starts_with("--since"), "{error}");
        }
    }

    #[test]
    fn a_tail_is_a_number_or_all() {
        assert_eq!(parse_tail("all").unwrap(), None);
        assert_eq!(parse_tail("-1").unwrap(), None);
        assert_eq!(parse_tail("7").unwrap(), Some(7));
        assert!(parse_tail("few").unwrap_err().to_string().contains("number of lines"));
    }
}

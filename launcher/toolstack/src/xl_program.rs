//! Runs the program `xl`, and parses its output.

use crate::error::ToolstackError;
use crate::spec::Uuid;
use crate::state::DomainState;
use contract::untrusted::printable;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use xen::store::Store;
use xen::{DomId, ShutdownReason};

/// The path of `xl` that root's `PATH` may lack.
const USUAL_PLACE: &str = "/usr/sbin/xl";
/// The most characters of `xl`'s output in an error.
const MAX_CAUSE_CHARS: usize = 300;

pub(crate) fn run_xl<I, S>(args: I, input: Option<File>) -> Result<Output, ToolstackError>
where
    I: IntoIterator<Item = S> + Clone,
    S: AsRef<OsStr>,
{
    for program in ["xl", USUAL_PLACE] {
        let failed = |source| ToolstackError::Run { program: program.into(), source };
        let input = input.as_ref().map(File::try_clone).transpose().map_err(failed)?;
        let output = Command::new(program)
            .args(args.clone())
            .env("LC_ALL", "C")
            .stdin(input.map_or_else(Stdio::null, Stdio::from))
            // In a process group of its own, so that Ctrl-C does not reach `xl` in the middle of a build.
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .and_then(Child::wait_with_output);
        match output {
            Ok(output) => return Ok(output),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Err(ToolstackError::NoXl)
}

/// The message of `xl` and libxl, in one line: that of the hotplug program if there is one, or else the first error.
pub(crate) fn cause(words: &str, output: &Output) -> String {
    let plain = |line: &str| -> String {
        let line = strip_origin(line);
        printable(line).chars().take(MAX_CAUSE_CHARS).collect()
    };
    let script = words.lines().find_map(|line| line.split_once(" script: ").map(|(_, rest)| rest));
    let said = script
        .or_else(|| words.lines().find(|line| line.contains("error:")))
        .or_else(|| words.lines().rfind(|line| !line.trim().is_empty()));
    said.map_or_else(|| format!("xl ended with {}", output.status), plain)
}

/// Takes the message from `libxl: error: libxl_create.c:1700:domcreate_launch_dm: Domain 5:unable to …`.
fn strip_origin(line: &str) -> &str {
    let Some((_, rest)) = line.split_once("error: ") else { return line.trim() };
    let mut rest = rest;
    if let Some((origin, message)) = rest.split_once(": ") {
        if origin.contains(".c:") {
            rest = message;
        }
    }
    if let Some((domain, message)) = rest.split_once(':') {
        if domain.strip_prefix("Domain ").is_some_and(|id| id.bytes().all(|b| b.is_ascii_digit())) {
            rest = message;
        }
    }
    rest.trim()
}

/// The state of a domain, as far as `xl` shows it.
pub(crate) fn state(domid: DomId, uuid: Uuid) -> Result<DomainState, ToolstackError> {
    let home = Store::connect()?.read_optional(&format!("/local/domain/{domid}/vm"))?;
    if home != Some(format!("/vm/{uuid}")) {
        return Ok(DomainState::Gone);
    }
    let output = run_xl(["list", &domid.to_string()], None)?;
    Ok(parse_xl_list(&String::from_utf8_lossy(&output.stdout)))
}

/// Whether `xl` shows the domain as paused.
pub(crate) fn is_paused(domid: DomId) -> Result<bool, ToolstackError> {
    let output = run_xl(["list", &domid.to_string()], None)?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let flags = listed.lines().nth(1).and_then(|line| line.split_whitespace().rev().nth(1));
    Ok(flags.is_some_and(|flags| flags.as_bytes().get(2) == Some(&b'p')))
}

/// Runs `xl ACTION DOMID`.
pub(crate) fn run(action: &'static str, domid: DomId) -> Result<(), ToolstackError> {
    let output = run_xl([action, &domid.to_string()], None)?;
    if output.status.success() {
        return Ok(());
    }
    let cause = cause(&String::from_utf8_lossy(&output.stderr), &output);
    Err(ToolstackError::Xl { action, domain: domid.to_string(), cause })
}

/// Runs `xl sched-credit2`; credit2 is Xen's usual scheduler.
pub(crate) fn set_schedule(domid: DomId, weight: u16, cap: u16) -> Result<(), ToolstackError> {
    let (domain, weight, cap) = (domid.to_string(), weight.to_string(), cap.to_string());
    let output = run_xl(["sched-credit2", "-d", &domain, "-w", &weight, "-c", &cap], None)?;
    if output.status.success() {
        return Ok(());
    }
    let cause = cause(&String::from_utf8_lossy(&output.stderr), &output);
    Err(ToolstackError::Xl { action: "schedule", domain, cause })
}

/// Parses the state column of `xl list N`: `rbpsSd`. The fifth character is the reason, one of `-rscwS`
/// (`tools/xl/xl_info.c`, `list_domains`).
fn parse_xl_list(text: &str) -> DomainState {
    // From the right, because a name may contain spaces.
    let flags = text.lines().nth(1).and_then(|line| line.split_whitespace().rev().nth(1));
    let Some(&[_, _, _, shut_down, why, dying]) =
        flags.and_then(|flags| flags.as_bytes().first_chunk::<6>())
    else {
        return DomainState::Gone;
    };
    if dying == b'd' {
        return DomainState::Gone;
    }
    if shut_down != b's' {
        return DomainState::Alive;
    }
    DomainState::ShutDown(match why {
        b'-' => ShutdownReason::PowerOff,
        b'r' => ShutdownReason::Reboot,
        b's' => ShutdownReason::Suspend,
        b'c' => ShutdownReason::Crash,
        b'w' => ShutdownReason::Watchdog,
        _ => ShutdownReason::SoftReset,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn said(words: &str) -> String {
        let output = Output { status: ExitStatus::from_raw(256), stdout: vec![], stderr: vec![] };
        cause(words, &output)
    }

    #[test]
    fn the_hotplug_programs_words_come_first() {
        let words = "libxl: error: libxl_exec.c:117:libxl_report_child_exitstatus: /usr/lib/launch/hotplug add [77] exited with error status 1\n\
            libxl: error: libxl_device.c:1294:device_hotplug_child_death_cb: script: cannot open disk /x: No such file or directory\n\
            libxl: error: libxl_create.c:1921:domcreate_attach_devices: Domain 3:unable to add vbd devices\n";
        assert_eq!(said(words), "cannot open disk /x: No such file or directory");
    }

    #[test]
    fn libxls_first_error_is_told_without_its_origin() {
        let words = "xc: notice: whatever\n\
            libxl: error: libxl_create.c:1921:domcreate_attach_devices: Domain 3:unable to add vif devices\n\
            libxl: error: libxl_domain.c:1183:libxl__destroy_domid: Domain 3:Non-existent domain\n";
        assert_eq!(said(words), "unable to add vif devices");
        assert_eq!(
            said("domain config: line 3: bad\x1b[2J thing\n"),
            "domain config: line 3: bad\u{fffd}[2J thing"
        );
    }

    #[test]
    fn a_silent_failure_is_told_with_its_code() {
        assert_eq!(said(""), "xl ended with exit status: 1");
    }

    #[test]
    fn the_state_column_of_xl_list_is_understood() {
        let listed = |flags: &str| {
            parse_xl_list(&format!(
                "Name                                        ID   Mem VCPUs\tState\tTime(s)\n\
                 a name with spaces                           5    64     1     {flags}      12.3\n"
            ))
        };
        assert_eq!(listed("r-----"), DomainState::Alive);
        assert_eq!(listed("--p---"), DomainState::Alive);
        assert_eq!(listed("---s--"), DomainState::ShutDown(ShutdownReason::PowerOff));
        assert_eq!(listed("---sc-"), DomainState::ShutDown(ShutdownReason::Crash));
        assert_eq!(listed("---s-d"), DomainState::Gone);
        assert_eq!(parse_xl_list("xl: no such domain\n"), DomainState::Gone);
    }
}

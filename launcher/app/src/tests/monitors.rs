//! The monitors of tests: each holds its app's lock, which is its standard input, while its domain lives.

use super::PATIENCE;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Writes its number, and waits until its domain or the test's folder is gone; half a minute at most.
const PROGRAM: &str = r#"#!/bin/sh
root=$(dirname "$0")
id=$(expr "$1" : '.*"id":"\([0-9a-f]*\)"')
domid=$(sed -n 's/.*"domid": \([0-9]*\).*/\1/p' "$root/state/domains/$id/state.json")
echo $$ >"$root/monitors/$id.new" && mv "$root/monitors/$id.new" "$root/monitors/$id"
left=300
while [ -e "$root/alive/$domid" ] && [ $left -gt 0 ]; do sleep 0.1; left=$((left - 1)); done
"#;

/// Shared by monitors and tests: which domains live, and the monitors' numbers.
#[derive(Debug)]
pub(crate) struct Monitors {
    pub(crate) program: PathBuf,
    alive: PathBuf,
    numbers: PathBuf,
}

impl Monitors {
    pub(crate) fn new(root: &Path) -> Self {
        let program = root.join("monitor");
        fs::write(&program, PROGRAM).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o700)).unwrap();
        let (alive, numbers) = (root.join("alive"), root.join("monitors"));
        fs::create_dir(&alive).unwrap();
        fs::create_dir(&numbers).unwrap();
        Self { program, alive, numbers }
    }

    pub(crate) fn begin_domain(&self, domid: u16) {
        fs::write(self.alive.join(domid.to_string()), "").unwrap();
    }

    /// Makes the domain's monitor, if any, end soon.
    pub(crate) fn end_domain(&self, domid: u16) {
        // The file of a domain that has ended before is already removed.
        let _ = fs::remove_file(self.alive.join(domid.to_string()));
    }

    /// Waits for the monitor of the app `id`, and kills it.
    pub(crate) fn kill(&self, id: &str) {
        let path = self.numbers.join(id);
        let deadline = Instant::now() + PATIENCE;
        while !path.exists() {
            assert!(Instant::now() < deadline, "no monitor was started for {id}");
            std::thread::sleep(Duration::from_millis(5));
        }
        let number: i32 = fs::read_to_string(&path).unwrap().trim().parse().unwrap();
        fs::remove_file(&path).unwrap();
        // The monitor is a child that was not waited for, so the number is still its own.
        kill_process(Pid::from_raw(number).unwrap(), Signal::KILL).unwrap();
    }

    /// Makes all monitors end soon.
    pub(crate) fn end_all(&self) {
        let _ = fs::remove_dir_all(&self.alive);
    }
}

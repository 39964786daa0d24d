//! The monitors of tests: each holds its app's lock, which is its standard input, as long as its domain lives.

use super::PATIENCE;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Notes its number, and waits until its app's domain is gone, or the test's folder; half a minute at most.
const PROGRAM: &str = r#"#!/bin/sh
root=$(dirname "$0")
id=$(expr "$1" : '.*"id":"\([0-9a-f]*\)"')
domid=$(sed -n 's/.*"domid": \([0-9]*\).*/\1/p' "$root/state/domains/$id/state.json")
echo $$ >"$root/monitors/$id.new" && mv "$root/monitors/$id.new" "$root/monitors/$id"
left=300
while [ -e "$root/alive/$domid" ] && [ $left -gt 0 ]; do sleep 0.1; left=$((left - 1)); done
"#;

/// What monitors know of domains, and the tests of monitors.
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

    /// The domain's monitor, if it has one, ends soon.
    pub(crate) fn end_domain(&self, domid: u16) {
        // A domain that was gone before has no file any more.
        let _ = fs::remove_file(self.alive.join(domid.to_string()));
    }

    /// Kills the monitor of the app `id`, as soon as it is there.
    pub(crate) fn kill(&self, id: &str) {
        let path = self.numbers.join(id);
        let deadline = Instant::now() + PATIENCE;
        while !path.exists() {
            assert!(Instant::now() < deadline, "no monitor was started for {id}");
            std::thread::sleep(Duration::from_millis(5));
        }
        let number: i32 = fs::read_to_string(&path).unwrap().trim().parse().unwrap();
        fs::remove_file(&path).unwrap();
        // It is this process's child, and was not waited for: the number is its own.
        kill_process(Pid::from_raw(number).unwrap(), Signal::KILL).unwrap();
    }

    /// Has all monitors end soon.
    pub(crate) fn end_all(&self) {
        let _ = fs::remove_dir_all(&self.alive);
    }
}

//! Leases with many processes at once, and with processes that are killed at any moment.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use net::{Network, Settings};
use std::collections::HashSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const WORK: &str = "LAUNCH_NET_WORK";

/// Runs in a child: `FIRST COUNT KEEP STATE_DIR`. Does nothing as a test by itself.
#[test]
fn child() {
    let Ok(work) = std::env::var(WORK) else { return };
    let words: Vec<&str> = work.splitn(4, ' ').collect();
    let (first, count): (u32, u32) = (words[0].parse().unwrap(), words[1].parse().unwrap());
    let network = Network::open(&Settings::default(), words[3]);
    for number in first..first + count {
        let owner = format!("owner{number}");
        network.lease(&owner, None, None).unwrap();
        if words[2] == "no" {
            network.release(&owner).unwrap();
        }
    }
}

fn start(first: u32, count: u32, keep: &str, state: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child"])
        .env(WORK, format!("{first} {count} {keep} {}", state.display()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn processes_that_lease_at_once_never_get_the_same_address() {
    let state = tempfile::tempdir().unwrap();
    let children: Vec<_> = (0..8).map(|n| start(n * 25, 25, "yes", state.path())).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let leases = Network::open(&Settings::default(), state.path()).leases().unwrap();
    assert_eq!(leases.len(), 200);
    assert_eq!(leases.values().collect::<HashSet<_>>().len(), 200);
}

#[test]
fn a_process_killed_at_any_moment_leaves_the_leases_whole() {
    let state = tempfile::tempdir().unwrap();
    let network = Network::open(&Settings::default(), state.path());
    network.lease("web", None, None).unwrap();
    for round in 0..60 {
        let mut child = start(round * 10_000, 10_000, "no", state.path());
        // The child is working; how far it gets before the kill differs from round to round.
        while network.leases().unwrap().len() < 2 && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_micros(u64::from(round) * 77));
        child.kill().unwrap();
        child.wait().unwrap();
        let leases = network.leases().unwrap();
        assert!(leases.contains_key("web"), "round {round}: {leases:?}");
        // At most the lease of the killed child is left, and the lock is free again.
        let gone = network.retain(|owner| owner == "web").unwrap();
        assert!(gone.len() <= 1, "round {round}: {gone:?}");
    }
}

//! Files that earlier versions wrote: each is read, and written again unchanged.

use crate::pool::pools::Pool;
use crate::record::app::Record;
use crate::record::outcome::Outcome;
use crate::record::pooled_domain::PooledDomain;
use crate::record::restart_policy::RestartPolicy;
use crate::record::state::{Attempts, Last, State};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use toolstack::{Booted, Devices, DomId};

const DOMID: DomId = DomId(7);
const STARTED: u64 = 1_795_611_600_000;
const FINISHED: u64 = 1_795_611_700_000;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/fixtures/older").join(name)
}

/// Reads a file, and checks that it would be written with the same bytes.
fn read<T: DeserializeOwned + Serialize>(name: &str) -> T {
    let path = path(name);
    let value: T = files::read_json(&path).unwrap();
    let written = String::from_utf8(files::render_json(&path, &value).unwrap()).unwrap();
    assert_eq!(written, fs::read_to_string(&path).unwrap(), "{name}");
    value
}

fn state(name: &str) -> State {
    let mut state: State = read(&format!("{name}.json"));
    // Each file has two steps of a guest or none.
    let marks = match &mut state {
        State::Running { marks, .. } => Some(marks),
        State::Restarting { last, .. } | State::Exited { last, .. } => Some(&mut last.marks),
        State::Created { .. } | State::Starting { .. } => None,
    };
    if let Some(marks) = marks {
        assert!(marks.is_empty() || marks.len() == 2, "{name}");
        marks.clear();
    }
    state
}

fn last(started_unix_ms: Option<u64>, outcome: Outcome) -> Last {
    Last { started_unix_ms, finished_unix_ms: FINISHED, outcome, marks: vec![] }
}

#[test]
fn the_state_of_an_app_in_each_phase_is_read_and_kept() {
    let address = Some(IpAddr::from([10, 107, 0, 2]));
    let none = Attempts::default();
    let started_unix_ms = STARTED;
    assert_eq!(state("created"), State::Created { address: None });
    assert_eq!(state("created-with-config"), State::Created { address });
    let starting = |domid, attempts| State::Starting { domid, address: None, attempts };
    assert_eq!(state("starting"), starting(None, none));
    assert_eq!(state("starting-with-domain"), starting(Some(DOMID), none));
    let attempts = Attempts { restarts: 3, backoff_ms: 400 };
    assert_eq!(state("starting-again"), starting(None, attempts));
    let running = |address, attempts| State::Running {
        domid: DOMID,
        address,
        started_unix_ms,
        attempts,
        marks: vec![],
    };
    assert_eq!(state("running"), running(address, none));
    let attempts = Attempts { restarts: 2, backoff_ms: 200 };
    assert_eq!(state("running-without-network"), running(None, attempts));
}

#[test]
fn the_state_of_an_app_that_ended_is_read_and_kept() {
    let attempts = Attempts { restarts: 1, backoff_ms: 100 };
    let ran = last(Some(STARTED), Outcome::with_code(3));
    assert_eq!(state("restarting"), State::Restarting { last: ran, attempts });
    let attempts = Attempts { restarts: 4, backoff_ms: 800 };
    let failed = last(None, Outcome::failed("no memory"));
    assert_eq!(state("restarting-not-started"), State::Restarting { last: failed, attempts });
    // The earlier version did not record the signal.
    let ran = last(Some(STARTED), Outcome::with_code(137));
    assert_eq!(state("exited"), State::Exited { last: ran, restarts: 0 });
    let killed = Outcome::failed("the launcher was killed while it started the app");
    let exited = State::Exited { last: last(None, killed), restarts: 1 };
    assert_eq!(state("exited-with-message"), exited);
}

#[test]
fn a_record_pools_their_domains_and_the_outcome_in_a_lock_file_are_read_and_kept() {
    let record: Record = read("app.json");
    assert_eq!(record.restart, RestartPolicy::OnFailure { at_most: Some(2) });
    assert_eq!(record.shape.memory_mib, 64);
    let pooled: PooledDomain = read("waiting.json");
    assert_eq!(pooled.shape, record.shape);
    let devices = Devices::DiskPromised;
    assert_eq!(pooled.booted(), Booted::Domain { domid: DomId(9), devices });
    let pools: Vec<Pool> = read("pools.json");
    assert_eq!(pools[1], Pool { shape: record.shape, image: Some("nginx".into()), size: 1 });
    let lock = fs::read(path("lock")).unwrap();
    let outcome: Outcome = serde_json::from_slice(&lock).unwrap();
    let message = Some("the domain was destroyed".into());
    assert_eq!(outcome, Outcome { message, ..Outcome::with_code(137) });
    assert_eq!(serde_json::to_vec(&outcome).unwrap(), lock);
}

//! Operations on apps that run or are starting.

use super::fake::{CRASHED, Fault};
use super::{FakeHost, PATIENCE, fake_host};
use crate::apps::App;
use crate::domain::{Condition, condition};
use crate::error::AppsError;
use crate::life::create::create;
use crate::life::kill::kill;
use crate::life::launch::launch;
use crate::life::pause::{pause, unpause};
use crate::life::remove::remove;
use crate::life::rename::rename;
use crate::life::start::start;
use crate::life::stop::stop;
use crate::life::update::{Change, update};
use crate::record::pooled_domain::PooledDomain;
use crate::record::state::Phase;
use crate::request::run_request::RunRequest;
use crate::store::folder::{self, Folder};
use crate::store::ids::uuid_of;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use toolstack::{Schedule, Toolstack};

fn running(host: &FakeHost) -> App {
    launch(&host.apps, &host.quiet()).unwrap().0
}

#[test]
fn a_stop_while_the_app_starts_waits_for_its_domain_and_keeps_it_from_being_started_again() {
    let host = fake_host();
    let request = RunRequest { restart: "always".parse().unwrap(), ..host.quiet() };
    let app = create(&host.apps, &request).unwrap();
    let folder = host.apps.folder(&app.record.id);
    host.fake.hold("complete");
    std::thread::scope(|scope| {
        let starts = scope.spawn(|| start(&host.apps, &app));
        host.fake.wait_for("complete");
        let stops = scope.spawn(|| stop(&host.apps, &app, None));
        let deadline = Instant::now() + PATIENCE;
        while !folder.is_marked(folder::STOPPED) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(folder.is_marked(folder::STOPPED));
        assert!(!stops.is_finished() && !starts.is_finished());
        host.fake.release();
        assert_eq!(starts.join().unwrap().unwrap().state.phase(), Phase::Running);
        stops.join().unwrap().unwrap();
    });
    let calls = host.fake.calls();
    let at = |name| calls.iter().position(|call| *call == name).unwrap();
    assert!(at("complete") < at("shut_down"), "{calls:?}");
    assert!(folder.ends_for_good());
}

#[test]
fn of_two_launches_one_takes_the_pooled_domain_and_the_other_boots_its_own() {
    let host = fake_host();
    let shape = create(&host.apps, &host.quiet()).unwrap().record.shape;
    let id = "0123456789ab";
    let booted = host.fake.boot("waiting", uuid_of(id), &shape).unwrap();
    let domid = booted.domid().unwrap().0;
    let pool = host.apps.pool_folder();
    fs::create_dir_all(&pool).unwrap();
    let pooled = Folder::new(pool.join(id));
    drop(pooled.make().unwrap());
    let note = PooledDomain {
        shape,
        image: None,
        furnished: false,
        address: None,
        created_unix_ms: u64::MAX / 2,
        domid,
    };
    files::write_json(&pooled.file(folder::POOLED), &note, files::Durability::Crash).unwrap();

    host.fake.order(Fault::None);
    let apps: Vec<App> = std::thread::scope(|scope| {
        let launches: Vec<_> = (0..2).map(|_| scope.spawn(|| running(&host))).collect();
        launches.into_iter().map(|launch| launch.join().unwrap()).collect()
    });
    let boots = host.fake.calls().iter().filter(|call| **call == "boot").count();
    assert_eq!(boots, 1);
    let took: Vec<&App> = apps.iter().filter(|app| app.record.id == id).collect();
    assert_eq!(took.len(), 1);
    assert_eq!(took[0].state.domid(), Some(toolstack::DomId(domid)));
    assert_eq!(apps.iter().map(|app| app.state.domid()).collect::<BTreeSet<_>>().len(), 2);
    assert!(host.fake.domains().values().all(|domain| domain.complete));
    assert_eq!(fs::read_dir(&pool).unwrap().count(), 0);
}

#[test]
fn a_domain_whose_number_another_one_has_now_is_left_alone() {
    let host = fake_host();
    let app = running(&host);
    let domid = app.state.domid().unwrap().0;
    drop(host.take_over(&app));
    host.fake.end_domain(domid);
    // As after a reboot of the host, the number belongs to another app's domain.
    let other = uuid_of("ba9876543210");
    while host.fake.boot("other", other, &app.record.shape).unwrap().domid().unwrap().0 < domid {}
    let others = host.fake.domains();
    assert_eq!(condition(&host.apps, &app), Some(Condition::Gone));
    assert!(matches!(pause(&host.apps, &app), Err(AppsError::NotRunning(_))));
    rename(&host.apps, &app, "web").unwrap();
    kill(&host.apps, &app).unwrap();
    let names = |domains: &std::collections::BTreeMap<u16, super::fake::FakeDomain>| {
        domains.values().map(|domain| domain.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&host.fake.domains()), names(&others));
}

#[test]
fn an_app_is_paused_once_and_goes_on_once() {
    let host = fake_host();
    let app = running(&host);
    pause(&host.apps, &app).unwrap();
    assert_eq!(condition(&host.apps, &app), Some(Condition::Paused));
    assert!(matches!(pause(&host.apps, &app), Err(AppsError::Paused(_))));
    unpause(&host.apps, &app).unwrap();
    assert_eq!(condition(&host.apps, &app), Some(Condition::Runs));
    assert!(matches!(unpause(&host.apps, &app), Err(AppsError::NotPaused(_))));
}

#[test]
fn a_change_reaches_the_running_domain_and_says_what_has_to_wait() {
    let host = fake_host();
    let app = running(&host);
    let schedule = Schedule { cap_percent: Some(50), ..Schedule::default() };
    let change = Change { memory_mib: Some(96), vcpus: Some(1), schedule, restart: None };
    let changed = update(&host.apps, &app, &change).unwrap();
    assert_eq!(changed.later.len(), 1, "{changed:?}");
    assert!(changed.later[0].contains("built with 64 MiB"), "{changed:?}");
    let domains = host.fake.domains();
    assert_eq!(domains[&app.state.domid().unwrap().0].schedule.cap_percent, Some(50));
    assert_eq!(host.apps.find("nginx").unwrap().record.shape.memory_mib, 96);
    rename(&host.apps, &app, "web").unwrap();
    assert_eq!(host.fake.domains()[&app.state.domid().unwrap().0].name, "web");
}

#[test]
fn a_running_app_is_removed_by_force_only_and_with_its_domain() {
    let host = fake_host();
    let app = running(&host);
    assert!(matches!(remove(&host.apps, &app, false), Err(AppsError::Running(_))));
    assert_eq!(host.fake.domains().len(), 1);
    remove(&host.apps, &app, true).unwrap();
    assert!(host.fake.domains().is_empty());
    assert_eq!(host.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn an_app_whose_guest_crashed_still_has_its_domain_until_it_is_taken_down() {
    let host = fake_host();
    let app = running(&host);
    host.fake.crash(app.state.domid().unwrap().0);
    assert_eq!(condition(&host.apps, &app), Some(Condition::Runs));
    let state = host.fake.state(toolstack::DomId(app.state.domid().unwrap().0), app.record.uuid);
    assert_eq!(state.unwrap(), CRASHED);
    kill(&host.apps, &app).unwrap();
    assert!(host.fake.domains().is_empty());
}

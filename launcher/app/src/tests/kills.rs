//! Launchers that are killed halfway: the next command cleans up after them.

use super::fake::Fault;
use super::{FakeHost, fake_host};
use crate::apps::App;
use crate::life::create::create;
use crate::life::launch::launch;
use crate::life::repair::repair;
use crate::life::start::start;
use crate::record::state::Phase;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// Runs `act`, and returns whether it was killed as ordered. As after a real kill, its files are closed and nothing is
/// undone.
fn is_killed<T>(act: impl FnOnce() -> T) -> bool {
    catch_unwind(AssertUnwindSafe(act)).is_err()
}

/// The apps that are left after a repair. Checks that a second repair finds nothing.
fn repaired(host: &FakeHost) -> Vec<App> {
    host.fake.order(Fault::None);
    let repairs = repair(&host.apps).unwrap();
    assert_eq!(repair(&host.apps).unwrap(), [], "after {repairs:?}");
    host.apps.list().unwrap()
}

#[test]
fn a_launch_killed_at_any_call_leaves_no_domain_after_the_next_command() {
    for done in [false, true] {
        let mut kills = 0;
        loop {
            let host = fake_host();
            host.fake.order(Fault::Die { at: kills, done });
            if !is_killed(|| launch(&host.apps, &host.quiet())) {
                break;
            }
            let calls = host.fake.calls();
            for app in repaired(&host) {
                assert_eq!(app.state.phase(), Phase::Exited, "{calls:?}");
                let outcome = app.state.outcome().unwrap().clone();
                assert_eq!(outcome.code(), 125, "{calls:?}");
                assert!(outcome.message.unwrap().raw().contains("killed"), "{calls:?}");
            }
            assert!(host.fake.domains().is_empty(), "{calls:?}");
            kills += 1;
        }
        assert_eq!(kills, 4, "check, check_name, boot, complete");
    }
}

#[test]
fn a_launch_killed_before_the_app_has_a_record_leaves_nothing() {
    let host = fake_host();
    // The calls before: check, check_name, boot.
    host.fake.order(Fault::Die { at: 2, done: true });
    assert!(is_killed(|| launch(&host.apps, &host.quiet())));
    assert_eq!(host.fake.domains().len(), 1);
    assert!(repaired(&host).is_empty());
    assert!(host.fake.domains().is_empty());
    assert_eq!(host.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn a_start_killed_at_any_call_leaves_an_app_that_can_be_started() {
    for done in [false, true] {
        let host = fake_host();
        let app = create(&host.apps, &host.quiet()).unwrap();
        let mut kills = 0;
        loop {
            host.fake.order(Fault::Die { at: kills, done });
            if !is_killed(|| start(&host.apps, &app)) {
                break;
            }
            let calls = host.fake.calls();
            let left = repaired(&host);
            assert_eq!(left.len(), 1, "{calls:?}");
            let phase = left[0].state.phase();
            assert!(matches!(phase, Phase::Created | Phase::Exited), "{phase:?}: {calls:?}");
            assert!(host.fake.domains().is_empty(), "{calls:?}");
            kills += 1;
        }
        assert_eq!(kills, 5, "check, check_name, find, boot, complete");
        assert_eq!(host.apps.find(&app.record.id).unwrap().state.phase(), Phase::Running);
    }
}

#[test]
fn an_app_whose_monitor_was_killed_gets_another_one_if_its_domain_lives_and_ends_if_not() {
    let host = fake_host();
    let (app, _) = launch(&host.apps, &host.quiet()).unwrap();
    drop(host.take_over(&app));
    let repairs = repair(&host.apps).unwrap();
    assert!(repairs[0].to_string().contains("the monitor of app nginx had died"), "{repairs:?}");
    assert!(host.is_tended(&app), "another monitor has the lock");

    drop(host.take_over(&app));
    host.fake.end_domain(app.state.domid().unwrap().0);
    let left = repaired(&host);
    assert_eq!((left[0].state.phase(), left[0].state.domid()), (Phase::Exited, None));
    assert_eq!(left[0].state.outcome().unwrap().code(), 137);
}

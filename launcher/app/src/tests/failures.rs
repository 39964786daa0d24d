//! Starts that fail: nothing is left, and each error is reported.

use super::fake::Fault;
use super::{FakeHost, fake_host};
use crate::error::AppsError;
use crate::life::create::create;
use crate::life::launch::launch;
use crate::life::remove::remove;
use crate::life::start::start;
use crate::record::state::Phase;
use crate::request::run_request::RunRequest;
use contract::one_line;
use std::fs;
use std::path::PathBuf;
use toolstack::{Schedule, ToolstackError};

/// A request whose start makes every call of the toolstack.
fn request(host: &FakeHost) -> RunRequest {
    let schedule = Schedule { weight: Some(7), ..Schedule::default() };
    RunRequest { schedule, ..host.quiet() }
}

fn call_failed(error: &AppsError, number: usize) -> bool {
    let of_call = |cause: &String| *cause == format!("call {number} fails");
    matches!(error, AppsError::Toolstack(ToolstackError::Xl { cause, .. }) if of_call(cause))
}

#[test]
fn a_start_of_which_any_step_fails_leaves_the_app_as_it_was() {
    let host = fake_host();
    let app = create(&host.apps, &request(&host)).unwrap();
    let mut failed = vec![];
    loop {
        let number = failed.len();
        host.fake.order(Fault::Fail(number));
        let error = match start(&host.apps, &app) {
            Ok(app) => {
                assert_eq!(app.state.phase(), Phase::Running);
                break;
            }
            Err(error) => error,
        };
        assert!(call_failed(&error, number), "{}", one_line(&error));
        failed.push(host.fake.calls()[number]);
        assert!(host.fake.domains().is_empty(), "{failed:?}");
        let now = host.apps.find(&app.record.id).unwrap();
        assert_eq!(now.state, app.state, "{failed:?}");
        assert!(!host.is_tended(&app), "{failed:?}");
    }
    let steps = ["check", "check_name", "find", "boot", "complete", "state", "schedule"];
    assert_eq!(failed, steps);
    assert!(host.is_tended(&app), "the monitor has the lock");
}

#[test]
fn a_launch_of_which_any_step_fails_leaves_nothing() {
    let host = fake_host();
    let mut failed = vec![];
    loop {
        let number = failed.len();
        host.fake.order(Fault::Fail(number));
        let Err(error) = launch(&host.apps, &request(&host)) else { break };
        assert!(call_failed(&error, number), "{}", one_line(&error));
        failed.push(host.fake.calls()[number]);
        assert!(host.fake.domains().is_empty(), "{failed:?}");
        assert_eq!(host.leftovers(), Vec::<PathBuf>::new(), "{failed:?}");
    }
    assert_eq!(failed, ["check", "check_name", "boot", "complete", "state", "schedule"]);
}

#[test]
fn a_domain_boots_before_anything_else_of_its_start_is_made() {
    let host = fake_host();
    // The orders cannot be written because a folder has their name.
    let app = create(&host.apps, &host.quiet()).unwrap();
    let orders = host.apps.folder(&app.record.id).file("orders.json");
    fs::create_dir_all(orders.join("in the way")).unwrap();
    host.fake.order(Fault::None);
    let error = start(&host.apps, &app).unwrap_err();
    assert!(matches!(error, AppsError::File(_)), "{}", one_line(&error));
    assert_eq!(host.fake.calls(), ["check", "check_name", "find", "boot", "destroy"]);
    assert!(host.fake.domains().is_empty());
}

#[test]
fn a_monitor_that_cannot_be_started_takes_the_domain_down_again() {
    let host = fake_host();
    let app = create(&host.apps, &host.quiet()).unwrap();
    fs::remove_file(host.root.path().join("monitor")).unwrap();
    let error = start(&host.apps, &app).unwrap_err();
    assert!(matches!(error, AppsError::Monitor { .. }), "{}", one_line(&error));
    assert!(host.fake.domains().is_empty());
    assert_eq!(host.apps.find(&app.record.id).unwrap().state.phase(), Phase::Created);
}

#[test]
fn where_undoing_fails_as_well_both_errors_are_told_and_the_next_command_undoes_it() {
    let host = fake_host();
    let app = create(&host.apps, &host.quiet()).unwrap();
    // The calls before: check, check_name, find, boot, complete.
    host.fake.order(Fault::FailAnd("destroy", 4));
    let error = start(&host.apps, &app).unwrap_err();
    let AppsError::Both(first, second) = &error else { panic!("{}", one_line(&error)) };
    assert!(call_failed(first, 4) && call_failed(second, 5), "{}", one_line(&error));
    assert!(one_line(&error).contains("call 4 fails; and then: "), "{}", one_line(&error));
    assert_eq!(host.fake.domains().len(), 1);

    host.fake.order(Fault::None);
    let error = start(&host.apps, &app).unwrap_err();
    assert!(matches!(error, AppsError::Running(_)), "{}", one_line(&error));
    remove(&host.apps, &app, true).unwrap();
    assert!(host.fake.domains().is_empty());
    assert_eq!(host.leftovers(), Vec::<PathBuf>::new());
}

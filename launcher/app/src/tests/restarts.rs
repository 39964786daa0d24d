//! Apps that are started again when they end.

use super::fake::Fault;
use super::{FakeHost, fake_host};
use crate::apps::App;
use crate::life::launch::launch;
use crate::life::restart::{
    end_to_restart, restart_after_backoff, restart_inherited, wants_restart,
};
use crate::record::outcome::Outcome;
use crate::record::state::{Attempts, Phase, State};
use crate::request::run_request::RunRequest;
use crate::store::folder;
use crate::store::locked::Locked;
use std::path::Path;

fn ended(code: u8) -> Outcome {
    Outcome::with_code(code)
}

/// Launches an app, and takes it over from its monitor.
fn running(host: &FakeHost, policy: &str) -> Locked {
    let request = RunRequest { restart: policy.parse().unwrap(), ..host.quiet() };
    take_over(host, launch(&host.apps, &request).unwrap().0)
}

/// Kills an app's monitor, and takes its lock.
fn take_over(host: &FakeHost, app: App) -> Locked {
    let folder = host.apps.folder(&app.record.id);
    let lock = host.take_over(&app);
    Locked { record: app.record, state: app.state, folder, lock }
}

/// Restarts the app as the launcher does that a monitor turned into.
fn restart(host: &FakeHost, app: Locked) -> Locked {
    let id = app.record.id.clone();
    restart_inherited(&host.apps, &id, app.lock.share().unwrap()).unwrap();
    drop(app);
    take_over(host, host.apps.read(&id).unwrap().unwrap())
}

#[test]
fn an_app_is_started_as_often_as_its_policy_says_after_a_back_off_that_doubles() {
    let host = fake_host();
    let mut app = running(&host, "on-failure:2");
    for (restarts, backoff_ms) in [(1, 100), (2, 200)] {
        assert!(wants_restart(&app, &ended(3)) && !wants_restart(&app, &ended(0)));
        end_to_restart(&host.apps, &mut app, ended(3)).unwrap();
        assert!(host.fake.domains().is_empty());
        let noted = app.folder.read_state().unwrap();
        let State::Restarting { last, attempts } = noted else { panic!("{noted:?}") };
        assert_eq!(attempts, Attempts { restarts, backoff_ms });
        assert_eq!(last.outcome, ended(3));
        app = restart(&host, app);
        assert_eq!((app.state.phase(), app.state.restarts()), (Phase::Running, restarts));
        assert_eq!(host.fake.domains().len(), 1);
    }
    assert!(!wants_restart(&app, &ended(3)));
}

#[test]
fn a_restart_that_fails_waits_again_and_longer() {
    let host = fake_host();
    let mut app = running(&host, "always");
    end_to_restart(&host.apps, &mut app, ended(0)).unwrap();
    // The calls before: find, boot.
    host.fake.order(Fault::Fail(1));
    let app = restart(&host, app);
    assert_eq!((app.state.phase(), app.state.restarts()), (Phase::Restarting, 2));
    assert!(matches!(&app.state, State::Restarting { attempts, .. } if attempts.backoff_ms == 200));
    let outcome = app.state.outcome().unwrap().clone();
    assert_eq!(outcome.code(), 125);
    assert!(outcome.message.unwrap().raw().contains("call 1 fails"));
    host.fake.order(Fault::None);
    assert_eq!(restart(&host, app).state.phase(), Phase::Running);
}

#[test]
fn an_app_that_is_stopped_while_it_waits_is_not_started_and_keeps_its_outcome() {
    let host = fake_host();
    let mut app = running(&host, "always");
    end_to_restart(&host.apps, &mut app, ended(3)).unwrap();
    app.folder.mark(folder::STOPPED).unwrap();
    restart_after_backoff(&host.apps, &mut app, Path::new("/nonexistent/launch")).unwrap();
    let noted = app.folder.read_state().unwrap();
    assert_eq!((noted.phase(), noted.outcome()), (Phase::Exited, Some(&ended(3))));
}

#[test]
fn an_app_whose_launcher_cannot_be_run_after_the_back_off_has_ended() {
    let host = fake_host();
    let mut app = running(&host, "always");
    end_to_restart(&host.apps, &mut app, ended(3)).unwrap();
    restart_after_backoff(&host.apps, &mut app, Path::new("/nonexistent/launch")).unwrap();
    let noted = app.folder.read_state().unwrap();
    assert_eq!(noted.phase(), Phase::Exited);
    let outcome = noted.outcome().unwrap().clone();
    assert_eq!(outcome.code(), 125);
    assert!(outcome.message.unwrap().raw().contains("cannot run /nonexistent/launch"));
}

#[test]
fn an_app_that_cannot_be_taken_down_has_ended_for_good_and_says_so() {
    let host = fake_host();
    let mut app = running(&host, "always");
    host.fake.order(Fault::FailAnd("destroy", usize::MAX));
    let error = end_to_restart(&host.apps, &mut app, ended(3)).unwrap_err();
    assert!(matches!(error, crate::error::AppsError::Both(..)), "{error}");
    let noted = app.folder.read_state().unwrap();
    assert_eq!(noted.phase(), Phase::Exited);
    assert!(noted.outcome().unwrap().clone().message.unwrap().raw().contains("destroy"));
}

//! Real pulls with the real child: its sandbox, its death, and what is left in the store.
//!
//! Without libtest, as a test runs this program anew, as one that pulls and is killed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contents;
mod death;
mod limits;
mod registry;
mod rights;

use image::{Event, Image, Naming, Settings, Source, Store, StoreError};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::ExitCode,
};

/// What a test finds out, besides by panicking.
enum Verdict {
    Passed,
    /// Why it could not be done here.
    Skipped(&'static str),
}

type Test = (&'static str, fn() -> Verdict);

const TESTS: &[Test] = &[
    (
        "every_kind_of_source_gives_the_same_disk",
        contents::every_kind_of_source_gives_the_same_disk,
    ),
    ("an_archive_is_read_through_a_pipe", contents::an_archive_is_read_through_a_pipe),
    (
        "images_with_the_same_layers_share_one_disk_and_one_that_lies_gets_none",
        contents::images_with_the_same_layers_share_one_disk,
    ),
    ("a_private_layout_is_read_though_the_child_is_not_root", contents::a_private_layout_is_read),
    ("a_second_pull_reads_no_layer", contents::a_second_pull_reads_no_layer),
    (
        "another_image_cannot_come_under_a_digest_that_is_there",
        contents::another_image_cannot_come_under_a_digest,
    ),
    ("a_run_names_only_what_was_asked_for", contents::a_run_names_only_what_was_asked_for),
    ("an_image_for_other_machines_is_refused", contents::an_image_for_other_machines_is_refused),
    ("names_move_and_images_go_with_their_last_name", contents::names_move_and_images_go),
    ("the_child_is_not_root_and_holds_nothing", rights::the_child_is_not_root_and_holds_nothing),
    ("without_a_fence_nothing_is_fetched", rights::without_a_fence_nothing_is_fetched),
    ("the_settings_can_do_without_a_fence", rights::the_settings_can_do_without_a_fence),
    ("a_registry_is_reached_from_within_the_sandbox", rights::a_registry_is_reached),
    ("credentials_come_from_dockers_settings_and_its_helpers", rights::credentials_are_found),
    ("problems_with_logins_are_told", rights::problems_with_logins_are_told),
    ("a_child_that_is_killed_is_told_and_leaves_nothing", death::a_killed_child_leaves_nothing),
    ("what_a_killed_pull_left_is_removed_by_the_next", death::a_killed_pull_is_cleaned_up),
    ("of_many_pulls_at_once_one_does_the_work", death::of_many_pulls_one_does_the_work),
    ("a_missing_fetcher_is_named", death::a_missing_fetcher_is_named),
    ("a_full_disk_is_told_and_leaves_nothing", death::a_full_disk_is_told),
    ("memory_is_limited_by_the_kernel", limits::memory_is_limited_by_the_kernel),
    (
        "memory_that_an_inflater_asks_for_is_limited",
        limits::memory_that_an_inflater_asks_for_is_limited,
    ),
    ("a_fetch_without_end_is_ended", limits::a_fetch_without_end_is_ended),
    (
        "half_a_message_is_not_waited_for_without_end",
        limits::half_a_message_is_not_waited_for_without_end,
    ),
    ("some_of_the_disk_stays_free", limits::some_of_the_disk_stays_free),
    ("a_failed_conversion_leaves_the_old_file", death::a_failed_conversion_leaves_the_old_file),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        // What a test runs in a process of its own.
        ["pull", store, source] => {
            let missing = std::env::var(MISSING).ok();
            missing.iter().for_each(|call| hide(call.parse().unwrap()));
            let allow_unsandboxed_fetch = std::env::var_os(ALLOW).is_some();
            let settings = Settings { allow_unsandboxed_fetch, ..settings() };
            return pull_and_tell(store, source, &settings);
        }
        // What cargo's own harness answers; for tools that list tests.
        ["--list", ..] => {
            TESTS.iter().for_each(|(name, _)| println!("{name}: test"));
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let wanted = arguments.iter().find(|argument| !argument.starts_with('-'));
    let (mut passed, mut failed, mut ignored) = (0, 0, 0);
    for (name, test) in TESTS {
        if wanted.is_some_and(|wanted| !name.contains(wanted.as_str())) {
            continue;
        }
        let verdict = match catch_unwind(AssertUnwindSafe(test)) {
            Ok(Verdict::Passed) => {
                passed += 1;
                "ok".to_owned()
            }
            Ok(Verdict::Skipped(why)) => {
                ignored += 1;
                format!("ignored, {why}")
            }
            Err(_) => {
                failed += 1;
                "FAILED".to_owned()
            }
        };
        println!("test {name} ... {verdict}");
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {result}. {passed} passed; {failed} failed; {ignored} ignored");
    ExitCode::from(u8::from(failed > 0))
}

/// A system call that a kernel does not have, for `pull`.
const MISSING: &str = "LAUNCH_TEST_MISSING_CALL";
/// Set where `pull` may do without a fence.
const ALLOW: &str = "LAUNCH_TEST_ALLOW";

/// Makes the kernel seem not to have `call`, for this process and its children.
fn hide(call: i64) {
    let others: Vec<i64> = (0..600).filter(|other| *other != call).collect();
    rustix::thread::set_no_new_privs(true).unwrap();
    let calls = sandbox::Calls { allowed: &[&others], checked: &[], deadly: &[] };
    calls.restrict().unwrap();
}

/// Pulls, and prints an event a line; for `death`.
fn pull_and_tell(store: &str, source: &str, settings: &Settings) -> ExitCode {
    let source: Source = source.parse().unwrap();
    let mut tell = |event: &Event| println!("{event:?}");
    match Store::open(store).unwrap().pull(&source, Naming::AsArchived, settings, &mut tell) {
        Ok(image) => println!("pulled {}", image.digest),
        Err(error) => println!("failed {error}"),
    }
    ExitCode::SUCCESS
}

fn settings() -> Settings {
    let fetcher = env!("CARGO_BIN_EXE_fetch").into();
    Settings { fetcher, first_retry_ms: 10, ..Settings::default() }
}

fn pull(store: &Path, source: &str) -> Result<Image, StoreError> {
    Store::open(store).unwrap().pull(
        &source.parse().unwrap(),
        Naming::AsArchived,
        &settings(),
        &mut (),
    )
}

/// The names in a folder, sorted.
fn entries(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Nothing half-done is in the store.
fn assert_tidy(store: &Path) {
    assert_eq!(entries(&store.join("work")), [""; 0], "leftovers");
}

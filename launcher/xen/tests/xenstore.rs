//! Tests the xenstore client with the real xenstored: run in dom0.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::Duration;
use xen::DomId;
use xen::store::{Access, Permission, Refusal, Store, StoreError};
use xenstore_rs::{Xs, XsTransaction, XsTransactionSpan};

/// A xenstore folder for one test, removed at its end.
struct Folder {
    store: Store,
    path: String,
}

impl Folder {
    /// `None`, with the reason printed, if there is no xenstore.
    fn new(test: &str) -> Option<Self> {
        match Store::connect() {
            Ok(store) => {
                let path = format!("/launch-test-{}-{test}", std::process::id());
                store.mkdir(&path).unwrap();
                Some(Self { store, path })
            }
            Err(error @ StoreError::Absent { .. }) => {
                println!("skipped: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.store.remove(&self.path).unwrap();
    }
}

#[test]
fn what_is_written_is_read_listed_and_removed() {
    let Some(folder) = Folder::new("basics") else { return };
    let store = &folder.store;
    store.write(&folder.at("a/b"), "value \u{e9}\u{1f980}").unwrap();
    store.write(&folder.at("c"), "").unwrap();
    assert_eq!(store.read(&folder.at("a/b")).unwrap(), "value \u{e9}\u{1f980}");
    assert_eq!(store.read(&folder.at("c")).unwrap(), "");
    assert_eq!(store.read_optional(&folder.at("none")).unwrap(), None);
    let mut names = store.list(&folder.path).unwrap();
    names.sort();
    assert_eq!(names, ["a", "c"]);
    store.remove(&folder.at("a")).unwrap();
    store.remove(&folder.at("a")).unwrap();
    store.remove(&folder.at("never/was")).unwrap();
    assert!(store.list(&folder.at("a")).unwrap_err().is_not_found());
}

#[test]
fn the_largest_value_that_fits_a_message_is_kept_whole() {
    let Some(folder) = Folder::new("large") else { return };
    let path = folder.at("v");
    // xenstored's limit on a node is half of a message.
    let value = "x".repeat(2000);
    folder.store.write(&path, &value).unwrap();
    assert_eq!(folder.store.read(&path).unwrap(), value);
    let error = folder.store.write(&path, &"x".repeat(4096)).unwrap_err();
    assert!(matches!(error, StoreError::Malformed { .. }), "{error}");
    assert_eq!(folder.store.read(&path).unwrap(), value);
}

#[test]
fn a_list_longer_than_one_message_is_whole() {
    let Some(folder) = Folder::new("list") else { return };
    let name = |number: u32| format!("a-name-of-some-length-{number:04}");
    for number in 0..400 {
        folder.store.write(&folder.at(&name(number)), "").unwrap();
    }
    let mut names = folder.store.list(&folder.path).unwrap();
    names.sort();
    assert_eq!(names, (0..400).map(name).collect::<Vec<_>>());
}

#[test]
fn permissions_are_set_and_passed_on_to_new_children() {
    let Some(folder) = Folder::new("permissions") else { return };
    let wanted =
        [Permission::new(DomId::DOM0, Access::None), Permission::new(DomId::DOM0, Access::Read)];
    folder.store.set_permissions(&folder.path, &wanted).unwrap();
    folder.store.write(&folder.at("child"), "").unwrap();
    assert_eq!(folder.store.permissions(&folder.at("child")).unwrap(), wanted);
    let error = folder.store.set_permissions(&folder.at("none"), &wanted).unwrap_err();
    assert!(error.is_not_found(), "{error}");
}

#[test]
fn a_transaction_is_seen_whole_or_not_at_all_and_starts_over_after_a_conflict() {
    let Some(folder) = Folder::new("transaction") else { return };
    let (path, other) = (folder.at("count"), Store::connect().unwrap());
    folder.store.write(&path, "1").unwrap();

    let mut runs = 0;
    let result: Result<_, StoreError> = folder.store.transaction(|transaction| {
        runs += 1;
        let count: u32 = transaction.read(&path)?.parse().unwrap();
        if runs == 1 {
            other.write(&path, "10")?;
        }
        transaction.write(&path, &(count + 1).to_string())?;
        assert_ne!(other.read(&path)?, "11");
        Ok(count)
    });
    assert_eq!((result.unwrap(), runs), (10, 2));
    assert_eq!(other.read(&path).unwrap(), "11");

    let result: Result<(), StoreError> = folder.store.transaction(|transaction| {
        transaction.write(&path, "lost")?;
        transaction.read(&folder.at("none")).map(drop)
    });
    assert!(result.unwrap_err().is_not_found());
    assert_eq!(other.read(&path).unwrap(), "11");
}

#[test]
fn watches_fire_at_once_and_on_changes_below() {
    let Some(folder) = Folder::new("watch") else { return };
    let wait = || folder.store.wait_event(Some(Duration::from_secs(10))).unwrap().unwrap();
    folder.store.watch(&folder.path, "token").unwrap();
    let first = wait();
    assert_eq!((first.path, first.token), (folder.path.clone(), "token".to_owned()));
    let error = folder.store.watch(&folder.path, "token").unwrap_err();
    assert_eq!(error.refusal(), Some(&Refusal::Exists));

    Store::connect().unwrap().write(&folder.at("deep/below"), "x").unwrap();
    let mut paths = vec![wait().path];
    while paths.last() != Some(&folder.at("deep/below")) {
        paths.push(wait().path);
    }
    folder.store.unwatch(&folder.path, "token").unwrap();
    folder.store.write(&folder.at("deep/below"), "y").unwrap();
    assert_eq!(folder.store.wait_event(Some(Duration::from_millis(100))).unwrap(), None);
}

#[test]
fn dom0_is_introduced_and_an_unused_number_is_not() {
    let Some(folder) = Folder::new("domains") else { return };
    assert!(folder.store.is_domain_introduced(DomId::DOM0).unwrap());
    assert!(!folder.store.is_domain_introduced(DomId(32_000)).unwrap());
    assert_eq!(folder.store.get_domain_path(DomId(7)).unwrap(), "/local/domain/7");
    let error = folder.store.release(DomId(32_000)).unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error}");
}

#[test]
fn code_written_for_the_xenstore_rs_traits_works_on_our_connection() {
    fn rename(store: impl XsTransaction<Span: XsTransactionSpan>, from: &str, to: &str) {
        let span = store.transaction().unwrap();
        let value = span.read(from).unwrap();
        span.write(to, &value).unwrap();
        span.rm(from).unwrap();
        span.commit().unwrap();
    }
    let Some(folder) = Folder::new("traits") else { return };
    folder.store.write(&folder.at("from"), "v").unwrap();
    rename(&folder.store, &folder.at("from"), &folder.at("to"));
    assert_eq!(&*Xs::read(&folder.store, &folder.at("to")).unwrap(), "v");
    let error = Xs::read(&folder.store, &folder.at("from")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    assert_eq!(Xs::directory(&folder.store, &folder.path).unwrap(), ["to".into()]);
}

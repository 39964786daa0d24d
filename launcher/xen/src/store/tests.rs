//! Tests the client with a peer that replays bytes: framing, order and errors of the stream.
//!
//! `tests/xenstore.rs` tests against the real xenstored.

use super::wire::{Kind, MAX_PAYLOAD, WireError, encode};
use super::*;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

/// A store whose peer has already sent `replies`.
fn store_with(replies: &[(Kind, u32, &[u8])]) -> (Store, UnixStream) {
    let (ours, mut peer) = UnixStream::pair().unwrap();
    for (kind, request, payload) in replies {
        peer.write_all(&encode(*kind, *request, 0, &[payload]).unwrap()).unwrap();
    }
    (Store::over(Channel::Socket(ours)), peer)
}

#[test]
fn a_request_goes_out_as_the_protocol_has_it() {
    let (store, mut peer) = store_with(&[(Kind::Write, 1, b"OK\0")]);
    store.write("/a/b", "value").unwrap();
    drop(store);
    let mut sent = Vec::new();
    peer.read_to_end(&mut sent).unwrap();
    let mut expected = Vec::new();
    for field in [11u32, 1, 0, 10] {
        expected.extend(field.to_ne_bytes());
    }
    expected.extend(b"/a/b\0value");
    assert_eq!(sent, expected);
}

#[test]
fn events_that_come_before_a_reply_are_kept_in_order_and_equal_ones_once() {
    let (store, _peer) = store_with(&[
        (Kind::WatchEvent, 0, b"/a\0t1\0"),
        (Kind::WatchEvent, 0, b"/b\0t2\0"),
        (Kind::WatchEvent, 0, b"/a\0t1\0"),
        (Kind::Read, 1, b"value"),
        (Kind::WatchEvent, 0, b"/c\0t1\0"),
    ]);
    assert_eq!(store.read("/x").unwrap(), "value");
    let mut seen = Vec::new();
    while let Some(event) = store.wait_event(Some(Duration::ZERO)).unwrap() {
        seen.push((event.path, event.token));
    }
    let expected = [("/a", "t1"), ("/b", "t2"), ("/c", "t1")];
    assert_eq!(seen, expected.map(|(path, token)| (path.to_owned(), token.to_owned())));
}

#[test]
fn waiting_without_events_ends_at_the_timeout() {
    let (store, _peer) = store_with(&[]);
    let start = std::time::Instant::now();
    assert_eq!(store.wait_event(Some(Duration::from_millis(30))).unwrap(), None);
    assert!(start.elapsed() >= Duration::from_millis(30));
}

#[test]
fn unread_events_of_a_watch_taken_back_are_gone() {
    let (store, _peer) =
        store_with(&[(Kind::WatchEvent, 0, b"/a\0t\0"), (Kind::Unwatch, 1, b"OK\0")]);
    store.unwatch("/a", "t").unwrap();
    assert_eq!(store.wait_event(Some(Duration::ZERO)).unwrap(), None);
}

#[test]
fn unread_events_do_not_pile_up_without_end() {
    let (ours, mut peer) = UnixStream::pair().unwrap();
    let store = Store::over(Channel::Socket(ours));
    let writer = std::thread::spawn(move || {
        for number in 0..5000 {
            let payload = format!("/data\0{number}\0");
            let event = encode(Kind::WatchEvent, 0, 0, &[payload.as_bytes()]).unwrap();
            if peer.write_all(&event).is_err() {
                return;
            }
        }
    });
    assert!(matches!(store.read("/x"), Err(StoreError::TooManyEvents(_))));
    drop(store);
    writer.join().unwrap();
}

#[test]
fn a_guest_that_makes_nodes_without_end_does_not_end_the_connection() {
    let (ours, mut peer) = UnixStream::pair().unwrap();
    let store = Store::over(Channel::Socket(ours));
    let writer = std::thread::spawn(move || {
        for number in 0..5000 {
            let payload = format!("/data/{number}\0t\0");
            let event = encode(Kind::WatchEvent, 0, 0, &[payload.as_bytes()]).unwrap();
            peer.write_all(&event).unwrap();
        }
        peer.write_all(&encode(Kind::Read, 1, 0, &[b"here"]).unwrap()).unwrap();
        peer
    });
    assert_eq!(store.read("/x").unwrap(), "here");
    assert_eq!(store.wait_event(Some(Duration::ZERO)).unwrap().unwrap().path, "/data/0");
    drop(writer.join().unwrap());
}

#[test]
fn what_is_no_text_is_nothing_where_a_guest_may_write() {
    let (store, _peer) = store_with(&[(Kind::Read, 1, b"\xff"), (Kind::Read, 2, b"\xff")]);
    assert_eq!(store.read_untrusted("/data").unwrap(), None);
    assert!(matches!(store.read_optional("/data"), Err(StoreError::NotText { .. })));
}

#[test]
fn a_refusal_leaves_the_connection_usable() {
    let (store, _peer) = store_with(&[(Kind::Error, 1, b"ENOENT\0"), (Kind::Read, 2, b"here")]);
    assert_eq!(store.read_optional("/gone").unwrap(), None);
    assert_eq!(store.read("/x").unwrap(), "here");
}

#[test]
fn a_reply_to_another_request_ends_the_connection() {
    let (store, _peer) = store_with(&[(Kind::Read, 7, b"x"), (Kind::Read, 2, b"y")]);
    let error = store.read("/x").unwrap_err();
    assert!(matches!(error, StoreError::Protocol(WireError::Unexpected { request: 7, kind: 2 })));
    assert!(matches!(store.read("/x"), Err(StoreError::Ended)));
}

#[test]
fn a_peer_that_hangs_up_is_a_lost_connection() {
    let (store, peer) = store_with(&[]);
    drop(peer);
    assert!(matches!(store.read("/x"), Err(StoreError::Lost(_))));
    assert!(matches!(store.wait_event(None), Err(StoreError::Ended)));
}

#[test]
fn what_cannot_be_sent_is_refused_by_name_and_sends_nothing() {
    let (store, peer) = store_with(&[]);
    let long = "x".repeat(MAX_PAYLOAD);
    for (path, value) in [("", "v"), ("/a\0b", "v"), ("/a", &long), (&format!("/{long}"), "v")] {
        let error = store.write(path, value).unwrap_err();
        assert!(matches!(error, StoreError::Malformed { .. }), "{path:?}: {error}");
    }
    let error = store.watch("/a", "t\0").unwrap_err();
    assert!(matches!(error, StoreError::Malformed { .. }), "{error}");
    peer.set_nonblocking(true).unwrap();
    let error = (&peer).read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_transaction_starts_over_after_a_conflict_and_is_taken_back_on_an_error() {
    let (store, mut peer) = store_with(&[
        (Kind::TransactionStart, 1, b"5\0"),
        (Kind::Write, 2, b"OK\0"),
        (Kind::Error, 3, b"EAGAIN\0"),
        (Kind::TransactionStart, 4, b"6\0"),
        (Kind::Write, 5, b"OK\0"),
        (Kind::TransactionEnd, 6, b"OK\0"),
        (Kind::TransactionStart, 7, b"7\0"),
        (Kind::Error, 8, b"EACCES\0"),
        (Kind::TransactionEnd, 9, b"OK\0"),
    ]);
    let mut runs = 0;
    let result: Result<_, StoreError> = store.transaction(|transaction| {
        runs += 1;
        transaction.write("/a", "b")
    });
    result.unwrap();
    assert_eq!(runs, 2);

    let error = store.transaction(|transaction| transaction.write("/a", "b")).unwrap_err();
    assert_eq!(error.refusal(), Some(&Refusal::NotPermitted));
    drop(store);
    let mut sent = Vec::new();
    peer.read_to_end(&mut sent).unwrap();
    assert!(sent.ends_with(b"F\0"), "the transaction was not aborted");
}

#[test]
fn a_list_that_exceeds_one_message_is_read_in_parts_and_anew_when_it_changed() {
    let (store, _peer) = store_with(&[
        (Kind::Error, 1, b"E2BIG\0"),
        (Kind::DirectoryPart, 2, b"11\0one\0two\0"),
        (Kind::DirectoryPart, 3, b"12\0"),
        (Kind::DirectoryPart, 4, b"12\0one\0"),
        (Kind::DirectoryPart, 5, b"12\0three\0\0"),
        (Kind::Error, 6, b"E2BIG\0"),
        (Kind::DirectoryPart, 7, b"12\0\0"),
    ]);
    assert_eq!(store.list("/x").unwrap(), ["one", "three"]);
    assert_eq!(store.list("/x").unwrap(), [""; 0]);
}

#[test]
fn a_value_that_is_not_text_is_named() {
    let (store, _peer) = store_with(&[(Kind::Read, 1, b"\xff")]);
    let error = store.read("/data/x").unwrap_err();
    assert_eq!(error.to_string(), "the value of xenstore node /data/x is not UTF-8");
}

#[test]
fn a_batch_is_sent_whole_before_its_replies_are_read() {
    let (store, mut peer) = store_with(&[
        (Kind::TransactionStart, 1, b"5\0"),
        (Kind::Error, 2, b"ENOENT\0"),
        (Kind::WatchEvent, 0, b"/x\0t\0"),
        (Kind::Write, 3, b"OK\0"),
        (Kind::SetPerms, 4, b"OK\0"),
        (Kind::TransactionEnd, 5, b"OK\0"),
    ]);
    let result: Result<(), StoreError> = store.transaction(|transaction| {
        let mut batch = transaction.batch();
        batch.remove("/a")?;
        batch.write("/a/b", "v")?;
        batch.set_permissions("/a/b", &[Permission::new(crate::DomId(3), Access::Read)])?;
        batch.send()
    });
    result.unwrap();
    assert!(store.wait_event(Some(Duration::ZERO)).unwrap().is_some());
    drop(store);
    let mut sent = Vec::new();
    peer.read_to_end(&mut sent).unwrap();
    let expected: Vec<u8> = [
        encode(Kind::TransactionStart, 1, 0, &[b"\0"]),
        encode(Kind::Rm, 2, 5, &[b"/a\0"]),
        encode(Kind::Write, 3, 5, &[b"/a/b\0v"]),
        encode(Kind::SetPerms, 4, 5, &[b"/a/b\0r3\0"]),
        encode(Kind::TransactionEnd, 5, 5, &[b"T\0"]),
    ]
    .into_iter()
    .flat_map(Option::unwrap)
    .collect();
    assert_eq!(sent, expected);
}

#[test]
fn a_batch_fails_by_its_first_refusal_and_reads_all_replies() {
    let (store, _peer) = store_with(&[
        (Kind::TransactionStart, 1, b"5\0"),
        (Kind::Error, 2, b"EACCES\0"),
        (Kind::Error, 3, b"ENOSPC\0"),
        (Kind::TransactionEnd, 4, b"OK\0"),
        (Kind::Read, 5, b"fine"),
    ]);
    let result: Result<(), StoreError> = store.transaction(|transaction| {
        let mut batch = transaction.batch();
        batch.write("/first", "")?;
        batch.write("/second", "")?;
        batch.send()
    });
    let text = result.unwrap_err().to_string();
    assert!(text.contains("/first") && text.contains("EACCES"), "{text}");
    assert_eq!(store.read("/x").unwrap(), "fine");
}

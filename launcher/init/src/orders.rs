//! The orders: taken from xenstore as soon as they are there.

use crate::failure::{Failure, OrFail};
use crate::signals::{Event, Signals};
use contract::{Orders, store};
use rustix::event::{PollFd, PollFlags, poll};
use std::time::Duration;
use xen::store::Store;

/// Takes the orders; waits for them where they are not there yet, as in a pooled domain.
///
/// `before_wait` runs once, only if there is a wait.
///
/// # Errors
/// xenstore fails, the orders are not valid, or dom0 asks for a shutdown instead.
pub fn receive(
    xenstore: &Store,
    signals: &Signals,
    before_wait: impl FnOnce() -> Result<(), Failure>,
) -> Result<Orders, Failure> {
    // Reading first saves a round trip where the domain was started with its orders.
    let mut count = read(xenstore, store::ORDERS)?;
    if count.is_none() {
        before_wait()?;
        xenstore.watch(store::ORDERS, "orders").map_err(|error| Failure::from_error(&error))?;
        while count.is_none() {
            wait(xenstore, signals)?;
            count = read(xenstore, store::ORDERS)?;
        }
    }
    let json = join(&count.unwrap_or_default(), |path| read(xenstore, path))?;
    Orders::parse(&json).map_err(|error| Failure::from_error(&error))
}

fn read(xenstore: &Store, path: &str) -> Result<Option<String>, Failure> {
    xenstore.read_optional(path).map_err(|error| Failure::from_error(&error))
}

fn wait(xenstore: &Store, signals: &Signals) -> Result<(), Failure> {
    loop {
        let event = xenstore
            .wait_event(Some(Duration::ZERO))
            .map_err(|error| Failure::from_error(&error))?;
        if event.is_some() {
            return Ok(());
        }
        let mut fds = [PollFd::new(xenstore, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).or_fail(|| "wait for the orders".into()),
        }
        if signals.take() == Some(Event::Stop) {
            return Err(Failure::set_up("shut down before there were orders"));
        }
    }
}

fn join(
    count: &str,
    mut read: impl FnMut(&str) -> Result<Option<String>, Failure>,
) -> Result<String, Failure> {
    let count = match count.parse::<usize>() {
        Ok(count) if (1..=store::MAX_CHUNKS).contains(&count) => count,
        _ => {
            return Err(Failure::set_up(format!(
                "xenstore node {} holds '{count}', not a number of chunks from 1 to {}",
                store::ORDERS,
                store::MAX_CHUNKS
            )));
        }
    };
    let mut json = String::new();
    for index in 0..count {
        let path = store::chunk_path(index);
        let chunk = read(&path)?;
        json += &chunk.ok_or_else(|| {
            Failure::set_up(format!("xenstore node {path} is missing: the orders are incomplete"))
        })?;
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_back_in_their_order() {
        let text = "a".repeat(store::CHUNK_BYTES) + "b";
        let chunks = store::split(&text).unwrap();
        let read = |path: &str| {
            let index = path.rsplit('/').next().unwrap().parse::<usize>().unwrap();
            Ok(chunks.get(index).map(|chunk| (*chunk).to_owned()))
        };
        assert_eq!(join("2", read).unwrap(), text);
    }

    #[test]
    fn a_missing_chunk_or_an_odd_count_is_named() {
        let nothing = |_: &str| Ok(None);
        let missing = join("1", nothing).unwrap_err().to_string();
        assert!(missing.contains("orders/0 is missing"), "{missing}");
        for count in ["", "0", "-1", "257", "x"] {
            let odd = join(count, nothing).unwrap_err().to_string();
            assert!(odd.contains("number of chunks"), "{count}: {odd}");
        }
    }
}

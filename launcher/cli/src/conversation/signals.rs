//! The signals of a command that talks to a guest.

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Signals that go to the process in the guest instead of this command, and SIGWINCH.
pub(crate) const ALL_SIGNALS: [i32; 4] = [SIGHUP, SIGINT, SIGTERM, SIGWINCH];

/// Catches this command's signals for the process in the guest.
pub(crate) struct Signals {
    last: Arc<AtomicUsize>,
    resized: Arc<AtomicUsize>,
    /// Readable when a signal came.
    pub(super) wake: UnixStream,
}

impl Signals {
    pub(crate) fn catch(numbers: &[i32]) -> Result<Self> {
        let (wake, waker) = UnixStream::pair().context("cannot make a pair of sockets")?;
        wake.set_nonblocking(true).context("cannot set up a socket")?;
        let (last, resized) = (Arc::default(), Arc::default());
        for &signal in numbers {
            let number = usize::try_from(signal).unwrap_or_default();
            let slot = if signal == SIGWINCH { &resized } else { &last };
            let caught = signal_hook::flag::register_usize(signal, Arc::clone(slot), number);
            caught
                .map(drop)
                .and_then(|()| {
                    signal_hook::low_level::pipe::register(signal, waker.try_clone()?).map(drop)
                })
                .with_context(|| format!("cannot handle signal {signal}"))?;
        }
        Ok(Self { last, resized, wake })
    }

    pub(super) fn take(&self) -> Option<i32> {
        let number = self.last.swap(0, Ordering::Relaxed);
        i32::try_from(number).ok().filter(|number| *number > 0)
    }

    pub(super) fn has_resized(&self) -> bool {
        self.resized.swap(0, Ordering::Relaxed) > 0
    }

    pub(super) fn drain(&self) {
        let mut bytes = [0; 64];
        while matches!(rustix::io::read(&self.wake, &mut bytes[..]), Ok(1..)) {}
    }
}

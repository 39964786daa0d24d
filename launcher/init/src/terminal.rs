//! Pseudo-terminals for processes that want one.

use crate::failure::{Failure, OrFail};
use contract::talk::Size;
use rustix::fs::{Gid, Mode, OFlags, Uid, fchown, open};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::os::fd::{AsFd, OwnedFd};

/// A pseudo-terminal: `init`'s end, and the process's.
#[derive(Debug)]
pub struct Terminal {
    /// What is written here is typed; what the process writes is read here. Does not block.
    pub ours: OwnedFd,
    /// What the process has as its standard streams.
    pub theirs: OwnedFd,
}

impl Terminal {
    /// Makes one that belongs to user `uid`.
    ///
    /// # Errors
    /// The image's root has no `/dev/pts`, or there are too many.
    pub fn open(uid: u32, size: Size) -> Result<Self, Failure> {
        let make = || -> rustix::io::Result<Self> {
            let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
            unlockpt(&ours)?;
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
            let theirs = open(ptsname(&ours, vec![])?, flags, Mode::empty())?;
            if uid != 0 {
                fchown(&theirs, Some(Uid::from_raw(uid)), None::<Gid>)?;
            }
            rustix::io::ioctl_fionbio(&ours, true)?;
            Ok(Self { ours, theirs })
        };
        let terminal = make().or_fail(|| "make a terminal".into())?;
        resize(&terminal.ours, size);
        Ok(terminal)
    }
}

/// Changes a terminal's size; its foreground processes get SIGWINCH.
pub fn resize(ours: impl AsFd, size: Size) {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // A process that has ended needs none.
    let _ = tcsetwinsize(ours, size);
}

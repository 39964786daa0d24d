//! Pseudo-terminals for commands that need a terminal.

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::Winsize;
use std::fs::File;
use std::os::fd::AsFd;

/// Opens a new pseudo-terminal: the side to read and write, and the command's side.
///
/// # Errors
/// The kernel refuses to open one.
pub fn open_pseudo_terminal() -> Result<(File, File)> {
    let explain = "cannot open a pseudo-terminal";
    let ours =
        openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).context(explain)?;
    grantpt(&ours).context(explain)?;
    unlockpt(&ours).context(explain)?;
    let name = ptsname(&ours, Vec::new()).context(explain)?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).context(explain)?;
    Ok((File::from(ours), File::from(theirs)))
}

/// Sets a terminal's size.
///
/// # Errors
/// `terminal` is not a terminal.
pub fn set_size(terminal: impl AsFd, rows: u16, columns: u16) -> Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size).context("cannot set the terminal's size")
}

//! Terminals: the agent's pseudo-terminals, and raw mode for the one the user sits at.

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr};
use std::fs::File;
use std::os::fd::AsFd;

/// Opens a new pseudo-terminal: the side to read and write, and the command's side.
///
/// # Errors
/// When the kernel refuses one.
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
/// When `terminal` is none.
pub fn set_size(terminal: impl AsFd, rows: u16, columns: u16) -> Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size).context("cannot set the terminal's size")
}

/// Rows and columns of the terminal at our standard input, if there is one.
#[must_use]
pub fn size_of_stdin() -> Option<(u16, u16)> {
    let size = tcgetwinsize(std::io::stdin()).ok()?;
    Some((size.ws_row, size.ws_col))
}

/// The terminal at standard input in raw mode, until dropped.
#[derive(Debug)]
pub struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Switches to raw mode.
    ///
    /// # Errors
    /// When standard input is not a terminal.
    pub fn enter() -> Result<Self> {
        let before = tcgetattr(std::io::stdin()).context("standard input is not a terminal")?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw)
            .context("cannot change the terminal's mode")?;
        Ok(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}

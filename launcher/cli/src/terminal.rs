//! The terminal that a command runs on.

use anyhow::{Context, Result, bail};
use contract::talk::Size;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{Stdin, stdin};

/// The size of a terminal that does not report one.
const USUAL: Size = Size { rows: 24, columns: 80 };

/// This command's terminal.
#[derive(Debug)]
pub(crate) struct Screen(Stdin);

impl Screen {
    /// The terminal on standard input. Without input, only its size is needed.
    ///
    /// # Errors
    /// Standard input is needed and is not a terminal.
    pub(crate) fn require(interactive: bool) -> Result<Self> {
        if interactive && !isatty(stdin()) {
            bail!("cannot give it a terminal: standard input is not one; leave out -t");
        }
        Ok(Self(stdin()))
    }

    /// The current size.
    pub(crate) fn size(&self) -> Size {
        let found = tcgetwinsize(&self.0).or_else(|_| tcgetwinsize(std::io::stdout()));
        match found {
            Ok(size) if size.ws_row > 0 && size.ws_col > 0 => {
                Size { rows: size.ws_row, columns: size.ws_col }
            }
            _ => USUAL,
        }
    }

    /// Makes the terminal pass each key on unchanged, until the result is dropped.
    ///
    /// # Errors
    /// The terminal refuses.
    pub(crate) fn make_raw(&self) -> Result<Raw> {
        let before = tcgetattr(&self.0).context("cannot read the terminal's settings")?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&self.0, OptionalActions::Now, &raw).context("cannot set up the terminal")?;
        Ok(Raw(before))
    }
}

/// A terminal in raw mode.
#[derive(Debug)]
pub(crate) struct Raw(Termios);

impl Drop for Raw {
    fn drop(&mut self) {
        // Ignores a failure: the terminal may have disappeared.
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &self.0);
    }
}

//! Waits for an app's output and its end, without polling.

use crate::apps::{App, Apps};
use crate::error::AppsError;
use crate::life::repair::repair_app;
use crate::log::files::{LogFiles, Piece};
use crate::log::writer::{Entry, LogFilter, Parser};
use crate::record::outcome::Outcome;
use crate::store::end_watch::EndWatch;
use std::time::{Duration, Instant};

/// If only the last entries are wanted, at least this many are kept.
const MAX_ENTRIES: usize = 64 * 1024;

/// What [`Follow::next`] returns.
#[derive(Debug)]
pub enum Followed {
    /// More of the log.
    Output(Vec<Entry>),
    /// Output may be missing here: the log was rotated before it was read.
    Gap,
    /// Nothing new in the given time.
    Nothing,
    /// The app has ended, its domain is removed, and all output was returned before.
    Ended(Outcome),
}

/// Follows the entries of the app's log that `filter` selects.
///
/// # Errors
/// The log cannot be opened.
pub fn follow<'a>(apps: &'a Apps, app: &App, filter: LogFilter) -> Result<Follow<'a>, AppsError> {
    Follow::new(apps, app, filter)
}

/// An app's log that is being followed.
#[derive(Debug)]
pub struct Follow<'a> {
    apps: &'a Apps,
    id: String,
    end: EndWatch,
    files: LogFiles,
    parser: Parser,
    filter: LogFilter,
    /// Entries read ahead.
    ready: Vec<Entry>,
}

impl<'a> Follow<'a> {
    fn new(apps: &'a Apps, app: &App, filter: LogFilter) -> Result<Self, AppsError> {
        let folder = apps.folder(&app.record.id);
        let end = EndWatch::new(&folder)?;
        let files = LogFiles::open(&folder)?;
        let (id, parser) = (app.record.id.clone(), Parser::default());
        let mut follow = Self { apps, id, end, files, parser, filter, ready: Vec::new() };
        if filter.tail.is_some() {
            let mut there = Vec::new();
            while let Some(found) = follow.read()? {
                // A gap comes before the last lines, and only those are wanted.
                let Followed::Output(entries) = found else { continue };
                there.extend(entries);
                // Rarely, because it moves all entries that stay.
                if there.len() > 2 * MAX_ENTRIES {
                    filter.cut(&mut there);
                }
            }
            filter.cut(&mut there);
            follow.ready = there;
        }
        Ok(follow)
    }

    /// The next piece of output, or the end; waits for at most `timeout`.
    ///
    /// Returns early with [`Followed::Nothing`] when a signal arrives.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn next(&mut self, timeout: Duration) -> Result<Followed, AppsError> {
        let deadline = Instant::now() + timeout;
        if !self.ready.is_empty() {
            return Ok(Followed::Output(std::mem::take(&mut self.ready)));
        }
        loop {
            // Asks before it reads the log, so that output written in between is not missed.
            let ended = !self.end.lock.is_held()?;
            if let Some(found) = self.read()? {
                return Ok(found);
            }
            if ended {
                match self.outcome()? {
                    Some(outcome) => return Ok(Followed::Ended(outcome)),
                    // The app's monitor died. The repair starts another one, which writes more output.
                    None => drop(repair_app(self.apps, &self.id)?),
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.end.sleep(left)? {
                return Ok(Followed::Nothing);
            }
        }
    }

    /// Reads what the log has now; `None` if there is nothing new.
    fn read(&mut self) -> Result<Option<Followed>, AppsError> {
        loop {
            match self.files.read()? {
                Piece::Bytes(bytes) => {
                    let mut entries = self.parser.parse(&bytes);
                    entries.retain(|entry| self.filter.has(entry));
                    if !entries.is_empty() {
                        return Ok(Some(Followed::Output(entries)));
                    }
                }
                Piece::Gap => return Ok(Some(Followed::Gap)),
                Piece::Nothing => return Ok(None),
            }
        }
    }

    fn outcome(&self) -> Result<Option<Outcome>, AppsError> {
        if let Some(outcome) = self.end.lock.outcome()? {
            return Ok(Some(outcome));
        }
        match self.apps.folder(&self.id).read_state() {
            Ok(state) if state.can_stop() => Ok(None),
            Ok(state) => {
                Ok(Some(state.outcome().cloned().unwrap_or_else(|| Outcome::with_code(0))))
            }
            Err(error) if error.is_not_found() => Err(AppsError::Unknown(self.id.clone())),
            Err(error) => Err(error.into()),
        }
    }
}

//! The keeper: the monitor's process that holds the app's lock and all rights, and parses nothing from the guest.

use crate::apps::Apps;
use crate::error::AppsError;
use crate::guest::xenstore::GuestStore;
use crate::life::end::finish;
use crate::life::restart::{end_to_restart, restart_after_backoff, wants_restart};
use crate::log::writer::LogPaths;
use crate::monitor::console::Console;
use crate::monitor::current_reader::{ANSWER_TIME, READER_TIME, READERS_AT_THE_END, Reader};
use crate::monitor::looks::Looks;
use crate::monitor::messages::{MAX_PACKET_BYTES, Order, Word};
use crate::monitor::refill::Refill;
use crate::pool::pools::has_pools;
use crate::record::outcome::Outcome;
use crate::record::timing::{moments, now_unix_us};
use crate::storage::start_set;
use crate::store::locked::Locked;
use contract::one_line;
use files::FileError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};
use toolstack::{DomId, DomainState};

/// The most lines that a monitor writes about errors.
const MAX_REPORTED_ERRORS: u32 = 16;
/// The most messages of the reader, or events of xenstore, that the keeper takes before it does its other work.
const MESSAGES_A_TURN: usize = 64;

/// The monitor's process that parses nothing from the guest.
pub(super) struct Keeper<'a> {
    pub(super) apps: &'a Apps,
    pub(super) app: Locked,
    pub(super) domid: DomId,
    pub(super) guest: GuestStore,
    pub(super) log: LogPaths,
    pub(super) launcher: &'a Path,
    pub(super) console: Option<Console>,
    pub(super) reader: Reader,
    pub(super) looks: Looks,
    pub(super) report: Reading,
    pub(super) start_set: Reading,
    pub(super) refill: Refill,
    pub(super) reported_errors: u32,
}

/// The exchange with the reader about one of the guest's texts.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// When the text was read that the reader has not answered yet, in microseconds since 1970.
    pub(super) asked: Option<u64>,
    /// The last text that the reader got, if only a different text must be sent again.
    pub(super) given: Option<String>,
    /// Whether the exchange is complete.
    pub(super) done: bool,
}

impl Keeper<'_> {
    /// Watches the app until it has ended.
    pub(super) fn watch(&mut self) -> Result<Outcome, AppsError> {
        // The number was read from a file. After a power cut it may be another domain's, which must not be read.
        if self.apps.toolstack().of_app(self.domid, self.app.record.uuid)?.is_none() {
            return Ok(Outcome::unreported(DomainState::Gone));
        }
        if !self.open_console()? {
            self.guest.watch_console()?;
        }
        loop {
            let changes = self.guest.changes(MESSAGES_A_TURN)?;
            if self.console.is_none() && changes.console && self.open_console()? {
                self.replace_reader();
            }
            if changes.some_domain_ended {
                if let Some(outcome) = self.look_at_domain()? {
                    return Ok(outcome);
                }
            }
            self.start_reader_if_due();
            let now = Instant::now();
            if self.looks.is_due(now, !self.start_set.done) {
                self.look_at_nodes()?;
            }
            if let Some(outcome) = self.hear_reader() {
                return Ok(outcome);
            }
            self.refill(Refill::go_on);
            self.sleep()?;
        }
    }

    /// Writes an error to `monitor.log` that is no reason to end the app. A guest can cause some errors repeatedly, so
    /// the number of lines is limited.
    pub(super) fn report_error(&mut self, text: &str) {
        if self.reported_errors < MAX_REPORTED_ERRORS {
            self.reported_errors += 1;
            eprintln!("{text}");
        }
    }

    /// Opens the console if it exists; returns whether it is open.
    fn open_console(&mut self) -> Result<bool, AppsError> {
        let Some(path) = self.guest.console()? else {
            return Ok(false);
        };
        match Console::open(&path) {
            Ok(console) => self.console = Some(console),
            // The domain may have just gone; the app matters more than its log.
            Err(error) => self.report_error(&one_line(&error)),
        }
        Ok(self.console.is_some())
    }

    /// Sends the report and the start set to the reader if they exist and are new.
    fn look_at_nodes(&mut self) -> Result<(), AppsError> {
        self.ask_for_report()?;
        self.ask_for_start_set()
    }

    fn ask_for_report(&mut self) -> Result<(), AppsError> {
        if self.report.asked.is_some() {
            return Ok(());
        }
        let text = self.guest.report()?;
        let Some(text) = text else { return Ok(()) };
        let read_unix_us = now_unix_us();
        let known = self.report.given.as_ref() == Some(&text);
        if !known && self.tell_reader(&Order::Report(text.clone()), None) {
            (self.report.asked, self.report.given) = (Some(read_unix_us), Some(text));
        }
        Ok(())
    }

    fn ask_for_start_set(&mut self) -> Result<(), AppsError> {
        if self.start_set.done || self.start_set.asked.is_some() {
            return Ok(());
        }
        let found = self.guest.start_set(MAX_PACKET_BYTES)?;
        if !found.is_empty() && self.tell_reader(&Order::StartSet(found), None) {
            self.start_set.asked = Some(now_unix_us());
        }
        Ok(())
    }

    /// Checks whether the domain that has ended is the app's; returns the app's outcome then.
    fn look_at_domain(&mut self) -> Result<Option<Outcome>, AppsError> {
        let state = self.apps.toolstack().state(self.domid, self.app.record.uuid)?;
        if !state.has_ended() {
            return Ok(None);
        }
        let deadline = Instant::now() + ANSWER_TIME;
        for _ in 0..READERS_AT_THE_END {
            // The guest wrote its report, if any, before its domain ended.
            self.start_reader();
            self.look_at_nodes()?;
            while (self.report.asked.is_some() || self.start_set.asked.is_some())
                && Instant::now() < deadline
            {
                if let Some(outcome) = self.hear_reader() {
                    return Ok(Some(outcome));
                }
                let Reader::Runs(reader, _) = &self.reader else { break };
                let left = deadline.saturating_duration_since(Instant::now());
                self.poll(&[reader.as_fd()], Some(left))?;
            }
            if !matches!(self.reader, Reader::Due { .. }) {
                break;
            }
        }
        Ok(Some(Outcome::unreported(state)))
    }

    /// Takes the reader's messages. Returns the app's outcome once the guest has reported it.
    pub(super) fn hear_reader(&mut self) -> Option<Outcome> {
        for _ in 0..MESSAGES_A_TURN {
            let Some(word) = self.next_word() else { break };
            match word {
                Word::Report(report) => {
                    let asked = self.report.asked.take();
                    if let (Some(read_unix_us), Some(report)) = (asked, report) {
                        if let Some(outcome) = self.take_report(&report, read_unix_us) {
                            return Some(outcome);
                        }
                    }
                }
                Word::StartSet(set) => {
                    if self.start_set.asked.take().is_some() && !self.start_set.done {
                        // Ignores later start sets, in case a guest writes them without end.
                        self.start_set.done = true;
                        let kept = set
                            .map(|json| start_set::keep(&self.app.folder, &self.app.record, &json));
                        if let Some(Err(error)) = kept {
                            self.report_error(&one_line(&error));
                        }
                    }
                }
                Word::LogFull => self.give_next_file(),
                Word::WantsVchan(progress) => {
                    let began = match &self.reader {
                        Reader::Runs(_, began) => *began,
                        Reader::Due { .. } | Reader::Impossible => Instant::now(),
                    };
                    let at = (began + READER_TIME).max(Instant::now());
                    self.end_reader(Reader::Due { at, progress, with_vchan: true });
                    self.start_reader_if_due();
                }
                Word::Said(text) => self.report_error(&text),
                Word::Drained | Word::Unfenced => {
                    self.end_reader(Reader::Impossible);
                }
            }
        }
        None
    }

    fn take_report(&mut self, report: &contract::Report, read_unix_us: u64) -> Option<Outcome> {
        if self.app.state.note_marks(moments(report, read_unix_us)) {
            if let Err(error) = self.app.folder.write_state_lightly(&self.app.state) {
                self.report_error(&one_line(&error));
            }
        }
        if !self.app.state.marks().is_empty() {
            self.refill.plan();
        }
        let outcome = Outcome::from(report.exit.as_ref()?);
        Some(match report.out_of_memory {
            true => outcome.out_of_memory(self.app.record.shape.memory_mib),
            false => outcome,
        })
    }

    /// Continues the replacement of a domain that was taken out of a pool.
    pub(super) fn refill(&mut self, step: fn(&mut Refill, Option<&Path>) -> io::Result<()>) {
        let launcher = Some(self.launcher).filter(|_| has_pools(self.apps));
        if let Err(error) = step(&mut self.refill, launcher) {
            self.report_error(&one_line(&error));
        }
    }

    /// Waits until something happens or is due.
    fn sleep(&self) -> Result<(), AppsError> {
        let mut next = self.refill.next().map_or(self.looks.next, |at| at.min(self.looks.next));
        let mut fds = vec![self.guest.as_fd()];
        match &self.reader {
            Reader::Runs(reader, _) => fds.push(reader.as_fd()),
            Reader::Due { at, .. } => next = next.min(*at),
            Reader::Impossible => {}
        }
        fds.extend(self.refill.file());
        self.poll(&fds, Some(next.saturating_duration_since(Instant::now())))
    }

    pub(super) fn poll(
        &self,
        files: &[BorrowedFd<'_>],
        timeout: Option<Duration>,
    ) -> Result<(), AppsError> {
        let timeout = timeout.map(|timeout| Timespec::try_from(timeout).unwrap_or_default());
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(files.len());
        fds.extend(files.iter().map(|file| PollFd::from_borrowed_fd(*file, PollFlags::IN)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(FileError::io("watch", self.app.folder.path())(errno.into()).into()),
        }
    }

    pub(super) fn end(&mut self, outcome: Outcome) -> Result<(), AppsError> {
        // An error at the end of the log must not keep the domain from being removed.
        let drained = self.drain();
        if wants_restart(&self.app, &outcome) {
            end_to_restart(self.apps, &mut self.app, outcome)?;
            return restart_after_backoff(self.apps, &mut self.app, self.launcher).and(drained);
        }
        finish(self.apps, &mut self.app, outcome).and(drained)
    }
}

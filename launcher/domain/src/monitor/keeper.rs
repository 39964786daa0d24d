//! The keeper: the monitor's process that has the app's lock and all rights, and parses nothing of the guest's.

use crate::apps::Apps;
use crate::console::Console;
use crate::domain_state::DomainState;
use crate::error::AppsError;
use crate::folder::Folder;
use crate::lock::Lock;
use crate::log::LogPaths;
use crate::monitor::current_reader::ANSWER_TIME;
use crate::monitor::current_reader::{READER_TIME, READERS_AT_THE_END, Reader};
use crate::monitor::looks::Looks;
use crate::monitor::messages::{MAX_PACKET_BYTES, Order, Word};
use crate::monitor::refill::Refill;
use crate::outcome::Outcome;
use crate::record::{Record, State};
use crate::start_set;
use crate::timing::{moments, now_unix_us};
use contract::one_line;
use contract::store as nodes;
use files::FileError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};
use xen::DomId;
use xen::store::Store;

/// So many lines a monitor writes of what goes wrong.
const MAX_COMPLAINTS: u32 = 16;
/// The most nodes of a start set.
const MAX_START_SET_NODES: usize = nodes::MAX_START_SET_BYTES / nodes::FOUND_CHUNK_BYTES + 2;
/// The keeper takes so many messages of the reader's, or of xenstore's, before it looks at all else.
const MESSAGES_A_TURN: usize = 64;

/// The process that parses nothing of the guest's.
pub(super) struct Keeper<'a> {
    pub(super) apps: &'a Apps,
    pub(super) folder: Folder,
    pub(super) record: Record,
    pub(super) state: State,
    pub(super) domid: DomId,
    pub(super) store: Store,
    pub(super) log: LogPaths,
    pub(super) launcher: &'a Path,
    pub(super) console: Option<Console>,
    pub(super) reader: Reader,
    pub(super) looks: Looks,
    pub(super) report: Reading,
    pub(super) start_set: Reading,
    pub(super) refill: Refill,
    pub(super) complaints: u32,
}

/// One of the guest's texts, on its way to the reader.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// When the text was read that the reader is to answer for, in microseconds since 1970.
    pub(super) asked: Option<u64>,
    /// The last text that the reader was given, where only another one is of interest.
    pub(super) given: Option<String>,
    /// Nothing more is wanted.
    pub(super) done: bool,
}

impl Keeper<'_> {
    fn node(&self, name: &str) -> String {
        format!("/local/domain/{}/{name}", self.domid)
    }

    /// Until the app has ended.
    pub(super) fn watch(&mut self) -> Result<Outcome, AppsError> {
        const RELEASE: &str = "@releaseDomain";
        let tty = self.node("console/tty");
        self.store.watch(RELEASE, RELEASE)?;
        // The number was read from a file. After a power cut it may be another domain's, of which nothing may be read.
        if self.apps.domains().of_app(self.domid, self.record.uuid)?.is_none() {
            return Ok(Outcome::unreported(DomainState::Gone));
        }
        if !self.open_console()? {
            // Dom0's own node, which the guest cannot write.
            self.store.watch(&tty, &tty)?;
        }
        loop {
            let mut changed = Vec::new();
            while changed.len() < MESSAGES_A_TURN {
                match self.store.wait_event(Some(Duration::ZERO))? {
                    Some(event) => changed.push(event.token),
                    None => break,
                }
            }
            let has = |what: &str| changed.iter().any(|token| token == what);
            if self.console.is_none() && has(&tty) && self.open_console()? {
                self.replace_reader();
            }
            if has(RELEASE) {
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

    /// Says in `monitor.log` what went wrong and is no reason to leave the app alone. A guest can bring
    /// some of it about again and again: not each is told.
    pub(super) fn complain(&mut self, text: &str) {
        if self.complaints < MAX_COMPLAINTS {
            self.complaints += 1;
            eprintln!("{text}");
        }
    }

    /// Opens the console if there is one by now; returns whether there is.
    fn open_console(&mut self) -> Result<bool, AppsError> {
        let Some(path) = self.store.read_optional(&self.node("console/tty"))? else {
            return Ok(false);
        };
        match Console::open(&path) {
            Ok(console) => self.console = Some(console),
            // The domain may have gone in this moment; the app matters more than its log.
            Err(error) => self.complain(&one_line(&error)),
        }
        Ok(self.console.is_some())
    }

    /// Gives the report to the reader, and the start set, if they are there and new.
    fn look_at_nodes(&mut self) -> Result<(), AppsError> {
        self.ask_for_report()?;
        self.ask_for_start_set()
    }

    fn ask_for_report(&mut self) -> Result<(), AppsError> {
        if self.report.asked.is_some() {
            return Ok(());
        }
        let text = self.store.read_untrusted(&self.node(nodes::REPORT))?;
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
        let mut found = vec![];
        let mut bytes = 0;
        while found.len() < MAX_START_SET_NODES {
            let path = match found.len() {
                0 => nodes::FOUND_START_SET.to_owned(),
                index => nodes::chunk_path(nodes::FOUND_START_SET, index),
            };
            let Some(text) = self.store.read_untrusted(&self.node(&path))? else { break };
            bytes += text.len() + size_of::<u32>();
            if bytes >= MAX_PACKET_BYTES {
                break;
            }
            found.push(text);
        }
        if !found.is_empty() && self.tell_reader(&Order::StartSet(found), None) {
            self.start_set.asked = Some(now_unix_us());
        }
        Ok(())
    }

    /// Some domain has ended: this one?
    fn look_at_domain(&mut self) -> Result<Option<Outcome>, AppsError> {
        let state = self.apps.domains().state(self.domid, self.record.uuid)?;
        if !state.has_ended() {
            return Ok(None);
        }
        let deadline = Instant::now() + ANSWER_TIME;
        for _ in 0..READERS_AT_THE_END {
            // The report was written before, if there is one.
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

    /// Takes what the reader says; returns how the app has ended once the guest has told.
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
                        // A guest that writes it again and again is not listened to.
                        self.start_set.done = true;
                        let kept =
                            set.map(|json| start_set::keep(&self.folder, &self.record, &json));
                        if let Some(Err(error)) = kept {
                            self.complain(&one_line(&error));
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
                Word::Said(text) => self.complain(&text),
                Word::Drained | Word::Unfenced => {
                    self.end_reader(Reader::Impossible);
                }
            }
        }
        None
    }

    fn take_report(&mut self, report: &contract::Report, read_unix_us: u64) -> Option<Outcome> {
        let marks = moments(report, read_unix_us);
        if marks != self.state.marks {
            self.state.marks = marks;
            if let Err(error) = self.folder.write_state_lightly(&self.state) {
                self.complain(&one_line(&error));
            }
        }
        if !self.state.marks.is_empty() {
            self.refill.plan();
        }
        report.exit.as_ref().map(|exit| Outcome {
            code: exit.code(),
            message: match exit {
                contract::Exit::NotStarted { message, .. } => Some(message.clone()),
                _ => None,
            },
        })
    }

    /// Has the place of a domain that was taken out of a pool filled again.
    pub(super) fn refill(&mut self, step: fn(&mut Refill, Option<&Path>) -> io::Result<()>) {
        let launcher = Some(self.launcher).filter(|_| self.apps.has_pools());
        if let Err(error) = step(&mut self.refill, launcher) {
            self.complain(&one_line(&error));
        }
    }

    /// Until something happens, or is to be done.
    fn sleep(&self) -> Result<(), AppsError> {
        let mut next = self.refill.next().map_or(self.looks.next, |at| at.min(self.looks.next));
        let mut fds = vec![self.store.as_fd()];
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
            Err(errno) => Err(FileError::io("watch", self.folder.path())(errno.into()).into()),
        }
    }

    pub(super) fn end(&mut self, outcome: Outcome, lock: &Lock) -> Result<(), AppsError> {
        // A log that cannot be finished must not keep the domain from being taken down.
        let drained = self.drain();
        let (folder, record, state) = (&self.folder, &self.record, &mut self.state);
        if self.apps.wants_restart(folder, state, &outcome) {
            self.apps.finish_to_restart(folder, record, state, outcome, lock)?;
            let restarted =
                self.apps.restart_after_pause(folder, record, state, lock, self.launcher);
            return restarted.and(drained);
        }
        let finished = self.apps.finish(&self.folder, &self.record, &mut self.state, outcome, lock);
        finished.and(drained)
    }
}

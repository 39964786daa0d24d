//! The keeper's handling of the reader: starts and ends it, and exchanges messages with it.

use crate::error::AppsError;
use crate::monitor::channel::Received;
use crate::monitor::console::Console;
use crate::monitor::current_reader::{ANSWER_TIME, READERS_AT_THE_END, Reader};
use crate::monitor::keeper::Keeper;
use crate::monitor::messages::{Order, Progress, Word};
use crate::monitor::process::{self, Process};
use crate::monitor::reader::{self, Setup};
use contract::one_line;
use files::FileError;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// The time between a reader's death and the start of the next one.
const READER_PAUSE: Duration = Duration::from_secs(1);
impl Keeper<'_> {
    /// Ends the running reader, if any, and makes the next one due at once.
    pub(super) fn replace_reader(&mut self) {
        self.end_reader(Reader::first());
    }

    pub(super) fn start_reader_if_due(&mut self) {
        if matches!(self.reader, Reader::Due { at, .. } if Instant::now() >= at) {
            self.start_reader();
        }
    }

    /// Starts the due reader now.
    pub(super) fn start_reader(&mut self) {
        let later = Reader::Due {
            at: Instant::now() + READER_PAUSE,
            progress: Progress::default(),
            with_vchan: false,
        };
        let (progress, with_vchan) = match std::mem::replace(&mut self.reader, later) {
            Reader::Due { progress, with_vchan, .. } => (progress, with_vchan),
            other => {
                self.reader = other;
                return;
            }
        };
        match self.fork_reader(progress, with_vchan) {
            Ok(reader) => self.reader = Reader::Runs(reader, Instant::now()),
            Err(error) => self.report_error(&one_line(&error)),
        }
    }

    fn fork_reader(&self, progress: Progress, with_vchan: bool) -> Result<Process, FileError> {
        let failed =
            || FileError::io("start a process to read the output of", self.app.folder.path());
        let log = self.log.open()?;
        let console = self.console.as_ref().map(Console::try_clone).transpose();
        let console = console.map_err(failed())?;
        let started = Process::start(|channel| {
            let mut kept = vec![channel.as_fd(), log.as_fd()];
            kept.extend(console.as_ref().map(Console::as_fd));
            if process::keep_only(&self.app.record.id, &kept).is_err() {
                return 1;
            }
            let setup = Setup {
                settings: self.apps.settings(),
                name: &self.app.record.name,
                domid: self.domid,
                folder: &self.app.folder,
                channel,
                log,
                console,
                progress,
                with_vchan,
            };
            u8::from(reader::run(setup).is_err())
        });
        started.map_err(failed())
    }

    pub(super) fn next_word(&mut self) -> Option<Word> {
        let Reader::Runs(reader, _) = &self.reader else { return None };
        match reader.channel.receive(false) {
            Ok(Received::Nothing) => None,
            Ok(Received::Packet(packet, _)) => {
                let word = Word::parse(&packet);
                if word.is_none() {
                    self.reader_died("it sent an invalid message");
                }
                word
            }
            Ok(Received::Closed) => {
                self.reader_died("");
                None
            }
            Err(error) => {
                self.reader_died(&error.to_string());
                None
            }
        }
    }

    pub(super) fn give_next_file(&mut self) {
        match self.log.rotate() {
            Ok(file) => drop(self.tell_reader(&Order::NextLog, Some(&file))),
            Err(error) => {
                self.report_error(&one_line(&error));
                self.tell_reader(&Order::NoLog, None);
            }
        }
    }

    /// Sends a message; returns whether a reader received it.
    pub(super) fn tell_reader(&mut self, order: &Order, file: Option<&File>) -> bool {
        let Reader::Runs(reader, _) = &self.reader else { return false };
        match reader.channel.send(&order.render(), file, false) {
            Ok(()) => true,
            // The reader may have sent a message before it ended.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => false,
            Err(error) => {
                self.reader_died(&format!("it does not take messages: {error}"));
                false
            }
        }
    }

    fn reader_died(&mut self, why: &str) {
        let at = Instant::now() + READER_PAUSE;
        let signal =
            self.end_reader(Reader::Due { at, progress: Progress::default(), with_vchan: false });
        let why = signal.unwrap_or_else(|| why.to_owned());
        self.report_error(&format!(
            "the process that reads the guest's output and report has died ({why}); starting another one"
        ));
    }

    /// Ends the running reader. If the reader had died before, returns the cause.
    pub(super) fn end_reader(&mut self, next: Reader) -> Option<String> {
        // Asks again what this reader has not answered.
        if self.report.asked.take().is_some() {
            self.report.given = None;
            self.looks.next = Instant::now();
        }
        if self.start_set.asked.take().is_some() {
            self.looks.next = Instant::now();
        }
        match std::mem::replace(&mut self.reader, next) {
            Reader::Runs(mut reader, _) => reader.kill(),
            Reader::Due { .. } | Reader::Impossible => None,
        }
    }

    /// Lets the reader read all remaining output.
    pub(super) fn drain(&mut self) -> Result<(), AppsError> {
        let deadline = Instant::now() + reader::LONGEST_DRAIN + ANSWER_TIME;
        for _ in 0..READERS_AT_THE_END {
            self.start_reader();
            let asked = self.tell_reader(&Order::Drain, None);
            while matches!(self.reader, Reader::Runs(..)) && Instant::now() < deadline {
                // Ignores a report: the outcome is already decided.
                self.hear_reader();
                if let Reader::Runs(reader, _) = &self.reader {
                    let left = deadline.saturating_duration_since(Instant::now());
                    self.poll(&[reader.as_fd()], Some(left))?;
                }
            }
            if asked && matches!(self.reader, Reader::Impossible) {
                break;
            }
        }
        self.end_reader(Reader::Impossible);
        Ok(())
    }
}

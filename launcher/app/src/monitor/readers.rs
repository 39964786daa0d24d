//! The keeper's side of the reader: starting, telling, hearing and ending it.

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

/// A reader that died is followed by the next one after this time.
const READER_PAUSE: Duration = Duration::from_secs(1);
impl Keeper<'_> {
    /// Ends the reader that runs, if any, and has the next one begin at once.
    pub(super) fn replace_reader(&mut self) {
        self.end_reader(Reader::first());
    }

    pub(super) fn start_reader_if_due(&mut self) {
        if matches!(self.reader, Reader::Due { at, .. } if Instant::now() >= at) {
            self.start_reader();
        }
    }

    /// Starts the reader that is due, now.
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
                    self.reader_died("it said what makes no sense");
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

    /// Returns whether a reader was told.
    pub(super) fn tell_reader(&mut self, order: &Order, file: Option<&File>) -> bool {
        let Reader::Runs(reader, _) = &self.reader else { return false };
        match reader.channel.send(&order.render(), file, false) {
            Ok(()) => true,
            // It may have said something before it ended.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => false,
            Err(error) => {
                self.reader_died(&format!("it does not listen: {error}"));
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
            "the process that reads what the guest says has died ({why}); another one goes on"
        ));
    }

    /// Ends the reader that runs; returns why, if it ended before and not of its own will.
    pub(super) fn end_reader(&mut self, next: Reader) -> Option<String> {
        // What it has not answered is asked again.
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

    /// Has the reader read to the end of the output.
    pub(super) fn drain(&mut self) -> Result<(), AppsError> {
        let deadline = Instant::now() + reader::LONGEST_DRAIN + ANSWER_TIME;
        for _ in 0..READERS_AT_THE_END {
            self.start_reader();
            let asked = self.tell_reader(&Order::Drain, None);
            while matches!(self.reader, Reader::Runs(..)) && Instant::now() < deadline {
                // The report is known, or there is none.
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

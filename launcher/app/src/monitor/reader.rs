//! The reader: the monitor's process that reads and parses the guest's data, behind a fence.
//!
//! It copies the app's output into the log, and parses the report and the start set that the keeper reads from
//! xenstore. It opens no file by a path: console, vchan and the log's first file are open when it begins, and the
//! keeper sends the log's later files.

use crate::guest::vchan;
use crate::log::writer::Log;
use crate::monitor::channel::{Channel, Received};
use crate::monitor::console::Console;
use crate::monitor::fence;
use crate::monitor::limiter::{Budget, Clocks, Limiter};
use crate::monitor::messages::{Order, Progress, Word};
use crate::monitor::output::Output;
use crate::settings::Settings;
use crate::store::folder::Folder;
use contract::streams::Splitter;
use contract::{Report, StartSet, one_line, store as nodes};
use files::FileError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::error::Error;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use toolstack::DomId;

/// The most errors that the reader reports, because a guest can cause some errors repeatedly.
const MAX_REPORTED_ERRORS: u32 = 16;
/// More than can be left when an app has ended: xenconsoled holds 1 MiB back if it is read more slowly than the app
/// writes. Output beyond this, of a guest that keeps writing after its report, is dropped.
const MOST_LEFT_BYTES: usize = 2 << 20;
/// The longest time for the last output, however slowly it comes.
pub(super) const LONGEST_DRAIN: Duration = Duration::from_secs(60);
/// How much processor time an app's output may use at once after a rest, in seconds of one processor.
const PROCESSOR_BURST_S: u64 = 10;
/// Output may come at once up to the size of this many log files, which is as much as the log keeps.
const FILES_OF_A_LOG: u64 = 2;

/// What a reader needs to begin.
pub(super) struct Setup<'a> {
    pub(super) settings: &'a Settings,
    /// The app's name.
    pub(super) name: &'a str,
    pub(super) domid: DomId,
    /// The app's folder, for messages.
    pub(super) folder: &'a Folder,
    pub(super) channel: Channel,
    pub(super) log: File,
    pub(super) console: Option<Console>,
    /// The point at which the previous reader stopped.
    pub(super) progress: Progress,
    /// Whether to ask for the app's output over a vchan.
    pub(super) with_vchan: bool,
}

/// Runs the reader.
///
/// # Errors
/// The keeper has died, or its messages cannot be read.
pub(super) fn run(setup: Setup<'_>) -> io::Result<()> {
    let Setup { settings, name, domid, folder, channel, log, console, progress, with_vchan } =
        setup;
    // Before the fence, because connecting needs devices that reach other domains and that the reader must not
    // keep. Of the guest's data, connecting parses only two numbers and the sizes of the rings.
    let vchan = match with_vchan.then(|| vchan::output(name, domid)) {
        Some(Ok(vchan)) => vchan,
        Some(Err(error)) => {
            tracing::debug!("{}", one_line(&error));
            None
        }
        None => None,
    };
    let line = Arc::new(Line { channel, waiting: Mutex::default() });
    if let Err(error) = fence::enter(settings, &mut |text| line.say(&Word::Said(text))) {
        line.say(&Word::Said(one_line(&*error)))?;
        return line.say(&Word::Unfenced);
    }
    let log_bytes = settings.log_mib << 20;
    let next_file = {
        let (line, path) = (Arc::clone(&line), folder.path().to_owned());
        move || line.next_file().map_err(FileError::io("rotate the log of", &path))
    };
    let log = match Log::over(log, log_bytes, folder, next_file) {
        Ok(log) => log,
        Err(error) => return line.say(&Word::Said(one_line(&error))),
    };
    let mut limiter = limiter(settings);
    limiter.owe(progress.debt);
    let streams = Splitter::resume(progress.stream, &progress.held);
    let output = Output::new(log, limiter, streams, console, (vchan, progress.asks));
    Reader { line, output, folder, reported_errors: 0 }.watch()
}

fn limiter(settings: &Settings) -> Limiter {
    let per_second = settings.log_rate_kib.max(1) << 10;
    let burst = ((FILES_OF_A_LOG * settings.log_mib) << 20).max(per_second);
    let share = u64::from(settings.log_cpu_percent.clamp(1, 100)) * 10_000_000;
    Limiter::new(
        Budget { per_second, burst },
        Budget { per_second: share, burst: PROCESSOR_BURST_S * 1_000_000_000 },
        Clocks::now(),
    )
}

/// The socket to the keeper.
struct Line {
    channel: Channel,
    /// Messages that came while another one was waited for.
    waiting: Mutex<VecDeque<Order>>,
}

impl Line {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Order>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, word: &Word) -> io::Result<()> {
        self.channel.send(&word.render(), None, true)
    }

    fn hear(&self) -> io::Result<Option<Order>> {
        if let Some(order) = self.waiting().pop_front() {
            return Ok(Some(order));
        }
        Ok(self.receive(false)?.map(|(order, _)| order))
    }

    fn receive(&self, wait: bool) -> io::Result<Option<(Order, Option<File>)>> {
        match self.channel.receive(wait)? {
            Received::Packet(packet, file) => {
                let order = Order::parse(&packet).ok_or(io::ErrorKind::InvalidData)?;
                Ok(Some((order, file)))
            }
            Received::Nothing => Ok(None),
            Received::Closed => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn next_file(&self) -> io::Result<File> {
        self.say(&Word::LogFull)?;
        loop {
            match self.receive(true)? {
                Some((Order::NextLog, Some(file))) => return Ok(file),
                Some((Order::NextLog | Order::NoLog, _)) => {
                    return Err(io::Error::other("the monitor cannot make a new file"));
                }
                Some((order, _)) => self.waiting().push_back(order),
                None => {}
            }
        }
    }
}

struct Reader<'a> {
    line: Arc<Line>,
    output: Output,
    folder: &'a Folder,
    reported_errors: u32,
}

impl Reader<'_> {
    /// Reads until the app has ended, or the next reader must continue.
    fn watch(&mut self) -> io::Result<()> {
        loop {
            while let Some(order) = self.line.hear()? {
                match order {
                    Order::Report(json) => {
                        let report = self.parse(Report::parse(&json))?;
                        self.line.say(&Word::Report(report))?;
                    }
                    Order::StartSet(nodes) => {
                        let set = self.parse(parse_start_set(&nodes))?.flatten();
                        self.line.say(&Word::StartSet(set))?;
                    }
                    Order::Drain => return self.drain(),
                    // `Line::next_file` takes these answers.
                    Order::NextLog | Order::NoLog => {}
                }
            }
            // On a full disk the app only loses output.
            if let Err(error) = self.output.copy(self.folder.path()) {
                self.report_error(&error)?;
            }
            if self.output.wants_vchan() {
                let (streams, limiter, asks) = self.output.state();
                let (stream, held) = streams.state();
                let (held, debt) = (held.to_vec(), limiter.debt());
                return self.line.say(&Word::WantsVchan(Progress { stream, held, asks, debt }));
            }
            self.sleep(self.output.longest_wait())?;
        }
    }

    /// Reads the output until it has been silent for a while.
    fn drain(&mut self) -> io::Result<()> {
        self.output.lift_limits();
        let deadline = Instant::now() + LONGEST_DRAIN;
        let (mut quiet_since, mut bytes) = (Instant::now(), 0);
        while self.output.is_open() && bytes < MOST_LEFT_BYTES && Instant::now() < deadline {
            match self.output.copy(self.folder.path()) {
                Ok(0) => {}
                Ok(count) => {
                    (quiet_since, bytes) = (Instant::now(), bytes + count);
                    continue;
                }
                Err(error) => {
                    self.report_error(&error)?;
                    break;
                }
            }
            let left = self.output.quiet().saturating_sub(quiet_since.elapsed());
            if left.is_zero() {
                break;
            }
            self.sleep(Some(left))?;
        }
        if let Err(error) = self.output.finish() {
            self.report_error(&error)?;
        }
        self.line.say(&Word::Drained)
    }

    /// Waits until something can be read, or until `timeout`.
    fn sleep(&self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(|timeout| Timespec::try_from(timeout).unwrap_or_default());
        let mut fds = vec![PollFd::new(&self.line.channel, PollFlags::IN)];
        fds.extend(self.output.files().map(|file| PollFd::from_borrowed_fd(file, PollFlags::IN)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn parse<T, E: Error>(&mut self, parsed: Result<T, E>) -> io::Result<Option<T>> {
        match parsed {
            Ok(value) => Ok(Some(value)),
            Err(error) => self.report_error(&error).map(|()| None),
        }
    }

    fn report_error(&mut self, error: &dyn Error) -> io::Result<()> {
        if self.reported_errors >= MAX_REPORTED_ERRORS {
            return Ok(());
        }
        self.reported_errors += 1;
        self.line.say(&Word::Said(one_line(error)))
    }
}

/// The start set in the nodes of [`nodes::FOUND_START_SET`], as JSON within its bounds.
fn parse_start_set(found: &[String]) -> Result<Option<String>, StartSetError> {
    let Some((head, others)) = found.split_first() else { return Ok(None) };
    let mut others = others.iter();
    let next = |_: &str| Ok::<_, Infallible>(others.next().cloned());
    let json = nodes::join(nodes::FOUND_START_SET, head, nodes::MAX_START_SET_CHUNKS, next)
        .map_err(StartSetError::Nodes)?;
    let set = StartSet::parse(&json).map_err(StartSetError::Json)?;
    Ok((!set.is_empty()).then(|| set.render(nodes::MAX_START_SET_BYTES)))
}

#[derive(Debug, thiserror::Error)]
enum StartSetError {
    #[error(transparent)]
    Nodes(nodes::JoinError<Infallible>),
    #[error("the guest's start set is not valid")]
    Json(#[source] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::writer::LogPaths;
    use crate::monitor::process::{Process, keep_only};
    use crate::store::folder::{LOG, OLD_LOG};
    use std::fs;
    use std::io::Write;
    use std::os::fd::AsFd;

    /// A reader of a pipe, and the keeper's end of its channel.
    struct Pair {
        root: tempfile::TempDir,
        folder: Folder,
        process: Process,
        console: File,
    }

    impl Pair {
        /// Forks as the keeper does. The test harness has other threads, which the child lacks. The only state of
        /// theirs that the child uses is the allocator's, which the C library keeps valid.
        fn start(settings: &Settings) -> Self {
            let root = tempfile::tempdir().unwrap();
            let folder = Folder::new(root.path().into());
            fs::write(folder.file(LOG), "x".repeat((1 << 20) - 1000) + "\n").unwrap();
            let (read, console) = rustix::pipe::pipe().unwrap();
            let (log, read) = (LogPaths::new(&folder).open().unwrap(), Console::of_pipe(read));
            let process = Process::start(|channel| {
                keep_only("test", &[channel.as_fd(), log.as_fd(), read.as_fd()]).unwrap();
                let setup = Setup {
                    settings,
                    name: "test",
                    domid: DomId(1),
                    folder: &folder,
                    channel,
                    log,
                    console: Some(read),
                    progress: Progress::default(),
                    with_vchan: false,
                };
                u8::from(run(setup).is_err())
            });
            Self { process: process.unwrap(), root, folder, console: console.into() }
        }

        fn hear(&self) -> Word {
            match self.process.channel.receive(true).unwrap() {
                Received::Packet(packet, _) => Word::parse(&packet).unwrap(),
                other => panic!("{other:?}"),
            }
        }

        fn tell(&self, order: &Order, file: Option<&File>) {
            self.process.channel.send(&order.render(), file, false).unwrap();
        }

        fn status(&self, name: &str) -> String {
            let path = format!("/proc/{}/status", self.process.number());
            let status = fs::read_to_string(path).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_start_matches(':').trim().to_owned()
        }
    }

    #[test]
    fn a_reader_does_all_its_work_behind_its_fences() {
        let _alone = crate::tests::alone();
        let settings = Settings { log_mib: 1, ..Settings::default() };
        let mut pair = Pair::start(&settings);
        let json = r#"{"version":3,"exit":{"code":7},"marks":[]}"#;
        let json = json.replace('3', &contract::VERSION.to_string());
        pair.tell(&Order::Report(json), None);
        let Word::Report(Some(report)) = pair.hear() else { panic!("no report") };
        assert_eq!(report.exit.map(|exit| exit.code()), Some(7));
        assert_eq!((pair.status("NoNewPrivs"), pair.status("Seccomp")), ("1".into(), "2".into()));
        assert_eq!(u64::from_str_radix(&pair.status("CapEff"), 16), Ok(0));
        if rustix::process::getuid().is_root() {
            assert_eq!(pair.status("Uid"), ["64322"; 4].join("\t"));
        }

        pair.tell(&Order::Report("no report".into()), None);
        assert!(matches!(pair.hear(), Word::Said(text) if text.contains("report")));
        assert_eq!(pair.hear(), Word::Report(None));
        let set = r#"1 {"disk":[[1,2]],"files":[]}"#;
        pair.tell(&Order::StartSet(vec![set.into()]), None);
        assert_eq!(pair.hear(), Word::StartSet(Some(set[2..].into())));

        // The file is nearly full.
        pair.console.write_all(&[b'\n'; 2000]).unwrap();
        pair.console.write_all(b"word\n").unwrap();
        assert_eq!(pair.hear(), Word::LogFull);
        pair.tell(&Order::NextLog, Some(&LogPaths::new(&pair.folder).rotate().unwrap()));
        pair.tell(&Order::Drain, None);
        assert_eq!(pair.hear(), Word::Drained);
        assert_eq!(pair.process.wait(), None);
        let [old, new] =
            [OLD_LOG, LOG].map(|name| fs::read_to_string(pair.root.path().join(name)).unwrap());
        assert!(new.ends_with("stdout F word\n"), "{new:?}");
        let lines = old.lines().filter(|line| line.ends_with("F ")).count();
        assert_eq!((lines + new.lines().count(), old.len() <= 1 << 20), (2001, true));
    }

    #[test]
    fn a_reader_ends_with_its_keeper() {
        let _alone = crate::tests::alone();
        let mut pair = Pair::start(&Settings::default());
        pair.tell(&Order::Report(String::new()), None);
        while pair.hear() != Word::Report(None) {}
        let (_, other) = Channel::pair().unwrap();
        drop(std::mem::replace(&mut pair.process.channel, other));
        assert!(pair.process.wait().is_some());
    }
}

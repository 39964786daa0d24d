//! Talking to a running guest: one vchan for each thing that is wanted of it.
//!
//! The guest is not trusted: the ring's indexes are checked, frames are bounded, and whoever
//! waits for an answer waits for so long and no longer.

use crate::apps::{App, Apps, AppsError};
use crate::record::Phase;
use crate::resolve;
use contract::talk::{self, Answer, Ask, Decoder, Exec, Hello, Request, STDIN_WINDOW, Size, Stats};
use contract::{Exit, Process, Untrusted};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use xen::store::Store;
use xen::vchan::{self, Client, VchanError};
use xen::{DomId, GrantRef, Port};

/// So many frames that bring nothing are taken at once: a guest may send such without end.
const MOST_SILENT: u32 = 10_000;
/// How long a guest may take until it has a free vchan, and to its first answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a vchan whose last client has just gone may take to be free.
const RENEWAL: Duration = Duration::from_millis(500);
/// Others than the first vchan are looked for again so often while all are in use.
const RETRY: Duration = Duration::from_millis(20);
/// Frames that wait to be sent; beyond it no input is taken.
const MAX_PENDING: usize = 64 << 10;
const BUFFER_BYTES: usize = 16 << 10;
/// What the slowest guest reads of a hello in a millisecond.
const BYTES_PER_MS: u64 = 128;

/// Why a guest cannot be talked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TalkError {
    /// The app cannot be found out about.
    #[error(transparent)]
    Apps(#[from] AppsError),
    /// The vchan fails.
    #[error("cannot talk to app {name}")]
    Vchan {
        /// The app.
        name: String,
        /// Why.
        source: VchanError,
    },
    /// The guest said what makes no sense.
    #[error("app {name}'s guest says what cannot be")]
    Frame {
        /// The app.
        name: String,
        /// What is wrong.
        source: talk::FrameError,
    },
    /// The guest said something else than was asked for.
    #[error("app {0}'s guest answers what it was not asked")]
    Unexpected(String),
    /// Nobody answers.
    #[error(
        "app {name} does not answer within {seconds} seconds; is it paused, or out of memory? See `launch logs {name}` and `xl list`; `launch stop {name}` ends it"
    )]
    Silent {
        /// The app.
        name: String,
        /// How long was waited.
        seconds: u64,
    },
    /// It has ended meanwhile.
    #[error("app {0} has ended")]
    Ended(String),
    /// The guest says why not.
    #[error("{0}")]
    Refused(Untrusted),
    /// More than the guest takes.
    #[error("arguments and environment are too large: {0} bytes, at most {max}", max = talk::MAX_HELLO_BYTES)]
    TooLarge(usize),
    /// Nothing can be waited for.
    #[error("cannot wait for app {name}")]
    Wait {
        /// The app.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// A process to be run beside an app; `None` and empty mean "as the app".
#[derive(Clone, Debug, Default)]
pub struct ExecWish {
    /// Program and arguments.
    pub args: Vec<String>,
    /// `NAME=value` each; replaces or adds to the app's.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: Option<String>,
    /// User, as `docker exec -u` takes it.
    pub user: Option<String>,
    /// Whether it gets input.
    pub stdin: bool,
    /// The size of its terminal, where it is to have one.
    pub terminal: Option<Size>,
}

impl Apps {
    /// Runs a process beside a running app; returns when it runs or has failed to.
    ///
    /// # Errors
    /// The app does not run, or its guest does not answer. A process that cannot run is a session
    /// that ends with [`Exit::NotStarted`].
    pub fn exec(&self, app: &App, wish: &ExecWish) -> Result<Session, TalkError> {
        let own = &app.record.process;
        let mut env = resolve::merge_env(&app.record.hostname, &own.env, &wish.env);
        if wish.terminal.is_some() {
            resolve::add_term(&mut env);
        }
        let process = Process {
            args: wish.args.clone(),
            env,
            cwd: wish.cwd.clone().unwrap_or_else(|| own.cwd.clone()),
            user: wish.user.clone().unwrap_or_else(|| own.user.clone()),
            ..Process::default()
        };
        let exec = Exec { process, stdin: wish.stdin, terminal: wish.terminal };
        self.talk(app, Request::Exec(exec), PATIENCE)
    }

    /// Takes hold of the app's input; its output is what [`Apps::follow`] brings.
    ///
    /// # Errors
    /// As [`Apps::exec`]; or it has no input.
    pub fn attach(&self, app: &App) -> Result<Session, TalkError> {
        let mut session = self.talk(app, Request::Attach, PATIENCE)?;
        match session.wait_for_answer()? {
            Answer::Started => Ok(session),
            _ => Err(TalkError::Unexpected(session.name)),
        }
    }

    /// What the guest says that it uses, if it says so within `patience`.
    ///
    /// # Errors
    /// As [`Apps::exec`].
    pub fn guest_stats(&self, app: &App, patience: Duration) -> Result<Stats, TalkError> {
        let mut session = self.talk(app, Request::Stats, patience)?;
        match session.wait_for_answer()? {
            Answer::Stats(stats) => Ok(stats),
            _ => Err(TalkError::Unexpected(session.name)),
        }
    }

    fn talk(&self, app: &App, request: Request, patience: Duration) -> Result<Session, TalkError> {
        let name = app.record.name.clone();
        let domid = match (app.state.phase, app.state.domid) {
            (Phase::Running, Some(domid)) => DomId(domid),
            _ => return Err(AppsError::NotRunning(name).into()),
        };
        let mut hello = vec![];
        Ask::Hello(Hello::new(request)).render(&mut hello);
        if hello.len() > talk::MAX_HELLO_BYTES {
            return Err(TalkError::TooLarge(hello.len()));
        }
        let vchan = self.free_vchan(app, domid, patience)?;
        let patience = patience + time_to_take(&hello);
        Ok(Session::new(name, vchan, hello, patience))
    }

    /// A vchan of the guest that nobody else has.
    fn free_vchan(&self, app: &App, domid: DomId, patience: Duration) -> Result<Client, TalkError> {
        let name = &app.record.name;
        let failed = |source| TalkError::Vchan { name: name.clone(), source };
        let store = Store::connect().map_err(|error| failed(error.into()))?;
        let folder = format!("/local/domain/{domid}/{}", talk::FOLDER);
        // Nearly always there, and free.
        if let Some(vchan) = connect_to(&store, domid, &format!("{folder}/0")).map_err(failed)? {
            return Ok(vchan);
        }
        store.watch(&folder, "talk").map_err(|error| failed(error.into()))?;
        store.watch("@releaseDomain", "end").map_err(|error| failed(error.into()))?;
        let deadline = Instant::now() + patience;
        loop {
            for place in 0..talk::MAX_VCHANS {
                let path = format!("{folder}/{place}");
                if let Some(vchan) = connect_to(&store, domid, &path).map_err(failed)? {
                    return Ok(vchan);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.silent(app, patience));
            }
            let event = store.wait_event(Some(left.min(RETRY)));
            let event = event.map_err(|error| failed(error.into()))?;
            if event.is_some_and(|event| event.token == "end") && self.has_ended(app) {
                return Err(TalkError::Ended(name.clone()));
            }
        }
    }

    fn has_ended(&self, app: &App) -> bool {
        use crate::toolstack::DomainState;
        !matches!(self.domain_state(&app.record, &app.state), Ok(DomainState::Alive))
    }

    fn silent(&self, app: &App, patience: Duration) -> TalkError {
        let name = app.record.name.clone();
        match self.has_ended(app) {
            true => TalkError::Ended(name),
            false => TalkError::Silent { name, seconds: patience.as_secs() },
        }
    }
}

/// How long a guest may take to read a hello: a long one goes through its ring in pieces.
fn time_to_take(hello: &[u8]) -> Duration {
    Duration::from_millis(hello.len() as u64 / BYTES_PER_MS)
}

/// Asks for an app's output over a vchan instead of the console; `None` where the guest has none free
/// right now. Waits for nothing.
///
/// # Errors
/// As [`Apps::exec`].
pub(crate) fn output(name: &str, domid: DomId) -> Result<Option<Session>, TalkError> {
    let failed = |source| TalkError::Vchan { name: name.to_owned(), source };
    let store = Store::connect().map_err(|error| failed(error.into()))?;
    let path = format!("/local/domain/{domid}/{}/0", talk::FOLDER);
    let Some(vchan) = connect_to(&store, domid, &path).map_err(failed)? else { return Ok(None) };
    let mut hello = vec![];
    Ask::Hello(Hello::new(Request::Output)).render(&mut hello);
    let mut session = Session::new(name.to_owned(), vchan, hello, PATIENCE);
    session.flush()?;
    Ok(Some(session))
}

/// `None` where there is none at `path`, or not a free one.
fn connect_to(store: &Store, domid: DomId, path: &str) -> Result<Option<Client>, VchanError> {
    let number = |node: &str| -> Result<Option<u32>, VchanError> {
        let text = store.read_optional(&format!("{path}/{node}"))?;
        match text.map(|text| text.parse()) {
            None => Ok(None),
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) => Err(VchanError::Invalid("a node that holds no number")),
        }
    };
    let Some(ring) = number(vchan::RING_REF)? else { return Ok(None) };
    let Some(port) = number(vchan::EVENT_CHANNEL)? else { return Ok(None) };
    match Client::connect(domid, GrantRef(ring), Port(port), RENEWAL) {
        Ok(client) => Ok(Some(client)),
        Err(VchanError::Busy | VchanError::NotReady) => Ok(None),
        Err(error) => Err(error),
    }
}

/// One conversation with a guest.
#[derive(Debug)]
pub struct Session {
    name: String,
    vchan: Client,
    decoder: Decoder<Answer>,
    out: Vec<u8>,
    /// How many of `out` are in the ring.
    sent: usize,
    /// How much more input the guest takes.
    window: u32,
    buffer: Vec<u8>,
    /// Whether the guest has said anything.
    answered: bool,
    /// How long the first answer may take, and when it must have come.
    patience: Duration,
    deadline: Instant,
}

impl Session {
    fn new(name: String, vchan: Client, hello: Vec<u8>, patience: Duration) -> Self {
        Self {
            name,
            vchan,
            decoder: Decoder::answers(),
            out: hello,
            sent: 0,
            window: STDIN_WINDOW,
            buffer: vec![0; BUFFER_BYTES],
            answered: false,
            patience,
            deadline: Instant::now() + patience,
        }
    }

    /// How much input may be sent now.
    #[must_use]
    pub fn input_room(&self) -> usize {
        if self.out.len() - self.sent >= MAX_PENDING { 0 } else { self.window as usize }
    }

    /// Sends input, at most [`Session::input_room`] bytes.
    ///
    /// # Errors
    /// The guest has ended.
    pub fn send_input(&mut self, bytes: &[u8]) -> Result<(), TalkError> {
        self.window = self.window.saturating_sub(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.send(&Ask::Stdin(bytes.to_vec()))
    }

    /// Sends anything else.
    ///
    /// # Errors
    /// The guest has ended.
    pub fn send(&mut self, ask: &Ask) -> Result<(), TalkError> {
        ask.render(&mut self.out);
        self.flush()
    }

    /// What the guest said, if anything new has come. Also sends what could not be sent before.
    ///
    /// # Errors
    /// The guest has ended, or says what makes no sense.
    pub fn next_answer(&mut self) -> Result<Option<Answer>, TalkError> {
        self.flush()?;
        let mut silent = 0;
        loop {
            while let Some(answer) = self.decode()? {
                self.answered = true;
                match answer {
                    Answer::Taken(_) if silent >= MOST_SILENT => return Ok(None),
                    Answer::Taken(count) => {
                        silent += 1;
                        // Never more than there was in all, whatever the guest says.
                        self.window = self.window.saturating_add(count).min(STDIN_WINDOW);
                    }
                    Answer::Refused(why) => return Err(TalkError::Refused(why)),
                    answer => return Ok(Some(answer)),
                }
            }
            let open = self.vchan.is_open();
            match self.vchan.read(&mut self.buffer) {
                Ok(0) if open => return Ok(None),
                Ok(0) => return Err(TalkError::Ended(self.name.clone())),
                Ok(count) => self.decoder.feed(&self.buffer[..count]),
                Err(source) => return Err(self.failed(source)),
            }
        }
    }

    fn decode(&mut self) -> Result<Option<Answer>, TalkError> {
        let failed = |source| TalkError::Frame { name: self.name.clone(), source };
        self.decoder.next_frame().map_err(failed)
    }

    /// To be called when the file is readable.
    ///
    /// # Errors
    /// The device fails.
    pub fn take_notification(&self) -> Result<(), TalkError> {
        self.vchan.wait(Some(Duration::ZERO)).map(drop).map_err(|source| self.failed(source))
    }

    /// Waits for what the guest says first.
    ///
    /// # Errors
    /// As [`Session::next_answer`]; [`TalkError::Silent`].
    pub fn wait_for_answer(&mut self) -> Result<Answer, TalkError> {
        loop {
            if let Some(answer) = self.next_answer()? {
                return Ok(answer);
            }
            self.check_patience()?;
            let left = self.deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).unwrap_or_default();
            match poll(&mut [PollFd::new(self, PollFlags::IN)], Some(&timeout)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => self.take_notification()?,
                Err(errno) => {
                    let name = self.name.clone();
                    return Err(TalkError::Wait { name, source: errno.into() });
                }
            }
        }
    }

    /// How long a wait for the guest may last: not for ever as long as it has said nothing.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        (!self.answered).then(|| self.deadline.saturating_duration_since(Instant::now()))
    }

    /// Says so where the guest has let its time pass without a word.
    ///
    /// # Errors
    /// [`TalkError::Silent`].
    pub fn check_patience(&self) -> Result<(), TalkError> {
        match self.patience() {
            Some(left) if left.is_zero() => {
                let name = self.name.clone();
                Err(TalkError::Silent { name, seconds: self.patience.as_secs() })
            }
            _ => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), TalkError> {
        if self.sent < self.out.len() {
            match self.vchan.write(&self.out[self.sent..]) {
                Ok(count) => self.sent += count,
                // What it said before it ended is still to be read.
                Err(VchanError::Closed) => self.sent = self.out.len(),
                Err(source) => return Err(self.failed(source)),
            }
        }
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
        Ok(())
    }

    fn failed(&self, source: VchanError) -> TalkError {
        TalkError::Vchan { name: self.name.clone(), source }
    }
}

impl AsFd for Session {
    /// Readable when [`Session::next_answer`] may have more, after
    /// [`Session::take_notification`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.vchan.as_fd()
    }
}

/// The exit code of a process whose app has ended, and it with it: as if killed.
pub const ENDED_WITH_APP: u8 = 137;

/// The one line that says why a process never ran.
#[must_use]
pub fn why_not(exit: &Exit) -> Option<&Untrusted> {
    match exit {
        Exit::NotStarted { message, .. } => Some(message),
        _ => None,
    }
}

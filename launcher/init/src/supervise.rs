//! While the app runs: its output, its end, other children's ends, and requests to stop it.

use crate::children::{Children, send};
use crate::console::Console;
use crate::out_of_memory::OutOfMemory;
use crate::relay::{Relay, Wait};
use crate::signals::{Event, Signals};
use contract::{Exit, store as nodes};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};
use std::time::{Duration, Instant};
use xen::store::Store;

/// How the app is asked to stop.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    /// The signal that asks.
    pub signal: i32,
    /// How long it has before it is killed.
    pub patience: Duration,
}

/// Everything that goes on around the app.
#[derive(Debug)]
pub struct Supervisor<'a> {
    /// Signals to this process.
    pub signals: &'a Signals,
    /// Where output goes.
    pub console: &'a Console,
    /// Where output comes from.
    pub relay: Relay,
    /// Who else waits for children.
    pub children: &'a Children,
    /// Who looks out for want of memory.
    pub out_of_memory: OutOfMemory,
    /// Where dom0's requests arrive; `None` outside a domain.
    pub xenstore: Option<&'a Store>,
}

impl Supervisor<'_> {
    /// Waits for the app's end, and stops it when dom0 asks.
    pub fn watch(&mut self, app: Pid, stop: Stop) -> Exit {
        let mut stopping = false;
        let mut kill_at = None;
        // If this fails, dom0's signals time out.
        let _ = self.xenstore.map(|xenstore| xenstore.watch(nodes::SIGNAL, nodes::SIGNAL));
        loop {
            while let Some(event) = self.signals.take() {
                match event {
                    // Children are looked for in each round.
                    Event::Child => {}
                    Event::Stop if stopping => {}
                    Event::Stop => {
                        stopping = true;
                        let patience = self.told_patience().unwrap_or(stop.patience);
                        send(app, stop.signal);
                        kill_at = Instant::now().checked_add(patience);
                    }
                }
            }
            self.pass_on_dom0s_signals(app);
            if let Some(exit) = self.reap(app) {
                return exit;
            }
            if kill_at.is_some_and(|at| at <= Instant::now()) {
                send(app, libc::SIGKILL);
                kill_at = None;
            }
            self.relay.copy(self.console);
            self.out_of_memory.tell(self.console, self.xenstore);
            self.sleep(kill_at);
        }
    }

    /// Whether the kernel has ended any process for want of memory; for after the app's end.
    pub fn was_out_of_memory(&mut self) -> bool {
        self.out_of_memory.conclude(self.console, self.xenstore)
    }

    /// How long the app has to stop, if dom0 sets another time than the orders.
    fn told_patience(&self) -> Option<Duration> {
        let told = self.xenstore?.read_optional(nodes::STOP_TIMEOUT).ok()??;
        told.parse().ok().map(Duration::from_millis)
    }

    /// Sends the app new signals from dom0 and acknowledges them.
    fn pass_on_dom0s_signals(&mut self, app: Pid) {
        let Some(xenstore) = self.xenstore else { return };
        loop {
            match xenstore.wait_event(Some(Duration::ZERO)) {
                Ok(None) => return,
                // A connection that is broken would keep this loop awake.
                Err(_) => return self.xenstore = None,
                // Others are left of the wait for the orders.
                Ok(Some(event)) if event.token != nodes::SIGNAL => {}
                Ok(Some(_)) => {
                    let told = xenstore.read_optional(nodes::SIGNAL).ok().flatten();
                    if let Some((number, signal)) = told.as_deref().and_then(nodes::parse_signal) {
                        send(app, signal);
                        let _ = xenstore.write(nodes::SIGNAL_SENT, &number.to_string());
                    }
                }
            }
        }
    }

    /// Passes on the last output; gives up after `patience` without progress. The kernel has ended all
    /// processes of the app's namespace with it.
    pub fn finish(&mut self, patience: Duration) {
        self.children.close();
        kill_all();
        let mut deadline = Instant::now() + patience;
        // There is no app for dom0's requests any more; their events must not keep this loop awake.
        self.xenstore = None;
        loop {
            while self.signals.take().is_some() {}
            if self.relay.copy(self.console) {
                deadline = Instant::now() + patience;
            }
            if self.relay.wait() != Wait::Room || deadline <= Instant::now() {
                return self.relay.finish(patience);
            }
            self.sleep(Some(deadline));
        }
    }

    /// Reaps all children that have ended. Returns how the app ended, if it has.
    fn reap(&self, app: Pid) -> Option<Exit> {
        let mut exit_of_app = None;
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let exit = exit_of(status);
                    self.children.has_ended(pid, &exit);
                    if pid == app {
                        exit_of_app = Some(exit);
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Ok(None) | Err(_) => return exit_of_app,
            }
        }
    }

    /// Until something happens, or `deadline`.
    fn sleep(&self, deadline: Option<Instant>) {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = left.map(|left| Timespec::try_from(left).unwrap_or_default());
        let mut fds = vec![PollFd::new(self.signals, PollFlags::IN)];
        let messages = self.out_of_memory.file();
        fds.extend(messages.map(|file| PollFd::from_borrowed_fd(file, PollFlags::IN)));
        fds.extend(self.xenstore.map(|xenstore| PollFd::new(xenstore, PollFlags::IN)));
        match self.relay.wait() {
            Wait::Nothing => {}
            Wait::Output => {
                let output = self.relay.files();
                fds.extend(output.map(|file| PollFd::from_borrowed_fd(file, PollFlags::IN)));
            }
            Wait::Room => {
                fds.push(PollFd::from_borrowed_fd(self.relay.target(self.console), PollFlags::OUT));
            }
        }
        // An error of poll means that there is something to look at, as after any other return.
        let _ = poll(&mut fds, timeout.as_ref());
    }
}

fn exit_of(status: WaitStatus) -> Exit {
    let byte = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(byte(code)),
        (None, Some(signal)) => Exit::Signal(byte(signal)),
        // Neither ended: cannot come back without WUNTRACED.
        (None, None) => Exit::Code(u8::MAX),
    }
}

/// Kills every process but this one, such as one that the kernel has started for a core file; only
/// where this one is PID 1, of a domain or a namespace.
fn kill_all() {
    if std::process::id() == 1 {
        // SAFETY: plain system call.
        unsafe { libc::kill(-1, libc::SIGKILL) };
    }
}

//! The whole life of a domain, in order.

use crate::bulk_output::BulkOutput;
use crate::children::Children;
use crate::console::Console;
use crate::failure::{Failure, OrFail};
use crate::out_of_memory::OutOfMemory;
use crate::program::{self, Program};
use crate::relay::Relay;
use crate::root::{self, EarlyMounts, Root};
use crate::signals::{self, Signals};
use crate::spawn::{Place, spawn};
use crate::start_set::Recorder;
use crate::streams::{Kind, Stdio, Target};
use crate::supervise::{Stop, Supervisor};
use crate::talk::GuestServer;
use crate::{clock, end, etc, file_systems, limits, marks, network, orders, systemd};
use contract::talk::Size;
use contract::{Exit, Orders, Process, devices};
use rustix::mount::{MountFlags, mount};
use rustix::process::Pid;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use xen::store::Store;

/// The size of the app's terminal until a client in dom0 sends its own.
const USUAL_SIZE: Size = Size { rows: 24, columns: 80 };
/// How long the last output may take without any progress.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Runs the domain from boot to power-off; the kernel calls this through `main`.
pub fn run() -> ! {
    end::install_panic_hook();
    let mut domain = Domain::default();
    marks::note("init");
    let not_started =
        |Failure { code, message }| Exit::NotStarted { code, message: message.into() };
    let exit = domain.live().unwrap_or_else(not_started);
    domain.end(exit)
}

/// What has been set up so far.
#[derive(Debug, Default)]
struct Domain {
    console: Option<Console>,
    xenstore: Option<Store>,
    early: Option<EarlyMounts>,
    root: Option<Root>,
    out_of_memory: bool,
}

impl Domain {
    fn live(&mut self) -> Result<Exit, Failure> {
        mount("dev", "/dev", "devtmpfs", MountFlags::NOSUID, c"mode=0755")
            .or_fail(|| "mount devtmpfs on /dev".into())?;
        let signals = Signals::open()?;
        self.early = EarlyMounts::advance(None);
        let console = self.console.insert(Console::open()?);
        let xenstore =
            self.xenstore.insert(Store::connect().map_err(|error| Failure::from_error(&error))?);
        // The disks of a domain from a pool appear after it has waited.
        let early = &mut self.early;
        let orders = orders::receive(xenstore, &signals, prepare_to_wait, || {
            *early = EarlyMounts::advance(early.take());
        })?;
        marks::note("orders");

        // Neither failure ends the start: without them the app starts later, or with a wrong clock.
        for result in [clock::credit_entropy(&orders.seed), clock::set_forward(orders.unix_time)] {
            if let Err(failure) = result {
                console.say(&failure.message);
            }
        }
        let writable = &orders.root.writable;
        let begun = EarlyMounts::with_orders(writable, self.early.take(), &signals)?;
        self.early = Some(begun);
        network::configure(devices::INTERFACE, orders.network.as_ref(), &signals)?;
        marks::note("network");
        let early = self.early.take();
        let root = self.root.insert(Root::mount(writable, early, &signals)?);
        root.enter()?;
        set_up_root(&orders)?;
        limits::raise_kernels();
        limits::set_sysctls(&orders.sysctls)?;
        marks::note("furnished");
        let program = prepare(&orders)?;
        root.seal()?;
        marks::note("root");
        if orders.network.is_some() {
            network::await_link(devices::INTERFACE, network::LINK_PATIENCE);
        }

        let (app, relay, input) = start(&program, &orders.process)?;
        marks::note("exec");
        let (stop, hostname) = (stop_rule(&orders.process), orders.hostname);
        // The app has its own copy; these take up to 2 MiB, twice.
        drop((program, orders.process));
        if let Err(error) = end::report(xenstore, None, false) {
            console.say(&Failure::from_error(&error).message);
        }
        let recorder = Recorder::begin(root.image());
        let children = Arc::new(Children::default());
        children.set_app(app)?;
        let bulk_output = relay.bulk_output();
        GuestServer::begin(hostname, Arc::clone(&children), input, bulk_output);
        let xenstore = Some(&*xenstore);
        let mut supervisor = Supervisor {
            signals: &signals,
            console,
            relay,
            children: &children,
            out_of_memory: OutOfMemory::look_out(),
            xenstore,
        };
        let exit = supervisor.watch(app, stop);
        self.out_of_memory = supervisor.was_out_of_memory();
        supervisor.finish(LAST_WORDS);
        if let Some(recorder) = recorder {
            recorder.finish();
        }
        Ok(exit)
    }

    fn say(&self, message: &str) {
        match &self.console {
            Some(console) => console.say(message),
            None => eprintln!("launch-init: {message}"),
        }
    }

    /// Writes everything out, then reports: dom0 may destroy the domain once it sees the exit code. Why the
    /// app never ran is in the report, and on the console only if dom0 cannot be told.
    fn end(&mut self, exit: Exit) -> ! {
        match self.root.as_ref().map(Root::close) {
            Some(Ok(())) => {}
            Some(Err(failure)) => self.say(&failure.message),
            None => root::abandon(self.early.take()),
        }
        let reported = self.xenstore.as_ref().is_some_and(|xenstore| {
            let reported = end::report(xenstore, Some(exit.clone()), self.out_of_memory);
            reported.map_err(|error| self.say(&Failure::from_error(&error).message)).is_ok()
        });
        if let (false, Exit::NotStarted { message, .. }) = (reported, &exit) {
            self.say(message.raw());
        }
        end::power_off()
    }
}

/// Lets dom0 shut down a domain that still waits for its orders.
fn prepare_to_wait() -> Result<(), Failure> {
    mount("proc", "/proc", "proc", MountFlags::empty(), c"")
        .or_fail(|| "mount proc on /proc".into())?;
    sleep_when_idle();
    signals::register_stop_command()
}

/// The kernel would wake up twice a second to see whether memory should be put together beforehand;
/// it still does so when a large piece is asked for. Needs `/proc`; a kernel without this setting
/// does not wake up.
fn sleep_when_idle() {
    let _ = std::fs::write("/proc/sys/vm/compaction_proactiveness", "0");
}

/// Sets up what every app expects in its root, which this process must have entered.
///
/// # Errors
/// A mount or a file that the app needs cannot be made.
pub fn set_up_root(orders: &Orders) -> Result<(), Failure> {
    file_systems::mount_kernel_file_systems()?;
    signals::register_stop_command()?;
    sleep_when_idle();
    rustix::system::sethostname(orders.hostname.as_bytes())
        .or_fail(|| format!("set the host name to '{}'", orders.hostname))?;
    etc::write_all(etc::open_root("/")?.as_fd(), orders)?;
    file_systems::mount_tmpfs(&orders.tmpfs)
}

/// Works out what to run, from the orders and the image's user database; makes the working
/// directory.
///
/// # Errors
/// No such user, no command, a command that this kernel cannot run, or no such folder can be made.
pub fn prepare(orders: &Orders) -> Result<Program, Failure> {
    let program = program::find(&orders.process, &orders.hostname)?;
    if program.may_be_systemd() {
        systemd::refuse_without_cgroups(&program, systemd::KERNEL_LIST.as_ref())?;
    }
    file_systems::make_folder(&program.cwd.to_string_lossy())?;
    Ok(program)
}

/// Starts the app; its output comes out of the relay, its input goes to the target if it has any.
///
/// # Errors
/// It cannot be run.
pub fn start(
    program: &Program,
    process: &Process,
) -> Result<(Pid, Relay, Option<Target>), Failure> {
    let bulk_output = Arc::new(BulkOutput::new().or_fail(|| "make an event".into())?);
    let kind = match process.terminal {
        true => Kind::Terminal(USUAL_SIZE),
        false => Kind::Pipes { stdin: process.stdin },
    };
    limits::raise_own();
    let stdio = Stdio::open(kind, program.user.uid)?;
    let own = process.init.then(program::own).transpose()?;
    let place = own.as_ref().map_or(Place::Pid1, |own| Place::BehindReaper(own.as_fd()));
    let app = spawn(program, stdio.streams(), place)?;
    Ok((app, Relay::new(stdio.outputs, bulk_output), stdio.input))
}

fn stop_rule(process: &Process) -> Stop {
    let signal =
        if (1..=64).contains(&process.stop_signal) { process.stop_signal } else { libc::SIGTERM };
    Stop { signal, patience: Duration::from_millis(process.stop_timeout_ms) }
}

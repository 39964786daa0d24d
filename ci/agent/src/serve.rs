//! The agent in dom0: runs commands for the host and passes their streams, signals and exit code.

use crate::frame::{AGENT_PORT, Frame, Start};
use crate::pseudo_terminal::{open_pseudo_terminal, set_size};
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The file with the shared secret on dom0's root disk, which only root can read.
pub const TOKEN_FILE: &str = "/etc/lab-token";

/// How long to wait for more output after the command has ended: a process that it left running may hold its output
/// open.
const OUTPUT_GRACE: Duration = Duration::from_millis(500);

/// Listens forever.
///
/// # Errors
/// The token cannot be read, or the port is in use.
pub fn serve() -> Result<()> {
    let token =
        std::fs::read_to_string(TOKEN_FILE).with_context(|| format!("cannot read {TOKEN_FILE}"))?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, AGENT_PORT))
        .with_context(|| format!("cannot listen on port {AGENT_PORT}"))?;
    loop {
        let (socket, _) = listener.accept().context("cannot accept a connection")?;
        let token = token.trim().to_owned();
        std::thread::spawn(move || {
            if let Err(error) = serve_one(&socket, &token) {
                // If the host has closed the connection, the error cannot be sent.
                let _ = Frame::Failed(format!("{error:#}")).write(&mut &socket);
            }
        });
    }
}

/// The host has closed the connection, or the command has ended.
enum Event {
    Closed,
    Ended(std::io::Result<ExitStatus>),
}

fn serve_one(socket: &TcpStream, token: &str) -> Result<()> {
    socket.set_nodelay(true).context("cannot set TCP_NODELAY")?;
    let Some(Frame::Start(start)) = Frame::read(&mut &*socket)? else {
        bail!("the first frame must be a start");
    };
    if start.token != token {
        bail!("wrong token; is this another user's lab?");
    }
    let Running { mut child, stdin, stdout, stderr, terminal } = start_command(&start)?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let out = Arc::new(Mutex::new(socket.try_clone()?));
    send(&out, &Frame::Started)?;

    let (drained, wait_drained) = channel::<()>();
    copy_out(stdout, Frame::Stdout, &out, &drained);
    if let Some(stderr) = stderr {
        copy_out(stderr, Frame::Stderr, &out, &drained);
    }
    drop(drained);

    let (events, next_event) = channel();
    let input = socket.try_clone()?;
    let closed = events.clone();
    std::thread::spawn(move || read_client(input, stdin, terminal.as_ref(), group, &closed));
    std::thread::spawn(move || events.send(Event::Ended(child.wait())));

    let mut status = wait_for_end(&next_event, group)?;
    let status = status.take().context("the host has closed the connection")??;
    // Returns immediately if all writers have closed the output, because then no sender is left.
    while wait_drained.recv_timeout(OUTPUT_GRACE).is_ok() {}
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    send(&out, &Frame::Exit(code))?;
    socket.shutdown(std::net::Shutdown::Both).ok();
    Ok(())
}

/// Waits until the command has ended. If the host closes the connection first, sends the command a signal to end.
fn wait_for_end(
    events: &Receiver<Event>,
    group: Option<Pid>,
) -> Result<Option<std::io::Result<ExitStatus>>> {
    match events.recv()? {
        Event::Ended(status) => Ok(Some(status)),
        Event::Closed => {
            signal(group, Signal::HUP);
            if events.recv_timeout(Duration::from_secs(5)).is_err() {
                signal(group, Signal::KILL);
            }
            Ok(None)
        }
    }
}

struct Running {
    child: Child,
    stdin: Box<dyn Write + Send>,
    stdout: Box<dyn Read + Send>,
    stderr: Option<Box<dyn Read + Send>>,
    terminal: Option<File>,
}

fn start_command(start: &Start) -> Result<Running> {
    let Some((program, args)) = start.argv.split_first() else { bail!("no command was given") };
    let explain = || format!("cannot start {program}");
    if let Some((rows, columns)) = start.terminal {
        let (ours, theirs) = open_pseudo_terminal()?;
        set_size(&ours, rows, columns)?;
        // setsid(1) makes the terminal the controlling one; doing that here would need unsafe code.
        let child = Command::new("setsid")
            .args(["--ctty", program])
            .args(args)
            .envs(start.env.iter().cloned())
            .stdin(theirs.try_clone()?)
            .stdout(theirs.try_clone()?)
            .stderr(theirs)
            .spawn()
            .with_context(explain)?;
        return Ok(Running {
            child,
            stdin: Box::new(ours.try_clone()?),
            stdout: Box::new(ours.try_clone()?),
            stderr: None,
            terminal: Some(ours),
        });
    }
    let mut child = Command::new(program)
        .args(args)
        .envs(start.env.iter().cloned())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .with_context(explain)?;
    let stdin: ChildStdin = child.stdin.take().context("no pipe for stdin")?;
    let stdout = child.stdout.take().context("no pipe for stdout")?;
    let stderr = child.stderr.take().context("no pipe for stderr")?;
    Ok(Running {
        child,
        stdin: Box::new(stdin),
        stdout: Box::new(stdout),
        stderr: Some(Box::new(stderr)),
        terminal: None,
    })
}

/// Copies one of the command's outputs until all its writers have closed it. Sends a message to `drained` for each
/// piece, and drops it at the end.
fn copy_out(
    mut from: Box<dyn Read + Send>,
    frame: fn(Vec<u8>) -> Frame,
    out: &Arc<Mutex<TcpStream>>,
    drained: &Sender<()>,
) {
    let (out, drained) = (Arc::clone(out), drained.clone());
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        // A pseudo-terminal ends with EIO, a pipe with 0.
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            // If the host has closed the connection, the reader of its frames notices.
            let _ = send(&out, &frame(buffer[..length].to_vec()));
            let _ = drained.send(());
        }
    });
}

/// Handles the host's frames until it closes the connection.
fn read_client(
    mut socket: TcpStream,
    stdin: Box<dyn Write + Send>,
    terminal: Option<&File>,
    group: Option<Pid>,
    events: &Sender<Event>,
) {
    // Writes input in a separate thread: a command that does not read its input must not delay signals.
    let (input, next_input) = channel::<Vec<u8>>();
    let mut input = Some(input);
    std::thread::spawn(move || {
        let mut stdin = stdin;
        while let Ok(bytes) = next_input.recv() {
            if stdin.write_all(&bytes).and_then(|()| stdin.flush()).is_err() {
                break;
            }
        }
    });
    while let Ok(Some(frame)) = Frame::read(&mut socket) {
        match frame {
            Frame::Stdin(bytes) => {
                if let Some(input) = &input {
                    let _ = input.send(bytes);
                }
            }
            // A terminal's end of input is a character, so nothing is closed.
            Frame::StdinEnd if terminal.is_none() => input = None,
            Frame::Signal(number) => {
                if let Some(number) = Signal::from_named_raw(number) {
                    signal(group, number);
                }
            }
            Frame::Resize(rows, columns) => {
                if let Some(terminal) = terminal {
                    let _ = set_size(terminal, rows, columns);
                }
            }
            _ => {}
        }
    }
    let _ = events.send(Event::Closed);
}

fn signal(group: Option<Pid>, number: Signal) {
    if let Some(group) = group {
        // The command may already have ended.
        let _ = kill_process_group(group, number);
    }
}

fn send(out: &Arc<Mutex<TcpStream>>, frame: &Frame) -> std::io::Result<()> {
    let mut out = out.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    frame.write(&mut *out)
}

//! The host's side of a command in dom0: starts it, passes its streams, returns its exit code.

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;
use std::io::{IsTerminal, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::terminal::{RawMode, size_of_stdin};
use lab_agent::frame::{Frame, Start};

/// The address of a lab's agent, and the secret that it expects.
#[derive(Debug, Clone)]
pub struct Address {
    /// Its port on the loopback.
    pub port: u16,
    /// See [`Start::token`].
    pub token: String,
}

/// A command that was started in dom0.
#[derive(Debug)]
pub struct Session {
    stream: TcpStream,
}

impl Session {
    /// Starts `argv` in dom0.
    ///
    /// # Errors
    /// The agent does not answer within `patience`, or cannot start the command.
    pub fn start(address: &Address, mut start: Start, patience: Duration) -> Result<Self> {
        start.token.clone_from(&address.token);
        let agent = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port));
        let mut stream = TcpStream::connect_timeout(&agent, patience)
            .context("cannot reach the lab's agent; is the lab up?")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        Frame::Start(start).write(&mut stream)?;
        match Frame::read(&mut stream).context("the lab's agent does not answer")? {
            Some(Frame::Started) => {}
            Some(Frame::Failed(reason)) => bail!("{reason}"),
            _ => bail!("the lab's agent closed the connection"),
        }
        stream.set_read_timeout(None)?;
        Ok(Self { stream })
    }

    /// Sends `input` as standard input, collects the output, and waits for the end.
    ///
    /// # Errors
    /// The command has not ended within `timeout` (the agent is then told to end it), or the lab has ended.
    pub fn collect(mut self, input: &[u8], timeout: Duration) -> Result<Collected> {
        let deadline = Instant::now() + timeout;
        let mut writer = self.stream.try_clone()?;
        let mut collected = Collected { code: 0, stdout: Vec::new(), stderr: Vec::new() };
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // The command may end before it has read everything; that is not an error.
                for piece in input.chunks(64 << 10) {
                    if Frame::Stdin(piece.to_vec()).write(&mut writer).is_err() {
                        return;
                    }
                }
                let _ = Frame::StdinEnd.write(&mut writer);
            });
            let result = collected.read_until_end(&mut self.stream, deadline, timeout);
            // Also ends the writing thread, if it still writes.
            let _ = self.stream.shutdown(std::net::Shutdown::Both);
            result
        })?;
        Ok(collected)
    }

    /// Connects the command to this process's standard streams and signals, until it ends.
    ///
    /// # Errors
    /// The lab has ended, or the output cannot be written.
    pub fn follow(mut self, has_terminal: bool) -> Result<i32> {
        let raw_mode = if has_terminal { Some(RawMode::enter()?) } else { None };
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH])
            .context("cannot watch for signals")?;
        let mut for_signals = self.stream.try_clone()?;
        std::thread::spawn(move || {
            for signal in &mut signals {
                let frame = match (signal, size_of_stdin()) {
                    (SIGWINCH, Some((rows, columns))) => Frame::Resize(rows, columns),
                    (SIGWINCH, None) => continue,
                    _ => Frame::Signal(signal),
                };
                let _ = frame.write(&mut for_signals);
            }
        });
        let mut for_input = self.stream.try_clone()?;
        // Not joined: reading standard input cannot be cancelled, and this process is about to exit.
        std::thread::spawn(move || {
            let mut stdin = std::io::stdin().lock();
            let mut buffer = vec![0; 64 << 10];
            while let Ok(length @ 1..) = stdin.read(&mut buffer) {
                if Frame::Stdin(buffer[..length].to_vec()).write(&mut for_input).is_err() {
                    return;
                }
            }
            let _ = Frame::StdinEnd.write(&mut for_input);
        });
        let code = loop {
            match Frame::read(&mut self.stream).context("the lab has ended")? {
                Some(Frame::Stdout(bytes)) => write_out(&mut std::io::stdout(), &bytes)?,
                Some(Frame::Stderr(bytes)) => write_out(&mut std::io::stderr(), &bytes)?,
                Some(Frame::Exit(code)) => break code,
                Some(Frame::Failed(reason)) => bail!("{reason}"),
                Some(_) => {}
                None => bail!("the lab ended while the command ran"),
            }
        };
        drop(raw_mode);
        Ok(code)
    }
}

fn write_out(out: &mut (impl Write + IsTerminal), bytes: &[u8]) -> Result<()> {
    out.write_all(bytes).and_then(|()| out.flush()).context("cannot write the output")
}

/// The end of a command in dom0, with its whole output.
#[derive(Debug, Clone)]
pub struct Collected {
    /// Exit code, or 128 + signal if it was killed.
    pub code: i32,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// All of its standard error.
    pub stderr: Vec<u8>,
}

impl Collected {
    fn read_until_end(
        &mut self,
        stream: &mut TcpStream,
        deadline: Instant,
        timeout: Duration,
    ) -> Result<()> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Zero would mean no timeout at all.
            stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            match Frame::read(stream) {
                Ok(Some(Frame::Stdout(bytes))) => self.stdout.extend(bytes),
                Ok(Some(Frame::Stderr(bytes))) => self.stderr.extend(bytes),
                Ok(Some(Frame::Exit(code))) => {
                    self.code = code;
                    return Ok(());
                }
                Ok(Some(Frame::Failed(reason))) => bail!("{reason}"),
                Ok(Some(_)) => {}
                Ok(None) => bail!("the lab ended while the command ran"),
                Err(_) if Instant::now() >= deadline => bail!(
                    "no end after {} s; stdout so far:\n{}\nstderr so far:\n{}",
                    timeout.as_secs(),
                    String::from_utf8_lossy(&self.stdout),
                    String::from_utf8_lossy(&self.stderr)
                ),
                Err(error) => return Err(error).context("the lab has ended"),
            }
        }
    }
}

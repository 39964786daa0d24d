//! Measures a start: starts a command in dom0, and asks an address until the app there answers.
//!
//! This one program measures all contenders. It is static and does nothing else, so it takes little processor time from
//! the command.

use crate::measure::Measure;
use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::sockopt::{set_tcp_nodelay, socket_error};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// The shortest pause after a refused attempt. The pause is a hundredth of the elapsed time, which is the error of the
/// figure, because asking takes processor time from the start.
const LEAST_PAUSE: Duration = Duration::from_millis(1);
const PART_PAUSED: u32 = 100;
/// If an attempt gets no reaction within this time, another one is made beside it: the kernel would repeat a SYN only
/// after a second.
const IMPATIENCE: Duration = Duration::from_millis(20);
/// The most attempts at the same time; with more, the oldest is dropped.
const MOST_PENDING: usize = 16;
/// The longest time for an answer after connecting.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// The longest answer to read.
const MOST_ANSWER_BYTES: u64 = 16 << 20;

/// The question to the app, and its right answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// `GET /`, answered by a 200; the body follows the header.
    Http,
    /// `PING`, answered by `+PONG`; the body is the answer.
    RedisPing,
    /// No question: only the command's return is measured.
    Nothing,
}

impl std::str::FromStr for Question {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "http" => Self::Http,
            "redis-ping" => Self::RedisPing,
            "nothing" => Self::Nothing,
            _ => bail!("{text:?} is not http, redis-ping or nothing"),
        })
    }
}

/// The question, the address, and for how long to ask.
#[derive(Debug, Clone, Copy)]
pub struct Asking {
    /// The question.
    pub question: Question,
    /// The app's address.
    pub address: SocketAddrV4,
    /// The longest time to an answer.
    pub patience: Duration,
    /// How many starts are measured at the same time, including this one. Each asks less often by this factor, so that
    /// all together take the same processor time.
    pub rivals: u32,
}

impl Asking {
    /// Time until the next attempt, at `elapsed` after the beginning.
    fn pause(&self, least: Duration, elapsed: Duration) -> Duration {
        (elapsed / PART_PAUSED).max(least * self.rivals)
    }
}

/// Runs `command` and asks until the app answers.
///
/// # Errors
/// The command cannot be started, or its output cannot be kept.
pub fn measure(asking: &Asking, command: &[String]) -> Result<Measure> {
    let Asking { question, patience, .. } = *asking;
    let (program, args) = command.split_first().context("no command was given")?;
    // Not a pipe, which a process that the command left running would hold open.
    let mut output = File::from(memfd_create("output", MemfdFlags::CLOEXEC)?);
    let (stdout, stderr) = (output.try_clone()?, output.try_clone()?);
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(stdout).stderr(stderr);

    let begin = Instant::now();
    let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
    let ended = wait_in_background(child);
    let asked = match question {
        Question::Nothing => Asked::default(),
        _ => ask_until_answered(asking, begin, &ended),
    };
    // The answer may come before the command returns; the time of the return is measured too.
    let end =
        asked.ended.or_else(|| ended.recv_timeout(patience.saturating_sub(begin.elapsed())).ok());

    output.seek(SeekFrom::Start(0)).context("cannot read the command's output")?;
    let mut text = Vec::new();
    output.read_to_end(&mut text).context("cannot read the command's output")?;
    let since = |moment: Instant| (moment - begin).as_secs_f64() * 1e3;
    Ok(Measure {
        returned_ms: end.map(|(moment, _)| since(moment)),
        exit_code: end.map(|(_, status)| exit_code(status)),
        first_answer_ms: asked.answer.as_ref().map(|(moment, _)| since(*moment)),
        body_sha256: asked.answer.as_ref().map(|(_, body)| sha256(body)),
        body_bytes: asked.answer.as_ref().map(|(_, body)| body.len()),
        attempts: asked.attempts,
        failures: asked.failures,
        output: String::from_utf8_lossy(&text).into_owned(),
    })
}

/// When and how a command ended.
type End = (Instant, ExitStatus);

fn wait_in_background(mut child: Child) -> Receiver<End> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        if let Ok(status) = child.wait() {
            // After the timeout the receiver no longer exists.
            let _ = sender.send((Instant::now(), status));
        }
    });
    receiver
}

/// The result of asking.
#[derive(Default)]
struct Asked {
    answer: Option<(Instant, Vec<u8>)>,
    ended: Option<End>,
    attempts: u32,
    failures: BTreeMap<String, u32>,
}

fn ask_until_answered(asking: &Asking, begin: Instant, ended: &Receiver<End>) -> Asked {
    let Asking { question, address, patience, .. } = *asking;
    let pause = || std::thread::sleep(asking.pause(LEAST_PAUSE, begin.elapsed()));
    let mut asked = Asked::default();
    let mut pending: Vec<(Instant, OwnedFd)> = Vec::new();
    while begin.elapsed() < patience {
        if asked.ended.is_none() {
            asked.ended = ended.try_recv().ok();
        }
        // After a failed command nothing can answer.
        if asked.ended.is_some_and(|(_, status)| !status.success()) {
            break;
        }
        let age = pending.last().map(|(since, _)| since.elapsed());
        let impatience = asking.pause(IMPATIENCE, begin.elapsed());
        if age.is_none_or(|age| age >= impatience) {
            asked.attempts += 1;
            match begin_to_connect(address) {
                Ok(socket) => pending.push((Instant::now(), socket)),
                Err(error) => {
                    *asked.failures.entry(error.to_string()).or_default() += 1;
                    pause();
                    continue;
                }
            }
            if pending.len() > MOST_PENDING {
                pending.remove(0);
            }
        }
        let age = pending.last().map_or(impatience, |(since, _)| since.elapsed());
        let Some((socket, outcome)) = next_outcome(&mut pending, impatience.saturating_sub(age))
        else {
            continue;
        };
        match outcome.map_err(Into::into).and_then(|()| ask(question, socket)) {
            Ok(body) => {
                asked.answer = Some((Instant::now(), body));
                break;
            }
            Err(error) => {
                *asked.failures.entry(format!("{error:#}")).or_default() += 1;
                pause();
            }
        }
    }
    asked
}

fn begin_to_connect(address: SocketAddrV4) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

/// Waits for the result of one of the attempts, and removes it from the list.
fn next_outcome(
    pending: &mut Vec<(Instant, OwnedFd)>,
    timeout: Duration,
) -> Option<(OwnedFd, rustix::io::Result<()>)> {
    let mut list: Vec<PollFd<'_>> =
        pending.iter().map(|(_, socket)| PollFd::new(socket, PollFlags::OUT)).collect();
    let timeout = Timespec::try_from(timeout).ok()?;
    poll(&mut list, Some(&timeout)).ok()?;
    let ready = list.iter().position(|entry| !entry.revents().is_empty())?;
    let (_, socket) = pending.remove(ready);
    let outcome = socket_error(&socket).and_then(|outcome| outcome);
    Some((socket, outcome))
}

/// Asks on a connection, and returns the body of a right answer.
fn ask(question: Question, socket: OwnedFd) -> Result<Vec<u8>> {
    let mut stream = TcpStream::from(socket);
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(ANSWER_TIME))?;
    set_tcp_nodelay(&stream, true)?;
    match question {
        Question::Nothing => Ok(Vec::new()),
        Question::Http => {
            stream.write_all(b"GET / HTTP/1.0\r\nHost: app\r\n\r\n")?;
            let mut answer = Vec::new();
            stream.take(MOST_ANSWER_BYTES).read_to_end(&mut answer)?;
            body_of_200(&answer).map(<[u8]>::to_vec)
        }
        Question::RedisPing => {
            stream.write_all(b"PING\r\n")?;
            let mut answer = [0; 7];
            stream.read_exact(&mut answer)?;
            ensure!(
                &answer == b"+PONG\r\n",
                "the app answered {:?}",
                String::from_utf8_lossy(&answer)
            );
            Ok(answer.to_vec())
        }
    }
}

fn body_of_200(answer: &[u8]) -> Result<&[u8]> {
    let text = String::from_utf8_lossy(&answer[..answer.len().min(4096)]);
    let status = text.lines().next().unwrap_or_default();
    ensure!(status.split(' ').nth(1) == Some("200"), "the app answered {status:?}");
    let end =
        answer.windows(4).position(|four| four == b"\r\n\r\n").context("the header has no end")?;
    let body = &answer[end + 4..];
    let length = text.lines().take_while(|line| !line.is_empty()).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let have = body.len();
    ensure!(
        length.is_none_or(|length| length == have),
        "the body is incomplete: {have} of {length:?} bytes"
    );
    Ok(body)
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// SHA-256 in hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};

    fn asking(question: Question, address: SocketAddrV4, seconds: u64) -> Asking {
        Asking { question, address, patience: Duration::from_secs(seconds), rivals: 1 }
    }

    fn words(text: &[&str]) -> Vec<String> {
        text.iter().map(|word| (*word).to_owned()).collect()
    }

    fn listener() -> (TcpListener, SocketAddrV4) {
        // Not 127.0.0.1: a client that connects to an unused port could get the same port, and connect to itself.
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
        (listener, address)
    }

    /// Answers each connection with the next text.
    fn serve(listener: TcpListener, answers: &'static [&'static str]) {
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 256]);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
    }

    #[test]
    fn only_a_whole_200_ends_the_asking() {
        let (listener, address) = listener();
        serve(
            listener,
            &[
                "",
                "HTTP/1.1 502 Bad Gateway\r\n\r\nno",
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            ],
        );
        let measure = measure(&asking(Question::Http, address, 10), &words(&["true"])).unwrap();
        assert_eq!(measure.attempts, 4);
        assert_eq!(measure.body_bytes, Some(5));
        assert_eq!(
            measure.body_sha256.as_deref(),
            Some("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824")
        );
        assert_eq!(measure.exit_code, Some(0));
        assert!(measure.returned_ms.is_some());
    }

    #[test]
    fn an_app_that_comes_late_is_asked_until_it_answers() {
        let (listener, address) = listener();
        drop(listener);
        let server = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            serve(TcpListener::bind(address).unwrap(), &["+PONG\r\n"]);
        });
        let measure =
            measure(&asking(Question::RedisPing, address, 60), &words(&["true"])).unwrap();
        server.join().unwrap();
        assert!(measure.first_answer_ms.is_some(), "{measure:?}");
    }

    #[test]
    fn a_command_that_fails_is_not_waited_for() {
        let (listener, address) = listener();
        drop(listener);
        let command = words(&["sh", "-c", "echo why; exit 3"]);
        let measure = measure(&asking(Question::Http, address, 60), &command).unwrap();
        assert_eq!((measure.exit_code, measure.first_answer_ms), (Some(3), None));
        assert_eq!(measure.output, "why\n");
        assert!(measure.returned_ms.unwrap() < 30_000.0);
    }

    #[test]
    fn what_the_command_leaves_running_does_not_hold_it_up() {
        let (listener, address) = listener();
        serve(listener, &["HTTP/1.0 200 OK\r\n\r\n"]);
        let command = words(&["sh", "-c", "sleep 20 & echo id"]);
        let measure = measure(&asking(Question::Http, address, 60), &command).unwrap();
        assert!(measure.returned_ms.unwrap() < 10_000.0);
        assert_eq!(measure.output, "id\n");
    }
}

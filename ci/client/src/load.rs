//! A load: several connections in one thread, each of which sends the next request once it has its answer.

use crate::measure::{Latency, Load};
use crate::start::sha256;
use crate::wire::{Asked, closes, fill};
use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_tcp_nodelay;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

/// The first part of the time, which is not counted: an eighth.
const WARM_UP_PART: u32 = 8;
/// The longest time without an answer on any connection.
const SILENCE: Duration = Duration::from_secs(10);
/// The number of broken connections after which the load ends.
const MOST_ERRORS: u64 = 100;

/// Loads the app at `address` for `time`.
///
/// # Errors
/// The app cannot be reached, does not answer, or breaks too many connections.
pub fn load(
    asked: &Asked,
    address: SocketAddrV4,
    connections: u32,
    time: Duration,
) -> Result<Load> {
    if *asked == Asked::RedisGet {
        set_all_keys(address)?;
    }
    let begin = Instant::now();
    let (counted_from, end) = (begin + time / WARM_UP_PART, begin + time);
    let mut result = Load::default();
    let mut latencies_us: Vec<u32> = Vec::new();
    let mut all =
        (0..connections).map(|_| Connection::open(address)).collect::<Result<Vec<_>>>()?;
    for connection in &mut all {
        connection.ask(asked)?;
    }
    let mut last = counted_from;
    while Instant::now() < end {
        for index in ready(&all)? {
            match all[index].read(asked) {
                Ok(None) => {}
                Ok(Some(answer)) => {
                    if all[index].asked == 1 {
                        result.bodies_sha256.extend(answer.sha256);
                    }
                    if answer.at >= counted_from && answer.at < end {
                        latencies_us.push(answer.took_us);
                        result.body_bytes += answer.body_bytes;
                        last = answer.at;
                    }
                    // A new connection belongs to the server's work, but not to a request.
                    if answer.closes {
                        all[index] = Connection::open(address)?;
                    }
                    all[index].ask(asked)?;
                }
                Err(error) => {
                    result.errors += 1;
                    result.first_error.get_or_insert(format!("{error:#}"));
                    if result.errors > MOST_ERRORS {
                        return Err(error.context("too many connections broke"));
                    }
                    all[index] = Connection::open(address)?;
                    all[index].ask(asked)?;
                }
            }
        }
    }
    result.requests = latencies_us.len() as u64;
    result.seconds = (last - counted_from).as_secs_f64();
    result.latency = quantiles(&mut latencies_us);
    result.bodies_sha256.sort();
    result.bodies_sha256.dedup();
    Ok(result)
}

fn set_all_keys(address: SocketAddrV4) -> Result<()> {
    let mut connection = Connection::open(address)?;
    for request in fill() {
        connection.send(&request)?;
        let begin = Instant::now();
        while connection.read(&Asked::RedisSet)?.is_none() {
            if begin.elapsed() > SILENCE {
                bail!("redis did not answer a SET");
            }
        }
    }
    Ok(())
}

/// Waits until a connection can be read.
fn ready(all: &[Connection]) -> Result<Vec<usize>> {
    let mut list: Vec<PollFd<'_>> =
        all.iter().map(|connection| PollFd::new(&connection.stream, PollFlags::IN)).collect();
    let timeout = Timespec::try_from(SILENCE).unwrap_or_default();
    if poll(&mut list, Some(&timeout))? == 0 {
        bail!("no answer on any connection in {} s", SILENCE.as_secs());
    }
    let ready = list.iter().enumerate().filter(|(_, entry)| !entry.revents().is_empty());
    Ok(ready.map(|(index, _)| index).collect())
}

struct Answer {
    at: Instant,
    took_us: u32,
    body_bytes: u64,
    /// Whether it was the last on its connection.
    closes: bool,
    /// For the first answer only, because hashing takes processor time.
    sha256: Option<String>,
}

struct Connection {
    stream: TcpStream,
    asked: u64,
    since: Instant,
    buffer: Vec<u8>,
    have: usize,
}

impl Connection {
    fn open(address: SocketAddrV4) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address.into(), SILENCE)
            .with_context(|| format!("cannot connect to {address}"))?;
        set_tcp_nodelay(&stream, true)?;
        stream.set_nonblocking(true)?;
        let (asked, have) = (0, 0);
        Ok(Self { stream, asked, since: Instant::now(), buffer: vec![0; 64 << 10], have })
    }

    fn ask(&mut self, asked: &Asked) -> Result<()> {
        let request = asked.request(self.asked);
        self.send(&request)
    }

    /// Requests are small and none is pending, so the socket always has room.
    fn send(&mut self, request: &[u8]) -> Result<()> {
        self.asked += 1;
        self.since = Instant::now();
        self.stream.write_all(request).context("cannot send a request")
    }

    /// Reads available bytes; returns an answer once it is complete.
    fn read(&mut self, asked: &Asked) -> Result<Option<Answer>> {
        if self.have == self.buffer.len() {
            self.buffer.resize(self.have * 2, 0);
        }
        match self.stream.read(&mut self.buffer[self.have..]) {
            Ok(0) => bail!("the connection was closed"),
            Ok(count) => self.have += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error).context("cannot read an answer"),
        }
        let Some((begin, end)) = asked.find_body(&self.buffer[..self.have])? else {
            return Ok(None);
        };
        let at = Instant::now();
        let took = at - self.since;
        self.have = 0;
        Ok(Some(Answer {
            at,
            took_us: u32::try_from(took.as_micros()).unwrap_or(u32::MAX),
            body_bytes: (end - begin) as u64,
            closes: matches!(asked, Asked::Http(_)) && closes(&self.buffer[..begin]),
            sha256: (self.asked == 1).then(|| sha256(&self.buffer[begin..end])),
        }))
    }
}

/// Quantiles: the smallest latency that this part of the answers does not exceed.
fn quantiles(latencies_us: &mut [u32]) -> Latency {
    latencies_us.sort_unstable();
    let at = |per_mille: usize| {
        let index = (latencies_us.len() * per_mille).div_ceil(1000).saturating_sub(1);
        latencies_us.get(index).map_or(0.0, |us| f64::from(*us) / 1e3)
    };
    Latency {
        p50_ms: at(500),
        p90_ms: at(900),
        p99_ms: at(990),
        p999_ms: at(999),
        max_ms: at(1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};

    /// A web server that answers everything with `body`, and closes a connection after twenty answers.
    fn serve(body: &'static str) -> SocketAddrV4 {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                std::thread::spawn(move || {
                    for left in (0..20).rev() {
                        let Ok(1..) = stream.read(&mut [0; 256]) else { return };
                        let length = body.len();
                        let more = if left == 0 { "close" } else { "keep-alive" };
                        let head = format!(
                            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: {more}\r\n\r\n"
                        );
                        let _ = stream.write_all((head + body).as_bytes());
                    }
                });
            }
        });
        address
    }

    #[test]
    fn a_load_counts_whole_answers_and_hashes_what_it_got() {
        let asked = "http:/".parse().unwrap();
        let load = load(&asked, serve("hello"), 4, Duration::from_millis(400)).unwrap();
        assert!(load.requests > 100, "{load:?}");
        assert_eq!(load.body_bytes, load.requests * 5);
        assert_eq!(load.errors, 0, "{load:?}");
        assert_eq!(
            load.bodies_sha256,
            ["2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"]
        );
        let Latency { p50_ms, p999_ms, max_ms, .. } = load.latency;
        assert!(0.0 < p50_ms && p50_ms <= p999_ms && p999_ms <= max_ms, "{load:?}");
    }

    #[test]
    fn a_quantile_is_a_latency_that_was_seen() {
        let mut latencies: Vec<u32> = (1..=1000).rev().collect();
        let latency = quantiles(&mut latencies);
        assert_eq!((latency.p50_ms, latency.p99_ms, latency.p999_ms), (0.5, 0.99, 0.999));
        assert_eq!(latency.max_ms, 1.0);
        assert_eq!(quantiles(&mut []), Latency::default());
    }
}

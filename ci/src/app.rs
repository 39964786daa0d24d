//! The apps that `ci/try` knows: how to run them, and how to test that they serve.

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// One app to try.
#[derive(Debug)]
pub struct App {
    /// The image's name, also the domain's.
    pub name: &'static str,
    /// The port that it serves in the guest.
    pub guest_port: u16,
    /// Its port on this machine, or if that is in use, one of the 19 after it. The ranges of two apps do not overlap.
    pub host_port: u16,
    /// Flags of `launch run`.
    pub flags: &'static [&'static str],
    /// The app's own arguments.
    pub arguments: &'static [&'static str],
    /// The client's first bytes …
    question: &'static [u8],
    /// … and the beginning of a working server's answer.
    answer: &'static [u8],
    /// The command that uses it, with `PORT` for the port.
    pub how_to_use: &'static str,
}

/// How many ports to try.
pub const PORTS_TRIED: u16 = 20;

const HTTP: (&[u8], &[u8]) = (b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.");

/// The known apps; the first is the default.
pub const APPS: &[App] = &[
    App {
        name: "nginx",
        guest_port: 80,
        host_port: 8080,
        flags: &[],
        arguments: &[],
        question: HTTP.0,
        answer: HTTP.1,
        how_to_use: "http://127.0.0.1:PORT",
    },
    App {
        name: "redis",
        guest_port: 6379,
        host_port: 6379,
        flags: &[],
        arguments: &[],
        question: b"PING\r\n",
        answer: b"+PONG",
        how_to_use: "redis-cli -h 127.0.0.1 -p PORT",
    },
    App {
        name: "postgres",
        guest_port: 5432,
        host_port: 5432,
        flags: &["-m", "192m", "-e", "POSTGRES_PASSWORD=secret"],
        arguments: &[],
        // SSLRequest: https://www.postgresql.org/docs/current/protocol-message-formats.html
        question: &[0, 0, 0, 8, 4, 210, 22, 47],
        answer: b"",
        how_to_use: "PGPASSWORD=secret psql -h 127.0.0.1 -p PORT -U postgres",
    },
    App {
        name: "python",
        guest_port: 8000,
        host_port: 8000,
        flags: &["-w", "/etc"],
        arguments: &["python3", "-m", "http.server"],
        question: HTTP.0,
        answer: HTTP.1,
        how_to_use: "http://127.0.0.1:PORT",
    },
    App {
        name: "memcached",
        guest_port: 11211,
        host_port: 11211,
        flags: &[],
        arguments: &[],
        question: b"version\r\n",
        answer: b"VERSION",
        how_to_use: "printf 'stats\\r\\nquit\\r\\n' | nc 127.0.0.1 PORT",
    },
    App {
        name: "hello",
        guest_port: 80,
        host_port: 8100,
        flags: &[],
        arguments: &[],
        question: HTTP.0,
        answer: HTTP.1,
        how_to_use: "http://127.0.0.1:PORT",
    },
];

impl App {
    /// Finds an app by name.
    ///
    /// # Errors
    /// The app is unknown.
    pub fn find(name: &str) -> Result<&'static Self> {
        let name = if name == "python3" { "python" } else { name };
        APPS.iter().find(|app| app.name == name).with_context(|| {
            let names: Vec<&str> = APPS.iter().map(|app| app.name).collect();
            format!("{name} is not among the apps to try: {}", names.join(", "))
        })
    }

    /// Asks the app at a port of this machine until it answers as expected. A connection is not enough: QEMU accepts it
    /// before any server listens in dom0.
    ///
    /// # Errors
    /// The app has not answered within `patience`.
    pub fn wait_until_it_answers(&self, port: u16, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let error = match self.ask(port) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if Instant::now() >= deadline {
                let seconds = patience.as_secs();
                return Err(error.context(format!("no answer at 127.0.0.1:{port} in {seconds} s")));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn ask(&self, port: u16) -> Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(self.question)?;
        // At least one byte: also an empty expectation requires an answer.
        let mut answer = vec![0; self.answer.len().max(1)];
        stream.read_exact(&mut answer).context("the app closed the connection")?;
        if !answer.starts_with(self.answer) {
            bail!("the app answered {:?}", String::from_utf8_lossy(&answer));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn an_app_that_says_something_else_is_not_taken_for_a_working_one() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for answer in ["-ERR ", "+PONG"] {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                // Closing a socket with unread input would reset the connection.
                let _ = stream.read(&mut [0; 64]);
            }
        });
        let redis = App::find("redis").unwrap();
        assert!(redis.ask(port).unwrap_err().to_string().contains("-ERR"));
        redis.ask(port).unwrap();
    }

    #[test]
    fn no_app_is_given_a_port_of_another() {
        for (index, app) in APPS.iter().enumerate() {
            for other in &APPS[index + 1..] {
                let apart = app.host_port.abs_diff(other.host_port);
                assert!(apart >= PORTS_TRIED, "{} and {}", app.name, other.name);
            }
        }
    }

    #[test]
    fn an_unknown_app_is_told_the_known_ones() {
        assert!(App::find("apache").unwrap_err().to_string().contains("nginx, redis"));
        assert_eq!(App::find("python3").unwrap().name, "python");
    }
}

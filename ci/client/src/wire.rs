//! The parts of HTTP and of redis' protocol that a load uses.

use anyhow::{Context, Result, bail, ensure};
use std::str::FromStr;

/// The number of keys in a redis load.
pub const KEYS: u64 = 1000;
/// Bytes of each value.
const VALUE_BYTES: usize = 64;
/// The longest header that is accepted.
const MOST_HEADER_BYTES: usize = 16 << 10;

/// The request that a load repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// `GET` of a path on a web server, over a persistent connection.
    Http(String),
    /// `GET` of each key in turn.
    RedisGet,
    /// `SET` of each key in turn.
    RedisSet,
}

impl FromStr for Asked {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "redis-get" => Self::RedisGet,
            "redis-set" => Self::RedisSet,
            _ => match text.strip_prefix("http:") {
                Some(path) if path.starts_with('/') => Self::Http(path.into()),
                _ => bail!("{text:?} is not http:/PATH, redis-get or redis-set"),
            },
        })
    }
}

impl Asked {
    /// The bytes of the request with this number; numbers start at 0.
    #[must_use]
    pub fn request(&self, number: u64) -> Vec<u8> {
        let key = number % KEYS;
        match self {
            Self::Http(path) => format!("GET {path} HTTP/1.1\r\nHost: app\r\n\r\n").into_bytes(),
            Self::RedisGet => command(&["GET", &format!("key:{key}")]),
            Self::RedisSet => command(&["SET", &format!("key:{key}"), &value(key)]),
        }
    }

    /// Looks for a complete answer at the beginning of `bytes`. Returns where its body begins and ends; `None` if it is
    /// incomplete.
    ///
    /// # Errors
    /// It is not a right answer.
    pub fn find_body(&self, bytes: &[u8]) -> Result<Option<(usize, usize)>> {
        let (begin, length, after) = match self {
            Self::Http(_) => match http_head(bytes)? {
                Some((begin, length)) => (begin, length, 0),
                None => return Ok(None),
            },
            Self::RedisGet | Self::RedisSet => match line_end(bytes) {
                Some(end) => {
                    redis_head(&bytes[..end])?.map_or((0, end, 0), |length| (end, length, 2))
                }
                None => return Ok(None),
            },
        };
        let end = begin + length;
        Ok((bytes.len() >= end + after).then_some((begin, end)))
    }
}

/// Whether a web server's header says that this is the last answer on the connection, as nginx's does after a thousand
/// requests.
#[must_use]
pub fn closes(head: &[u8]) -> bool {
    String::from_utf8_lossy(head).lines().any(|line| {
        line.split_once(':').is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("connection") && value.trim().eq_ignore_ascii_case("close")
        })
    })
}

/// `SET`s of all keys that a load will `GET`.
#[must_use]
pub fn fill() -> Vec<Vec<u8>> {
    (0..KEYS).map(|number| Asked::RedisSet.request(number)).collect()
}

fn value(key: u64) -> String {
    format!("{key:0>VALUE_BYTES$}")
}

fn command(words: &[&str]) -> Vec<u8> {
    let bulks: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{bulks}", words.len()).into_bytes()
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|two| two == b"\r\n").map(|at| at + 2)
}

/// The length of the bulk string that follows, if one does.
fn redis_head(line: &[u8]) -> Result<Option<usize>> {
    let line = String::from_utf8_lossy(line);
    if line == "+OK\r\n" {
        return Ok(None);
    }
    let length = line.trim_end().strip_prefix('$').and_then(|length| length.parse().ok());
    Ok(Some(length.with_context(|| format!("redis answered {line:?}"))?))
}

/// Where the body begins, and its length.
fn http_head(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        ensure!(bytes.len() < MOST_HEADER_BYTES, "the header has no end");
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = text.lines();
    let status = lines.next().unwrap_or_default();
    ensure!(status.split(' ').nth(1) == Some("200"), "the app answered {status:?}");
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    Ok(Some((end + 4, length.context("the answer has no Content-Length")?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http_answer_is_whole_when_its_length_is_there() {
        let asked: Asked = "http:/a".parse().unwrap();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        for cut in 0..answer.len() {
            assert_eq!(asked.find_body(&answer[..cut]).unwrap(), None);
        }
        let (begin, end) = asked.find_body(answer).unwrap().unwrap();
        assert_eq!(&answer[begin..end], b"hello");
        let error = asked.find_body(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap_err();
        assert!(error.to_string().contains("404"), "{error}");
    }

    #[test]
    fn a_server_that_ends_the_connection_says_so_in_the_head() {
        assert!(closes(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"));
        assert!(!closes(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n"));
    }

    #[test]
    fn a_redis_answer_is_ok_or_the_value() {
        assert_eq!(Asked::RedisSet.find_body(b"+OK\r\n").unwrap(), Some((0, 5)));
        assert_eq!(Asked::RedisGet.find_body(b"$2\r\nab\r").unwrap(), None);
        assert_eq!(Asked::RedisGet.find_body(b"$2\r\nab\r\n").unwrap(), Some((4, 6)));
        for wrong in ["$-1", "-ERR no"] {
            let error = Asked::RedisGet.find_body(format!("{wrong}\r\n").as_bytes()).unwrap_err();
            assert!(error.to_string().contains(wrong), "{error}");
        }
    }

    #[test]
    fn requests_are_what_a_server_reads() {
        assert_eq!(Asked::RedisGet.request(1001), b"*2\r\n$3\r\nGET\r\n$5\r\nkey:1\r\n");
        assert!(Asked::RedisSet.request(0).ends_with(b"0\r\n"));
        assert_eq!(fill().len(), 1000);
    }
}

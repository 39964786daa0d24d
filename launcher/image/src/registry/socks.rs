//! SOCKS 5 (RFC 1928, and RFC 1929 for a login): a connection through a proxy to a host that the proxy looks up.

use super::url::{Account, Origin};
use std::net::IpAddr;

/// What a client says and hears, in order; reading and writing are the caller's.
pub(super) trait Wire {
    type Error;
    fn say(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
    fn hear(&mut self, count: usize) -> Result<Vec<u8>, Self::Error>;
}

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const PASSWORD: u8 = 2;

/// Asks for a connection to `origin`; within, `Err` says in words why the proxy does not make it.
pub(super) fn ask<W: Wire>(
    wire: &mut W,
    origin: &Origin,
    account: Option<&Account>,
) -> Result<Result<(), String>, W::Error> {
    match account {
        None => wire.say(&[VERSION, 1, NO_LOGIN])?,
        Some(_) => wire.say(&[VERSION, 2, NO_LOGIN, PASSWORD])?,
    }
    let chosen = wire.hear(2)?;
    match (chosen.as_slice(), account) {
        ([VERSION, NO_LOGIN], _) => {}
        ([VERSION, PASSWORD], Some(account)) => {
            let (Some(user), Some(password)) = (counted(&account.user), counted(&account.password))
            else {
                return Ok(Err("its login is longer than SOCKS takes".to_owned()));
            };
            wire.say(&[&[1][..], &user, &password].concat())?;
            if wire.hear(2)?.get(1) != Some(&0) {
                return Ok(Err("it does not take the login".to_owned()));
            }
        }
        ([VERSION, _], _) => return Ok(Err("it wants a login".to_owned())),
        _ => return Ok(Err("it does not speak SOCKS 5".to_owned())),
    }
    let host = match origin.bare_host().parse() {
        Ok(IpAddr::V4(address)) => [&[1][..], &address.octets()].concat(),
        Ok(IpAddr::V6(address)) => [&[4][..], &address.octets()].concat(),
        Err(_) => match counted(&origin.host) {
            Some(name) => [&[3][..], &name].concat(),
            None => return Ok(Err("the host's name is longer than SOCKS takes".to_owned())),
        },
    };
    wire.say(&[&[VERSION, 1, 0][..], &host, &origin.port.to_be_bytes()].concat())?;
    let answer = wire.hear(4)?;
    if let Some(refusal) = answer.get(1).and_then(|code| refusal(*code)) {
        return Ok(Err(refusal));
    }
    // The address on the proxy's other side is of no use here.
    let address = match answer.get(3) {
        Some(1) => 4,
        Some(4) => 16,
        _ => usize::from(wire.hear(1)?.first().copied().unwrap_or_default()),
    };
    wire.hear(address + 2)?;
    Ok(Ok(()))
}

/// A text behind its length.
fn counted(text: &str) -> Option<Vec<u8>> {
    let length = u8::try_from(text.len()).ok()?;
    Some([&[length][..], text.as_bytes()].concat())
}

/// A proxy's answer in words; `None`: it made the connection.
fn refusal(code: u8) -> Option<String> {
    Some(match code {
        0 => return None,
        2 => "its rules do not allow the connection".to_owned(),
        3 | 4 => "it cannot reach the host".to_owned(),
        5 => "the host refuses its connection".to_owned(),
        code => format!("it answers with error {code}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A proxy's answers, and what it was told.
    struct Script(VecDeque<u8>, Vec<u8>);

    impl Wire for Script {
        type Error = ();

        fn say(&mut self, bytes: &[u8]) -> Result<(), ()> {
            self.1.extend(bytes);
            Ok(())
        }

        fn hear(&mut self, count: usize) -> Result<Vec<u8>, ()> {
            (self.0.len() >= count).then(|| self.0.drain(..count).collect()).ok_or(())
        }
    }

    fn ask_of(url: &str, login: bool, answers: &[u8]) -> (Result<Result<(), String>, ()>, Vec<u8>) {
        let mut wire = Script(answers.iter().copied().collect(), Vec::new());
        let account = Account { user: "u".to_owned(), password: "pw".to_owned() };
        let origin = Origin::of(&url.parse().unwrap());
        let answer = ask(&mut wire, &origin, login.then_some(&account));
        (answer, wire.1)
    }

    #[test]
    fn a_connection_is_asked_for_by_name_or_address() {
        let made = [5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for (url, host) in [
            ("https://a.b", &[3, 3, b'a', b'.', b'b', 1, 187][..]),
            ("http://10.0.0.1:80", &[1, 10, 0, 0, 1, 0, 80]),
        ] {
            let (answer, said) = ask_of(url, false, &made);
            assert_eq!(answer, Ok(Ok(())));
            assert_eq!(said, [&[5, 1, 0, 5, 1, 0][..], host].concat());
        }
        let named = [5, 0, 5, 0, 0, 3, 1, b'x', 0, 0];
        assert_eq!(ask_of("http://[::1]", false, &named).0, Ok(Ok(())));
    }

    #[test]
    fn a_login_is_given_where_it_is_wanted() {
        let (answer, said) = ask_of("http://a", true, &[5, 2, 1, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(answer, Ok(Ok(())));
        assert_eq!(said[..10], [5, 2, 0, 2, 1, 1, b'u', 2, b'p', b'w']);
    }

    #[test]
    fn a_refusal_is_told_in_words() {
        for (login, answers, words) in [
            (false, &[5, 0xff][..], "it wants a login"),
            (true, &[5, 2, 1, 1], "it does not take the login"),
            (false, b"HT", "it does not speak SOCKS 5"),
            (false, &[5, 0, 5, 5, 0, 1], "the host refuses its connection"),
            (false, &[5, 0, 5, 9, 0, 1], "it answers with error 9"),
        ] {
            assert_eq!(ask_of("http://a", login, answers).0, Ok(Err(words.to_owned())));
        }
        assert_eq!(ask_of("http://a", false, &[5]).0, Err(()));
    }
}

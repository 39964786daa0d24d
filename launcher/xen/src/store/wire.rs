//! The xenstore wire protocol: converts messages to bytes and back. No I/O.
//!
//! Source: `xen/include/public/io/xs_wire.h` and `docs/misc/xenstore.txt`.

/// The largest payload of a request (`XENSTORE_PAYLOAD_MAX`); a larger one ends the connection.
pub(crate) const MAX_PAYLOAD: usize = 4096;
/// The largest accepted payload of a reply. xenstored in C never exceeds [`MAX_PAYLOAD`]; xenstored in OCaml answers on
/// its socket in one message of any length: the list of 32,752 domains has less than 256 KiB.
pub(crate) const MAX_REPLY: usize = 1 << 20;
/// The longest absolute path (`XENSTORE_ABS_PATH_MAX`).
pub(crate) const MAX_ABSOLUTE_PATH: usize = 3072;
/// The longest relative path (`XENSTORE_REL_PATH_MAX`).
pub(crate) const MAX_RELATIVE_PATH: usize = 2048;
/// The size of `struct xsd_sockmsg`.
pub(crate) const HEADER_BYTES: usize = 16;

/// `enum xsd_sockmsg_type`, reduced to the types in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    Directory = 1,
    Read = 2,
    GetPerms = 3,
    Watch = 4,
    Unwatch = 5,
    TransactionStart = 6,
    TransactionEnd = 7,
    Introduce = 8,
    Release = 9,
    GetDomainPath = 10,
    Write = 11,
    Mkdir = 12,
    Rm = 13,
    SetPerms = 14,
    WatchEvent = 15,
    Error = 16,
    IsDomainIntroduced = 17,
    DirectoryPart = 22,
}

/// One message from xenstored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Its [`Kind`], unchecked.
    pub(crate) kind: u32,
    /// The number of the request that it answers.
    pub(crate) request: u32,
    /// At most [`MAX_REPLY`] bytes.
    pub(crate) payload: Vec<u8>,
}

/// Violations of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The header announces more than 1 MiB.
    #[error("a message announces {0} bytes, more than 1 MiB")]
    TooLong(u32),
    /// The last string of a list has no terminating NUL.
    #[error("a list of strings does not end in a NUL")]
    Unterminated,
    /// The message has too few strings.
    #[error("a message has too few strings")]
    TooFewStrings,
    /// A name, path or token is not UTF-8.
    #[error("a name is not UTF-8")]
    NotUtf8,
    /// A number cannot be parsed.
    #[error("a number cannot be read")]
    NotANumber,
    /// A permission cannot be parsed.
    #[error("a permission cannot be read")]
    NotAPermission,
    /// The message answers no open request.
    #[error("message {request} of type {kind} answers no request")]
    Unexpected {
        /// The message's type, `enum xsd_sockmsg_type`.
        kind: u32,
        /// The request that it claims to answer.
        request: u32,
    },
}

/// Encodes a request; `None` if `parts` together exceed [`MAX_PAYLOAD`].
pub(crate) fn encode(
    kind: Kind,
    request: u32,
    transaction: u32,
    parts: &[&[u8]],
) -> Option<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    if length > MAX_PAYLOAD {
        return None;
    }
    let mut bytes = Vec::with_capacity(HEADER_BYTES + length);
    for field in [kind as u32, request, transaction, u32::try_from(length).ok()?] {
        bytes.extend_from_slice(&field.to_ne_bytes());
    }
    for part in parts {
        bytes.extend_from_slice(part);
    }
    Some(bytes)
}

/// Splits a stream of bytes into messages, in whatever pieces the bytes arrive.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    pending: Vec<u8>,
}

impl Decoder {
    /// Adds the next bytes of the stream.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Takes the next whole message out; `None` until more bytes arrive.
    pub(crate) fn next_message(&mut self) -> Result<Option<Message>, WireError> {
        let Some((header, body)) = self.pending.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let [kind, request, _transaction, length] = header_fields(header);
        let length_bytes = length as usize;
        if length_bytes > MAX_REPLY {
            return Err(WireError::TooLong(length));
        }
        let Some(payload) = body.get(..length_bytes) else { return Ok(None) };
        let payload = payload.to_vec();
        self.pending.drain(..HEADER_BYTES + length_bytes);
        Ok(Some(Message { kind, request, payload }))
    }
}

fn header_fields(header: &[u8; HEADER_BYTES]) -> [u32; 4] {
    let mut fields = [0; 4];
    for (field, bytes) in fields.iter_mut().zip(header.chunks_exact(4)) {
        *field = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    fields
}

/// Reads a list of NUL-terminated strings.
pub(crate) fn strings(payload: &[u8]) -> Result<Vec<&str>, WireError> {
    let Some((last, rest)) = payload.split_last() else { return Ok(Vec::new()) };
    if *last != 0 {
        return Err(WireError::Unterminated);
    }
    rest.split(|byte| *byte == 0)
        .map(|string| std::str::from_utf8(string).map_err(|_| WireError::NotUtf8))
        .collect()
}

/// Reads a reply that consists of one NUL-terminated string.
pub(crate) fn one_string(payload: &[u8]) -> Result<&str, WireError> {
    strings(payload)?.first().copied().ok_or(WireError::TooFewStrings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drain(decoder: &mut Decoder) -> Vec<Message> {
        std::iter::from_fn(|| decoder.next_message().unwrap()).collect()
    }

    #[test]
    fn a_payload_of_the_largest_size_is_sent_and_one_byte_more_is_not() {
        assert!(encode(Kind::Write, 1, 0, &[&[0; MAX_PAYLOAD]]).is_some());
        assert!(encode(Kind::Write, 1, 0, &[&[0; MAX_PAYLOAD], &[0]]).is_none());
    }

    #[test]
    fn a_header_that_announces_too_much_is_refused_before_its_payload_is_awaited() {
        let mut decoder = Decoder::default();
        let mut header = encode(Kind::Read, 1, 0, &[]).unwrap();
        let too_long = u32::try_from(MAX_REPLY).unwrap() + 1;
        header[12..16].copy_from_slice(&too_long.to_ne_bytes());
        decoder.feed(&header);
        assert_eq!(decoder.next_message(), Err(WireError::TooLong(too_long)));
    }

    #[test]
    fn strings_need_an_end_and_may_be_empty() {
        assert_eq!(strings(b""), Ok(vec![]));
        assert_eq!(strings(b"a\0\0b\0"), Ok(vec!["a", "", "b"]));
        assert_eq!(strings(b"a\0b"), Err(WireError::Unterminated));
        assert_eq!(strings(b"\xff\0"), Err(WireError::NotUtf8));
    }

    proptest! {
        #[test]
        fn messages_survive_any_split_of_the_stream(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            step in 1usize..64,
        ) {
            let mut stream = Vec::new();
            for (request, payload) in payloads.iter().enumerate() {
                let request = u32::try_from(request).unwrap();
                stream.extend(encode(Kind::Read, request, 0, &[payload]).unwrap());
            }
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for piece in stream.chunks(step) {
                decoder.feed(piece);
                seen.extend(drain(&mut decoder));
            }
            let seen: Vec<_> = seen.into_iter().map(|message| message.payload).collect();
            prop_assert_eq!(seen, payloads);
        }

        #[test]
        fn no_stream_of_bytes_panics_or_yields_an_oversized_message(
            bytes in prop::collection::vec(any::<u8>(), 0..2000),
            small_length in any::<bool>(),
        ) {
            let mut bytes = bytes;
            if small_length && bytes.len() >= HEADER_BYTES {
                bytes[13..16].fill(0);
            }
            let mut decoder = Decoder::default();
            decoder.feed(&bytes);
            while let Ok(Some(message)) = decoder.next_message() {
                prop_assert!(message.payload.len() <= MAX_PAYLOAD);
                let _ = strings(&message.payload);
                let _ = one_string(&message.payload);
            }
        }
    }
}

//! Link (MAC) addresses of network interfaces, and the prefix of guests' own.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A link (MAC) address. As JSON it is a list of six numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mac(pub [u8; 6]);

/// Xen's own range of addresses (its OUI): those of guests begin with it.
const XEN: [u8; 3] = [0x00, 0x16, 0x3e];

impl Mac {
    /// The address in Xen's range that ends in these three bytes.
    #[must_use]
    pub fn of_guest([d, e, f]: [u8; 3]) -> Self {
        let [a, b, c] = XEN;
        Self([a, b, c, d, e, f])
    }

    /// Its bytes, in the order in which they are sent.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 6] {
        &self.0
    }
}

/// As `00:16:3e:12:34:56`.
impl fmt::Display for Mac {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(formatter, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

/// Why a text is not the link address of a single interface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MacError {
    /// Not six bytes.
    #[error("write six pairs of hex digits, e.g. 00:16:3e:12:34:56")]
    Form,
    /// The address of a group, or of no interface.
    #[error("{0} is not the address of a single interface: its first byte must be even")]
    Group(Mac),
}

/// Its bytes are separated by `:` or `-`.
impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or(MacError::Form)?;
            let is_hex = part.bytes().all(|digit| digit.is_ascii_hexdigit());
            let parsed = u8::from_str_radix(part, 16).ok().filter(|_| is_hex);
            *byte = parsed.ok_or(MacError::Form)?;
        }
        let mac = Self(bytes);
        match parts.next() {
            Some(_) => Err(MacError::Form),
            None if bytes[0] & 1 != 0 || bytes == [0; 6] => Err(MacError::Group(mac)),
            None => Ok(mac),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_address_is_that_of_a_single_interface() {
        let mac = Mac([0, 0x16, 0x3e, 0x12, 0x34, 0xff]);
        assert_eq!("00:16:3E:12:34:ff".parse(), Ok(mac));
        assert_eq!("00-16-3e-12-34-ff".parse(), Ok(mac));
        assert_eq!(mac.to_string(), "00:16:3e:12:34:ff");
        for text in
            ["", "00:16:3e:12:34", "00:16:3e:12:34:56:78", "0:16:3e:12:34:56", "00:16:3e:12:34:+6"]
        {
            assert_eq!(text.parse::<Mac>(), Err(MacError::Form), "{text:?}");
        }
        for text in ["01:16:3e:12:34:56", "00:00:00:00:00:00"] {
            assert!(matches!(text.parse::<Mac>(), Err(MacError::Group(_))), "{text:?}");
        }
    }

    #[test]
    fn state_files_and_orders_of_other_versions_have_a_list_of_bytes() {
        let mac = Mac([0, 22, 62, 1, 2, 3]);
        assert_eq!(serde_json::to_string(&mac).unwrap(), "[0,22,62,1,2,3]");
        assert_eq!(serde_json::from_str::<Mac>("[0,22,62,1,2,3]").unwrap(), mac);
    }
}

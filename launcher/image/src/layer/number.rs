//! Numbers in tar headers and PAX records.

use super::ArchiveError;
use crate::tree::Time;

/// Reads a header field: octal digits, or GNU's base 256 when the top bit is set.
///
/// The `tar` crate reads base 256 as unsigned and without overflow; times before 1970 and hostile
/// sizes need more.
pub(super) fn parse_field(name: &'static str, field: &[u8]) -> Result<i64, ArchiveError> {
    match field {
        [first, rest @ ..] if first & 0x80 != 0 => {
            // Two's complement over the field without the marker bit: 0x40 is the sign.
            let mut value = i128::from(first & 0x3f) - i128::from(first & 0x40);
            for byte in rest {
                value = (value << 8) | i128::from(*byte);
                // Twelve bytes at most, so i128 cannot overflow.
            }
            i64::try_from(value).map_err(|_| ArchiveError::Number(name))
        }
        _ => parse_octal(field).ok_or(ArchiveError::Number(name)),
    }
}

fn parse_octal(field: &[u8]) -> Option<i64> {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|b| !blank(b)).unwrap_or(field.len());
    let digits = &field[start..];
    let digits = &digits[..digits.iter().position(blank).unwrap_or(digits.len())];
    digits.iter().try_fold(0_i64, |value, byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(byte - b'0')),
        _ => None,
    })
}

/// Reads a decimal number without sign, as all numbers in PAX records but times.
pub(super) fn parse_decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| match byte {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// Reads a PAX time: seconds with an optional sign and an optional fraction.
pub(super) fn parse_time(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let dot = text.iter().position(|&b| b == b'.').unwrap_or(text.len());
    let seconds = i64::try_from(parse_decimal(&text[..dot])?).ok()?;
    let mut nanoseconds = 0;
    let mut scale = 100_000_000;
    for byte in text.get(dot + 1..).unwrap_or_default() {
        let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
        // Digits past the ninth are dropped.
        nanoseconds += digit * scale;
        scale /= 10;
    }
    Some(match (negative, nanoseconds) {
        (false, _) => Time { seconds, nanoseconds },
        (true, 0) => Time { seconds: -seconds, nanoseconds },
        (true, _) => Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_fields_end_at_a_blank() {
        for field in [&b"0000755\0"[..], b"   755 \0", b"755\0junk", b"00000755"] {
            assert_eq!(parse_field("mode", field).unwrap(), 0o755);
        }
        assert_eq!(parse_field("mode", b"\0\0\0\0\0\0\0\0").unwrap(), 0);
        for bad in [b"0000798\0", b"-000755\0"] {
            let error = parse_field("mode", bad).unwrap_err();
            assert!(matches!(error, ArchiveError::Number("mode")), "{error}");
        }
    }

    #[test]
    fn base_256_fields_keep_their_sign() {
        let mut field = [0xff_u8; 12];
        assert_eq!(parse_field("mtime", &field).unwrap(), -1);
        field = [0; 12];
        field[0] = 0x80;
        field[4..].copy_from_slice(&0x1234_5678_9abc_i64.to_be_bytes());
        assert_eq!(parse_field("size", &field).unwrap(), 0x1234_5678_9abc);
        assert_eq!(
            parse_field("uid", &[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe]).unwrap(),
            4294967294
        );
        let error = parse_field("size", &[0x81; 12]).unwrap_err();
        assert!(matches!(error, ArchiveError::Number("size")), "{error}");
    }

    #[test]
    fn times_before_1970_count_nanoseconds_upwards() {
        let time = |text: &str| parse_time(text.as_bytes()).map(|t| (t.seconds, t.nanoseconds));
        assert_eq!(time("1350244992.023960108"), Some((1350244992, 23960108)));
        assert_eq!(time("1.5"), Some((1, 500_000_000)));
        assert_eq!(time("-1.5"), Some((-2, 500_000_000)));
        assert_eq!(time("-0.000000001"), Some((-1, 999_999_999)));
        assert_eq!(time("-7"), Some((-7, 0)));
        assert_eq!(time("1.0000000019"), Some((1, 1)));
        for bad in ["", "-", ".", ".5", "1.x", "1e3", "--1", "99999999999999999999"] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }
}

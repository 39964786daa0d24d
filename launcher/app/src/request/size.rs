//! Sizes as Docker writes them: `64m`, `1g`, `67108864`.

/// The error for text that is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "size {0:?} is not valid; write a number with b, k, m, g or t, e.g. 64m (no letter: bytes)"
)]
pub struct SizeError(String);

/// Parses a size to bytes. Units are powers of 1,024, in either case, also in the forms `mb` and `MiB`.
///
/// # Errors
/// The text is not a size, or the size exceeds 64 bits.
pub fn parse_size_bytes(text: &str) -> Result<u64, SizeError> {
    let error = || SizeError(text.chars().take(64).collect());
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(error()),
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift)).ok_or_else(error)
}

/// Parses a size to whole MiB, rounded up.
///
/// # Errors
/// As [`parse_size_bytes`], or the size exceeds 32 bits.
pub fn parse_size_mib(text: &str) -> Result<u32, SizeError> {
    let mib = parse_size_bytes(text)?.div_ceil(1 << 20);
    u32::try_from(mib).map_err(|_| SizeError(text.chars().take(64).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_powers_of_1024_and_no_unit_is_bytes() {
        assert_eq!(parse_size_bytes("64m"), Ok(64 << 20));
        assert_eq!(parse_size_bytes("1G"), Ok(1 << 30));
        assert_eq!(parse_size_bytes("67108864"), Ok(64 << 20));
        assert_eq!(parse_size_mib("64MiB"), Ok(64));
        assert_eq!(parse_size_mib("1025k"), Ok(2));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "m", "-1m", "1.5g", "64 m", "64x", "99999999999999999999", "16777216t"] {
            assert_eq!(parse_size_bytes(text), Err(SizeError(text.into())));
        }
        assert_eq!(parse_size_mib("4096t"), Err(SizeError("4096t".into())));
    }
}

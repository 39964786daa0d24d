//! Signal names, in the forms that `STOPSIGNAL` and `docker kill -s` accept.

/// Signal numbers in the guest, which runs Linux on x86.
const NAMES: [(&str, i32); 36] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("RTMIN", RTMIN),
    ("RTMAX", RTMAX),
];
/// The first real-time signal; the C library keeps 32 and 33 for itself.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// SIGTERM, Docker's default.
pub(crate) const TERM: i32 = 15;

/// The error for text that is not a signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "signal {0:?} is not known; use a name such as SIGTERM or RTMIN+3, or a number from 1 to 64"
)]
pub struct SignalError(String);

/// Parses `15`, `TERM`, `sigterm`, `RTMIN+3` or `SIGRTMAX-1`.
///
/// # Errors
/// The text is none of these, or the number is beyond 64.
pub fn parse_signal(text: &str) -> Result<i32, SignalError> {
    let error = || SignalError(text.chars().take(64).collect());
    if let Some(number) = digits(text) {
        return (1..=RTMAX).contains(&number).then_some(number).ok_or_else(error);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = if let Some(offset) = name.strip_prefix("RTMIN+") {
        digits(offset).map(|offset| RTMIN.saturating_add(offset))
    } else if let Some(offset) = name.strip_prefix("RTMAX-") {
        digits(offset).map(|offset| RTMAX.saturating_sub(offset))
    } else {
        return NAMES.iter().find(|(known, _)| *known == name).map(|(_, n)| *n).ok_or_else(error);
    };
    number.filter(|number| (RTMIN..=RTMAX).contains(number)).ok_or_else(error)
}

fn digits(text: &str) -> Option<i32> {
    // `parse` alone would accept a sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_give_the_same_signal() {
        for text in ["15", "TERM", "SIGTERM", "sigterm", "Term"] {
            assert_eq!(parse_signal(text), Ok(TERM), "{text}");
        }
        assert_eq!(parse_signal("SIGQUIT"), Ok(3));
        assert_eq!(parse_signal("WINCH"), Ok(28));
    }

    #[test]
    fn real_time_signals_count_from_either_end() {
        assert_eq!(parse_signal("RTMIN"), Ok(34));
        assert_eq!(parse_signal("SIGRTMIN+3"), Ok(37));
        assert_eq!(parse_signal("rtmax-1"), Ok(63));
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        let wrong =
            ["", "0", "65", "+3", "-1", "TERMINATE", "RTMIN+31", "RTMAX-31", "RTMIN+", "RTMIN+-1"];
        for text in wrong {
            assert_eq!(parse_signal(text), Err(SignalError(text.into())));
        }
    }
}

//! Points in time in the form of RFC 3339, in UTC: `2026-11-25T03:15:00.000000001Z`.

use std::time::{SystemTime, UNIX_EPOCH};

const NS: u64 = 1_000_000_000;
const DAY_S: u64 = 86_400;

/// The time now in nanoseconds since 1970; works until the year 2554.
#[must_use]
pub fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Writes nanoseconds since 1970 with all nine digits of the fraction, so that all results have the same length.
#[must_use]
pub fn render(unix_ns: u64) -> String {
    let seconds = unix_ns / NS;
    let (year, month, day) = date_of(seconds / DAY_S);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let fraction = unix_ns % NS;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:09}Z")
}

/// Reads what [`render`] writes and shorter forms: with any number of fraction digits or none, with `Z`, an offset
/// from UTC or neither, or only a date.
#[must_use]
pub fn parse(text: &str) -> Option<u64> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, time),
        None => (text, "00:00:00Z"),
    };
    let [year, month, day] = numbers(date, '-')?;
    let (time, offset_minutes) = split_offset(time)?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let time = if time.matches(':').count() == 1 { format!("{time}:00") } else { time.to_owned() };
    let [hour, minute, second] = numbers(&time, ':')?;
    let known = (1970..=2500).contains(&year) && (1..=12).contains(&month);
    if !known || day < 1 || day > days_in(year, month) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<9}").parse().ok()?;
    let seconds = days_to(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second;
    let seconds = seconds.checked_add_signed(-offset_minutes * 60)?;
    seconds.checked_mul(NS)?.checked_add(fraction)
}

/// Splits off `Z` or an offset from UTC, and returns the offset in minutes.
fn split_offset(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let Some(at) = time.rfind(['+', '-']) else { return Some((time, 0)) };
    let (time, offset) = time.split_at(at);
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let number = |text: &str| digits(text).and_then(|number| i64::try_from(number).ok());
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours < 24 && minutes < 60).then_some((time, sign * (hours * 60 + minutes)))
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let mut parts = text.split(separator).map(digits);
    let found = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(found)
}

fn digits(text: &str) -> Option<u64> {
    let fine = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    fine.then(|| text.parse().ok())?
}

fn is_leap(year: u64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The days from 1970 to a date.
fn days_to(year: u64, month: u64, day: u64) -> u64 {
    let years: u64 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    let months: u64 = (1..month).map(|month| days_in(year, month)).sum();
    years + months + day - 1
}

/// The date that is this many days after the beginning of 1970.
fn date_of(mut days: u64) -> (u64, u64, u64) {
    let mut year = 1970;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let mut month = 1;
    while days >= days_in(year, month) {
        days -= days_in(year, month);
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_time_reads_back_as_it_was_written() {
        for (ns, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_827_696_000_000_007, "2000-02-29T12:34:56.000000007Z"),
            (1_795_576_500_123_456_789, "2026-11-25T03:15:00.123456789Z"),
            (4_107_542_399 * NS, "2100-02-28T23:59:59.000000000Z"),
        ] {
            assert_eq!(render(ns), text);
            assert_eq!(parse(text), Some(ns), "{text}");
        }
    }

    #[test]
    fn shorter_forms_and_other_zones_are_understood() {
        let noon = parse("2026-11-25T12:00:00Z").unwrap();
        for text in [
            "2026-11-25T12:00:00",
            "2026-11-25 12:00",
            "2026-11-25T13:30:00+01:30",
            "2026-11-25T07:00:00.0-05:00",
        ] {
            assert_eq!(parse(text), Some(noon), "{text}");
        }
        assert_eq!(parse("2026-11-25"), Some(noon - 12 * 3600 * NS));
    }

    #[test]
    fn what_is_no_point_in_time_is_refused() {
        for text in [
            "",
            "now",
            "2026-02-29",
            "2026-13-01",
            "2026-11-25T24:00:00Z",
            "2026-11-25T1:2:3:4Z",
            "1969-12-31",
            "9999-01-01",
            "2026-11-25T00:00:00.1234567890Z",
            "2026-11-25T00:00:00+1",
            "-026-11-25",
            "2026-11-25T00:00:00+25:00",
            "1970-01-01T00:00:00+01:00",
        ] {
            assert_eq!(parse(text), None, "{text:?} was taken");
        }
    }
}

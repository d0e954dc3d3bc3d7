//! Times on the command line and in what is printed: the machine's time zone, and RocketMQ's forms.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// What [`parse`] reads, for help texts.
pub(super) const FORMS: &str = "now, milliseconds since 1970, or local time as yyyy-MM-dd#HH:mm:ss:SSS";

/// Milliseconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// `2026-11-23 09:30:00,123`; the number itself where it is no time.
pub(super) fn human(millis: i64) -> String {
    match local(millis) {
        Some(at) => format!("{},{:03}", seconds_of(&at), at.millisecond()),
        None => millis.to_string(),
    }
}

/// `2026-11-23 09:30:00`.
pub(super) fn human_seconds(millis: i64) -> String {
    local(millis).map_or_else(|| millis.to_string(), |at| seconds_of(&at))
}

/// What a search says of its bounds; nothing if it had none.
pub(super) fn within(begin: i64, end: i64) -> String {
    match (begin, end) {
        (0, i64::MAX) => String::new(),
        (begin, i64::MAX) => format!(" and was stored at or after {}", human(begin)),
        (begin, end) => format!(" and was stored between {} and {}", human(begin), human(end)),
    }
}

/// `20261123093000123`.
pub(super) fn compact(millis: i64) -> String {
    human(millis).chars().filter(char::is_ascii_digit).collect()
}

fn seconds_of(at: &Zoned) -> String {
    let (date, time) = (at.date(), at.time());
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        date.year(),
        date.month(),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

fn local(millis: i64) -> Option<Zoned> {
    Timestamp::from_millisecond(millis).ok().map(|at| at.to_zoned(TimeZone::system()))
}

/// Reads a time as milliseconds since 1970. Later parts of a date may be left out, and any separator will do.
pub(super) fn parse(text: &str) -> Result<i64, String> {
    let text = text.trim();
    if text == "now" {
        return Ok(now());
    }
    if let Ok(millis) = text.parse() {
        return Ok(millis);
    }
    let problem = || format!("{text:?} is not a time; write {FORMS}");
    let parts: Vec<i16> = text
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(|_| problem())?;
    if !(3..=7).contains(&parts.len()) {
        return Err(problem());
    }
    let part = |at: usize| i8::try_from(parts.get(at).copied().unwrap_or(0)).map_err(|_| problem());
    let nanos = i32::from(parts.get(6).copied().unwrap_or(0)) * 1_000_000;
    DateTime::new(parts[0], part(1)?, part(2)?, part(3)?, part(4)?, part(5)?, nanos)
        .and_then(|at| at.to_zoned(TimeZone::system()))
        .map(|at| at.timestamp().as_millisecond())
        .map_err(|_| problem())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        let at = parse("2026-11-23#09:30:05:007").unwrap();
        assert_eq!(human(at), "2026-11-23 09:30:05,007");
        assert_eq!(human_seconds(at), "2026-11-23 09:30:05");
        assert_eq!(compact(at), "20261123093005007");
        assert_eq!(parse("2026-11-23 09:30:05,007"), Ok(at));
        assert_eq!(parse(&at.to_string()), Ok(at));
        assert_eq!(human(parse("2026-11-23").unwrap()), "2026-11-23 00:00:00,000");
        assert_eq!(human(i64::MAX), i64::MAX.to_string());
    }

    #[test]
    fn what_is_no_time_is_told_the_forms() {
        for text in ["", "soon", "2026-13-01", "2026-11-23#25:00:00:000", "2026-11", "2026-11-23#1:1:1:1:1"] {
            assert!(parse(text).unwrap_err().contains("yyyy-MM-dd#HH:mm:ss:SSS"), "{text}");
        }
    }
}

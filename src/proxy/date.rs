//! The time of day as a response states it (RFC 9110 section 6.6.1).

use std::time::{Duration, SystemTime};

use http::HeaderValue;

use crate::time::WallTime;

/// A `Date` line, written once a second and not once a response.
#[derive(Debug)]
pub(super) struct Date {
    second: i64,
    line: String,
    value: HeaderValue,
}

impl Date {
    /// This moment's.
    pub(super) fn new(now: WallTime) -> Self {
        let second = now.as_millis().div_euclid(1_000);
        let since_epoch = Duration::from_secs(u64::try_from(second).unwrap_or_default());
        let text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since_epoch);
        let line = format!("date: {text}\r\n");
        Self { second, line, value: HeaderValue::try_from(text).expect("a date is visible ASCII") }
    }

    /// Makes it this moment's.
    pub(super) fn turn(&mut self, now: WallTime) {
        if now.as_millis().div_euclid(1_000) != self.second {
            *self = Self::new(now);
        }
    }

    /// The header, with its line end.
    pub(super) fn line(&self) -> &[u8] {
        self.line.as_bytes()
    }

    /// The header's value.
    pub(super) fn value(&self) -> &HeaderValue {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_that_of_its_second() {
        let mut date = Date::new(WallTime::from_millis(784_111_777_000));
        assert_eq!(date.line(), b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        date.turn(WallTime::from_millis(784_111_777_999));
        assert_eq!(date.line(), b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        date.turn(WallTime::from_millis(784_111_778_000));
        assert_eq!(date.line(), b"date: Sun, 06 Nov 1994 08:49:38 GMT\r\n");
    }
}

//! Where an HTTP/1.1 message ends, for connections that have one under way at a time.

/// Whether these bytes, which begin with a message's head, hold its end too.
pub(crate) fn is_whole(message: &[u8]) -> bool {
    let Some(end) = message.windows(4).position(|four| four == b"\r\n\r\n") else {
        return false;
    };
    let head = str::from_utf8(&message[..end]).unwrap_or_default();
    let field = |name: &str| {
        head.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    match field("content-length") {
        Some((_, length)) => {
            length.trim().parse().is_ok_and(|length: usize| message.len() >= end + 4 + length)
        }
        None => field("transfer-encoding").is_none() || message.ends_with(b"\r\n0\r\n\r\n"),
    }
}

//! Server-sent events: bytes in, the data of messages out (HTML Living Standard, section 9.2.6).

/// An event is a few hundred bytes; what is longer than this is not one.
const MESSAGE_LIMIT_BYTES: usize = 1 << 20;

/// Takes a stream apart. Comments, ids and event names are skipped: a [`crate::admin::wire::Event`] carries both in its data.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    data: String,
    has_data: bool,
    after_carriage_return: bool,
}

/// A message past the limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct MessageTooLong;

impl Parser {
    /// Takes the next bytes and returns the data of the messages that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, MessageTooLong> {
        let mut messages = Vec::new();
        for &byte in bytes {
            let follows_carriage_return = std::mem::replace(&mut self.after_carriage_return, byte == b'\r');
            match byte {
                b'\n' if follows_carriage_return => {}
                b'\n' | b'\r' => messages.extend(self.end_line()),
                _ if self.line.len() + self.data.len() < MESSAGE_LIMIT_BYTES => self.line.push(byte),
                _ => return Err(MessageTooLong),
            }
        }
        Ok(messages)
    }

    fn end_line(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            return std::mem::take(&mut self.has_data).then_some(data);
        }
        let line = String::from_utf8_lossy(&line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        if field == "data" {
            if std::mem::replace(&mut self.has_data, true) {
                self.data.push('\n');
            }
            self.data.push_str(value.strip_prefix(' ').unwrap_or(value));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pieces: &[&[u8]]) -> Vec<String> {
        let mut parser = Parser::default();
        pieces.iter().flat_map(|piece| parser.push(piece).unwrap()).collect()
    }

    #[test]
    fn a_message_is_whole_at_the_empty_line_whatever_the_pieces() {
        let stream = b": hello\n\nid: 7\nevent: state\ndata: {\"id\":7}\n\ndata:a\r\ndata: b\r\n\r\nid: 8\n\ndata: cut";
        let whole = data(&[stream]);
        assert_eq!(whole, ["{\"id\":7}", "a\nb"]);
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(data(&bytes), whole);
    }

    #[test]
    fn a_message_without_end_is_refused() {
        let mut parser = Parser::default();
        let endless = vec![b'x'; MESSAGE_LIMIT_BYTES + 1];
        assert_eq!(parser.push(&endless), Err(MessageTooLong));
    }

    #[test]
    fn bytes_that_are_not_text_do_no_harm() {
        assert_eq!(data(&[b"data: \xff\n\n\xff: x\n\n"]), ["\u{fffd}"]);
    }
}

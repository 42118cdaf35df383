//! What hyper says by itself, said as this proxy says everything else.
//!
//! A head that hyper cannot parse, or finds too large, never becomes a request: hyper writes a bare status line and closes. The
//! client's socket sees that nobody was answering anything, and puts a problem document in its place. Over HTTP/2 the library
//! answers by resetting the stream or with a bare 431, which nothing of ours sees.

use super::{
    answer::{self, MEDIA_TYPE},
    error::Failure,
};

/// The same answer with a problem document, and what it is about. `None` when this is not an answer without a body.
pub(super) fn reword(bare: &[u8]) -> Option<(Vec<u8>, Failure)> {
    let head = str::from_utf8(bare).ok()?.strip_suffix("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let first = lines.next()?;
    let failure = match first.strip_prefix("HTTP/1.1 ")?.get(..3)? {
        "400" => Failure::BadRequest("Its head could not be parsed."),
        "414" => Failure::LongTarget,
        "431" => Failure::LargeHead,
        _ => return None,
    };
    let document = answer::document(&failure);
    let mut worded = format!("{first}\r\n");
    let mut has_no_body = false;
    for line in lines {
        if line.eq_ignore_ascii_case("content-length: 0") {
            has_no_body = true;
        } else {
            worded.push_str(line);
            worded.push_str("\r\n");
        }
    }
    worded.push_str(&format!(
        "content-type: {MEDIA_TYPE}\r\ncontent-length: {}\r\n\r\n{document}",
        document.len()
    ));
    has_no_body.then(|| (worded.into_bytes(), failure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_answer_keeps_its_headers_and_gets_a_document() {
        let bare = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: now\r\n\r\n";
        let (worded, failure) = reword(bare).unwrap();
        let worded = String::from_utf8(worded).unwrap();
        let (head, document) = worded.split_once("\r\n\r\n").unwrap();
        let length = format!("content-length: {}", document.len());
        let lines: Vec<_> = head.split("\r\n").collect();
        assert_eq!(
            lines,
            [
                "HTTP/1.1 431 Request Header Fields Too Large",
                "connection: close",
                "date: now",
                "content-type: application/problem+json",
                &length,
            ]
        );
        assert!(document.contains("\"status\":431"));
        assert!(matches!(failure, Failure::LargeHead));
    }

    #[test]
    fn nothing_else_is_taken_for_a_bare_answer() {
        for other in [
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 40",
            "0\r\n\r\n",
            "",
        ] {
            assert!(reword(other.as_bytes()).is_none(), "{other}");
        }
    }
}

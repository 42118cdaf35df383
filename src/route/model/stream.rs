//! Whether a request asks for its answer as a stream.
//!
//! It is asked of requests that have waited long for an answer, so that one whose whole answer takes its time is not taken for a stream
//! without its first token.

use super::{
    Scan,
    json::{Members, Token},
};

/// What the request's head says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamWish {
    /// That it does.
    Stated,
    /// Nothing: a top-level `"stream": true` of the body does, as with OpenAI's and Anthropic's clients.
    InBody,
    /// Nothing, and it does unless its body says `"stream": false`, as with Ollama's own paths.
    UnlessRefused,
    /// That it is a conversation: every message of the client's asks for an answer, also while more may follow.
    InMessages,
}

/// Looks for a top-level member `stream` in a JSON body.
#[derive(Debug, Default)]
pub struct StreamScanner {
    members: Members,
}

impl StreamWish {
    /// By its path, and by whether it accepts `text/event-stream`. TGI and Triton have paths of their own for streams.
    pub fn of(path: &str, accepts_events: bool) -> Self {
        let path = path.trim_end_matches('/');
        if accepts_events || path.ends_with("_stream") {
            Self::Stated
        } else if path.ends_with("/api/chat") || path.ends_with("/api/generate") {
            Self::UnlessRefused
        } else {
            Self::InBody
        }
    }

    /// What it comes to with what the body says; `None` of a body that was not read, or says nothing.
    pub fn with_body(self, said: Option<bool>) -> bool {
        match self {
            Self::Stated | Self::InMessages => true,
            Self::InBody => said == Some(true),
            Self::UnlessRefused => said != Some(false),
        }
    }
}

impl StreamScanner {
    /// Takes the next bytes of the body.
    pub fn feed(&mut self, bytes: &[u8]) -> Scan<bool> {
        let mut rest = bytes;
        loop {
            rest = rest.get(self.members.plain(rest)..).unwrap_or_default();
            let Some((byte, after)) = rest.split_first() else { return Scan::More };
            rest = after;
            match self.members.step(*byte) {
                Err(_) | Ok(Token::End) => return Scan::Absent,
                Ok(Token::ValueBegins) if self.members.key() == Some(b"stream") => {
                    return Scan::Found(*byte == b't');
                }
                Ok(
                    Token::Inner | Token::ValueBegins | Token::Byte(_) | Token::Escaped(_) | Token::ValueEnds,
                ) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_says_so_at_its_top_level_wherever_it_is_cut() {
        for (text, said) in [
            (r#"{"messages":[{"stream":true}],"stream": true}"#, Scan::Found(true)),
            (r#"{"stream":false,"prompt":"\"stream\":true"}"#, Scan::Found(false)),
            (r#"{"stream":null}"#, Scan::Found(false)),
            (r#"{"prompt":"stream"}"#, Scan::Absent),
            ("not json", Scan::Absent),
            (r#"{"prompt":"#, Scan::More),
        ] {
            for cut in 0..text.len() {
                let mut scanner = StreamScanner::default();
                let (first, second) = text.as_bytes().split_at(cut);
                let seen = match scanner.feed(first) {
                    Scan::More => scanner.feed(second),
                    known @ (Scan::Found(_) | Scan::Absent) => known,
                };
                assert_eq!(seen, said, "{text} {cut}");
            }
        }
    }

    #[test]
    fn the_path_or_the_accept_header_may_say_so_too() {
        let asks = |path, accepts, said| StreamWish::of(path, accepts).with_body(said);
        assert!(asks("/generate_stream", false, None) && asks("/v1/chat/completions", true, Some(false)));
        assert!(asks("/v2/models/m/generate_stream/", false, None));
        assert!(asks("/v1/chat/completions", false, Some(true)));
        assert!(!asks("/v1/chat/completions", false, None) && !asks("/v1/embeddings", false, Some(false)));
        assert!(asks("/api/chat", false, None) && !asks("/api/generate", false, Some(false)));
    }
}

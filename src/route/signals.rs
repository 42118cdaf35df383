//! Whether what an endpoint's model servers say inside their answers is read.

/// What is read of the streams that an endpoint's model servers send.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Signals {
    /// What the stream's media type promises: errors, the sign of a complete answer, the first token, gaps between tokens, and their
    /// number.
    #[default]
    Auto,
    /// The same, and of gRPC calls the messages: those of a stream are its tokens.
    Grpc,
    /// Nothing: an answer is good when its status and its end are.
    Off,
}

impl Signals {
    /// `auto`, `grpc` or `off`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Grpc => "grpc",
            Self::Off => "off",
        }
    }
}

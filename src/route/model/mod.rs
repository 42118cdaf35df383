//! The model that a request names: in its path, in the first bytes of a JSON body, or in the first message of a gRPC call.
//!
//! A body is looked at only as far as the name, frame by frame as it comes, and by none of these readers is it kept.

mod field;
mod grpc;
mod json;
mod path;
mod prompt;
mod stream;

pub(super) use field::FieldScanner;
pub use grpc::{GrpcScanner, model_of_message};
pub use json::JsonScanner;
pub use path::model_of_path;
pub use prompt::PromptScanner;
pub use stream::{StreamScanner, StreamWish};

/// Longer names are no names: they match nothing. Hugging Face's longest are below 100 bytes, LoRA adapters' somewhat above.
const NAME_LIMIT_BYTES: usize = 256;

/// The model as far as it is known when a request is matched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModelKey<'a> {
    /// The body may name one, and has not been looked at.
    Unread,
    /// The request names none, or none that could be found within the bounds.
    Absent,
    /// This one.
    Named(&'a str),
}

/// What a scanner knows after the bytes it was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scan<T> {
    /// Not enough yet.
    More,
    /// It is there.
    Found(T),
    /// It is not there, whatever comes.
    Absent,
}

/// Looks for the model's name in a body of one of the two forms.
#[derive(Debug)]
pub enum ModelScanner {
    /// `application/json` and whatever else calls itself something: clients of model servers are careless about it.
    Json(JsonScanner),
    /// `application/grpc`, with or without a suffix.
    Grpc(GrpcScanner),
}

impl ModelScanner {
    /// For a body of this content type.
    pub fn new(content_type: Option<&[u8]>) -> Self {
        let grpc = b"application/grpc";
        let is_grpc =
            |kind: &[u8]| kind.get(..grpc.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(grpc));
        if content_type.is_some_and(is_grpc) {
            Self::Grpc(GrpcScanner::default())
        } else {
            Self::Json(JsonScanner::default())
        }
    }

    /// Takes the next bytes of the body.
    pub fn feed(&mut self, bytes: &[u8]) -> Scan<String> {
        match self {
            Self::Json(scanner) => scanner.feed(bytes),
            Self::Grpc(scanner) => scanner.feed(bytes),
        }
    }
}

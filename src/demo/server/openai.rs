//! OpenAI's completions and chat: requests in, answers out. Wire format: OpenAI's API reference, as vLLM speaks it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    MODEL_NAME, Service,
    error::ApiError,
    job::{SamplingWish, Slot},
    pace::Paced,
};
use crate::{
    clock,
    demo::model::{Finish, Generation, ModelVersion},
};

/// The fields of both kinds that this model heeds. Others (`top_p`, `stop`, `user`) are taken and change nothing.
#[derive(Debug, Deserialize)]
pub(super) struct Request {
    model: Option<String>,
    prompt: Option<Prompt>,
    messages: Option<Vec<Message>>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    temperature: Option<f32>,
    seed: Option<i64>,
    n: Option<u64>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Prompt {
    One(String),
    Batch(Vec<String>),
}

#[derive(Debug, Deserialize)]
struct Message {
    content: Option<Content>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    text: Option<String>,
}

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// `POST /v1/completions`
    Completion,
    /// `POST /v1/chat/completions`
    Chat,
}

/// How the answer is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Delivery {
    /// In one piece.
    Whole,
    /// As server-sent events.
    Stream {
        /// With a last event that has the `usage` and no choices.
        usage: Usage,
    },
}

/// Whether a stream ends with its `usage`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Usage {
    /// `stream_options.include_usage`
    Wanted,
    /// The default.
    NotWanted,
}

/// An accepted request: prompt read, slot taken.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) paced: Paced,
    pub(super) frame: Frame,
    pub(super) delivery: Delivery,
    _slot: Slot,
}

/// What all pieces of one answer have in common.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    id: String,
    created_s: i64,
    version: ModelVersion,
}

impl Job {
    /// Checks a request and reads its prompt.
    pub(super) fn accept(service: &Service, kind: Kind, body: &[u8]) -> Result<Self, ApiError> {
        let request: Request = serde_json::from_slice(body)
            .map_err(|error| ApiError::BadRequest(format!("the body is not a request in JSON: {error}")))?;
        service.check_model(request.model.as_deref())?;
        if request.n.is_some_and(|n| n != 1) {
            return Err(ApiError::BadRequest(
                "n must be 1: this server gives one answer a request".to_owned(),
            ));
        }
        let wish = SamplingWish {
            max_tokens: request.max_completion_tokens.or(request.max_tokens),
            temperature: request.temperature,
            seed: request.seed,
        };
        let sampling = wish.checked()?;
        let usage = match request.stream_options.as_ref().and_then(|options| options.include_usage) {
            Some(true) => Usage::Wanted,
            Some(false) | None => Usage::NotWanted,
        };
        let delivery = match request.stream {
            Some(true) => Delivery::Stream { usage },
            Some(false) | None => Delivery::Whole,
        };
        let prompt = request.prompt_of(kind)?;
        let slot = service.slot()?;
        let paced = service.begin(&prompt, sampling)?;
        Ok(Self { paced, frame: Frame::new(kind, service.model.version()), delivery, _slot: slot })
    }

    /// The answer in one piece.
    pub(super) async fn complete(mut self) -> Value {
        let (text, finish) = self.paced.complete().await;
        self.frame.whole(&text, finish, self.paced.generation())
    }
}

impl Request {
    /// The text that the model goes on from. A chat is its messages, a line each, which is how the corpus is written.
    fn prompt_of(self, kind: Kind) -> Result<String, ApiError> {
        let bad = |text: &str| Err(ApiError::BadRequest(text.to_owned()));
        match (kind, self.prompt, self.messages) {
            (Kind::Completion, Some(Prompt::One(prompt)), _) => Ok(prompt),
            (Kind::Completion, Some(Prompt::Batch(mut prompts)), _) => {
                match (prompts.pop(), prompts.is_empty()) {
                    (Some(prompt), true) => Ok(prompt),
                    (Some(_), false) | (None, _) => bad("prompt must be a text or a list of one text"),
                }
            }
            (Kind::Completion, None, _) => bad("prompt is missing"),
            (Kind::Chat, _, Some(messages)) if !messages.is_empty() => {
                Ok(messages.into_iter().map(|message| message.into_text() + "\n").collect())
            }
            (Kind::Chat, _, Some(_) | None) => bad("messages must be a list of at least one message"),
        }
    }
}

impl Message {
    fn into_text(self) -> String {
        match self.content {
            Some(Content::Text(text)) => text,
            Some(Content::Parts(parts)) => parts.into_iter().filter_map(|part| part.text).collect(),
            None => String::new(),
        }
    }
}

impl Frame {
    fn new(kind: Kind, version: ModelVersion) -> Self {
        let prefix = match kind {
            Kind::Completion => "cmpl",
            Kind::Chat => "chatcmpl",
        };
        let id = format!("{prefix}-{:016x}", rand::random::<u64>());
        Self { kind, id, created_s: clock::wall().as_millis() / 1000, version }
    }

    fn whole(&self, text: &str, finish: Finish, generation: &Generation) -> Value {
        let (object, mut choice) = match self.kind {
            Kind::Completion => ("text_completion", json!({"index": 0, "text": text})),
            Kind::Chat => {
                let message = json!({"role": "assistant", "content": text, "refusal": null});
                ("chat.completion", json!({"index": 0, "message": message}))
            }
        };
        choice["logprobs"] = Value::Null;
        choice["finish_reason"] = finish.as_str().into();
        let mut answer = self.object(object, vec![choice]);
        answer["usage"] = usage(generation);
        answer
    }

    /// The first piece of a chat's stream: whose turn it is, and no text yet.
    pub(super) fn role(&self) -> Value {
        let delta = json!({"role": "assistant", "content": ""});
        self.chunk(vec![json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": null})])
    }

    /// A piece of a stream with text or with the reason of the end. Both come in one piece when the model's last characters end it.
    pub(super) fn piece(&self, text: &str, finish: Option<Finish>) -> Value {
        let mut choice = match self.kind {
            Kind::Completion => json!({"index": 0, "text": text}),
            Kind::Chat if text.is_empty() => json!({"index": 0, "delta": {}}),
            Kind::Chat => json!({"index": 0, "delta": {"content": text}}),
        };
        choice["logprobs"] = Value::Null;
        choice["finish_reason"] = finish.map(Finish::as_str).into();
        self.chunk(vec![choice])
    }

    /// The piece that carries the usage.
    pub(super) fn usage(&self, generation: &Generation) -> Value {
        let mut chunk = self.chunk(Vec::new());
        chunk["usage"] = usage(generation);
        chunk
    }

    fn chunk(&self, choices: Vec<Value>) -> Value {
        let object = match self.kind {
            Kind::Completion => "text_completion",
            Kind::Chat => "chat.completion.chunk",
        };
        self.object(object, choices)
    }

    fn object(&self, object: &str, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id,
            "object": object,
            "created": self.created_s,
            "model": MODEL_NAME,
            "system_fingerprint": self.version.as_str(),
            "choices": choices,
        })
    }
}

fn usage(generation: &Generation) -> Value {
    let (prompt, completion) = (generation.prompt_tokens(), generation.completion_tokens());
    json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion})
}

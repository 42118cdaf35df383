//! What clients ask for.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header::CONTENT_TYPE};
use http_body_util::Full;
use rand::{RngExt as _, rngs::StdRng};
use serde_json::json;

use crate::demo::MODEL_NAME;

/// Which API, and how the answer comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// `POST /v1/chat/completions`, streamed.
    ChatStream,
    /// `POST /v1/chat/completions`
    Chat,
    /// `POST /v1/completions`
    Completion,
    /// `POST /v2/models/{model}/infer`
    Infer,
}

/// One request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ask {
    pub(super) form: Form,
    prompt: &'static str,
    max_tokens: u32,
    seed: u32,
}

/// Answer lengths are lognormal, as measured ones are: this median in characters and this deviation of the logarithm, within bounds.
const MEDIAN_TOKENS: f64 = 56.0;
const DEVIATION: f64 = 0.5;
const TOKENS: std::ops::RangeInclusive<f64> = 8.0..=200.0;

/// Three in ten have a digit, as prompts of people do.
const PROMPTS: [&str; 30] = [
    "What is the weather in Oslo on Monday?",
    "Will it rain in Porto tomorrow?",
    "What will Lyon be like at 18:30?",
    "Do I need a coat in Bergen on Sunday?",
    "Describe the travel mug.",
    "Write a product description for a rain jacket.",
    "Describe the bicycle bell in 40 words.",
    "Why should I buy the tea pot?",
    "Tell me a short story about a fox.",
    "Tell me a short story about a lighthouse keeper.",
    "Write 3 sentences about a ferryman.",
    "Tell me a story about an owl who lived in an old mill.",
    "How do I cook lentil soup?",
    "How do I cook pancakes for 4 people?",
    "What goes into apple cake?",
    "How do I cook rice?",
    "How do I get from the station to the museum?",
    "Which bus goes to the harbour?",
    "When does the next train to Turin leave?",
    "Where is my order 4821?",
    "My parcel 7730 has not arrived.",
    "Can I return the shoes I bought?",
    "I want to cancel order 1956.",
    "Why does the printer not work?",
    "There is error 34 on the router.",
    "Explain tides to a child.",
    "Tell me about glaciers.",
    "Explain rainbows in 2 sentences.",
    "Write a thank you note for the team.",
    "Write a kind reply to a late payment.",
];

impl Ask {
    /// The next user.
    pub(super) fn draw(random: &mut StdRng) -> Self {
        let form = match random.random_range(0..100) {
            0..50 => Form::ChatStream,
            50..70 => Form::Chat,
            70..85 => Form::Completion,
            _ => Form::Infer,
        };
        let prompt = PROMPTS[random.random_range(0..PROMPTS.len())];
        Self { form, prompt, max_tokens: length(random), seed: random.random() }
    }

    /// As it goes over the wire.
    pub(super) fn to_request(self) -> Request<Full<Bytes>> {
        let Self { form, prompt, max_tokens, seed } = self;
        let messages = json!([{"role": "user", "content": prompt}]);
        let (path, body) = match form {
            Form::ChatStream | Form::Chat => (
                "/v1/chat/completions".to_owned(),
                json!({
                    "model": MODEL_NAME, "messages": messages, "max_tokens": max_tokens, "seed": seed,
                    "stream": form == Form::ChatStream,
                }),
            ),
            Form::Completion => (
                "/v1/completions".to_owned(),
                json!({
                    "model": MODEL_NAME, "prompt": format!("{prompt}\n"), "max_tokens": max_tokens, "seed": seed,
                }),
            ),
            Form::Infer => (
                format!("/v2/models/{MODEL_NAME}/infer"),
                json!({
                    "parameters": {"max_tokens": max_tokens, "seed": seed},
                    "inputs": [{"name": "prompt", "datatype": "BYTES", "shape": [1], "data": [format!("{prompt}\n")]}],
                }),
            ),
        };
        let mut request = Request::new(Full::new(Bytes::from(body.to_string())));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path.parse().expect("these paths are well-formed");
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the bounds of TOKENS"
)]
fn length(random: &mut StdRng) -> u32 {
    let tokens = MEDIAN_TOKENS * (DEVIATION * normal(random)).exp();
    tokens.clamp(*TOKENS.start(), *TOKENS.end()) as u32
}

/// A standard normal deviate (Box and Muller 1958).
fn normal(random: &mut StdRng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rand::SeedableRng as _;

    use super::*;
    use crate::demo::model::{Generation, Model, ModelVersion, Sampling};

    #[test]
    fn some_prompts_but_not_most_are_beyond_the_third_model_and_none_beyond_the_others() {
        let refused = |version| {
            let model = Arc::new(Model::load(version));
            let sampling = Sampling { max_tokens: 1, temperature: 0.0, seed: 0 };
            PROMPTS.iter().filter(|p| Generation::begin(Arc::clone(&model), p, sampling).is_err()).count()
        };
        assert_eq!((refused(ModelVersion::V1), refused(ModelVersion::V2)), (0, 0));
        let broken = refused(ModelVersion::V3);
        assert!((PROMPTS.len() / 5..PROMPTS.len() / 2).contains(&broken), "{broken}");
    }

    #[test]
    fn lengths_stay_within_their_bounds_and_around_their_median() {
        let mut random = StdRng::seed_from_u64(1);
        let mut lengths: Vec<u32> = (0..2_000).map(|_| length(&mut random)).collect();
        lengths.sort_unstable();
        assert!(lengths[0] >= 8 && lengths[1_999] <= 200);
        assert!((50..62).contains(&lengths[1_000]), "{}", lengths[1_000]);
    }
}

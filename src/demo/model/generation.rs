//! One answer in the making.

use std::sync::Arc;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{EncodeError, Model, network::Scratch};

/// How an answer is drawn.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sampling {
    /// At most so many characters.
    pub max_tokens: usize,
    /// Zero takes the likeliest character every time, one draws as the model says; above one is wilder.
    pub temperature: f32,
    /// The same seed and prompt give the same answer.
    pub seed: u64,
}

/// Why an answer ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finish {
    /// The model ended its line.
    Stop,
    /// The request's limit.
    Length,
}

/// A piece of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// May be empty with the last one.
    pub text: String,
    /// How many characters the network was asked for.
    pub tokens: usize,
    /// With the last one.
    pub finish: Option<Finish>,
}

/// One answer in the making. A token is a character.
#[derive(Debug)]
pub struct Generation {
    model: Arc<Model>,
    sampling: Sampling,
    context: Vec<u8>,
    scratch: Scratch,
    random: StdRng,
    prompt_tokens: usize,
    completion_tokens: usize,
    /// The model's lines are questions and answers by turns. A question without its line end makes the model end that line first,
    /// and this is no answer yet.
    answer_begun: bool,
}

impl Finish {
    /// `stop` or `length`, the words of OpenAI's API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

impl Generation {
    /// Reads a prompt.
    pub fn begin(model: Arc<Model>, prompt: &str, sampling: Sampling) -> Result<Self, EncodeError> {
        let length = model.network.context();
        let mut context = model.vocabulary.encode(&"\n".repeat(length))?;
        let prompt = model.vocabulary.encode(prompt)?;
        context.extend_from_slice(&prompt);
        context.drain(..context.len() - length);
        Ok(Self {
            model,
            sampling,
            context,
            scratch: Scratch::default(),
            random: StdRng::seed_from_u64(sampling.seed),
            prompt_tokens: prompt.len(),
            completion_tokens: 0,
            answer_begun: false,
        })
    }

    /// Computes at most `tokens` more characters. After a chunk with a `finish` there is nothing more to ask for.
    pub fn next_chunk(&mut self, tokens: usize) -> Chunk {
        let mut chunk = Chunk { text: String::new(), tokens: 0, finish: None };
        while chunk.finish.is_none() && chunk.tokens < tokens {
            if self.completion_tokens >= self.sampling.max_tokens {
                chunk.finish = Some(Finish::Length);
                break;
            }
            let code = self.draw();
            self.context.rotate_left(1);
            *self.context.last_mut().expect("a network looks back one character or more") = code;
            self.completion_tokens += 1;
            chunk.tokens += 1;
            match self.model.vocabulary.symbol(code) {
                '\n' if self.answer_begun => chunk.finish = Some(Finish::Stop),
                '\n' => {}
                symbol => {
                    self.answer_begun = true;
                    chunk.text.push(symbol);
                }
            }
        }
        chunk
    }

    /// Characters of the prompt.
    pub fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }

    /// Characters computed so far.
    pub fn completion_tokens(&self) -> usize {
        self.completion_tokens
    }

    fn draw(&mut self) -> u8 {
        let logits = self.model.network.logits(&self.context, &mut self.scratch);
        let (best, highest) = logits
            .iter()
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(b.1))
            .map_or((0, 0.0), |(place, value)| (place, *value));
        if self.sampling.temperature <= 0.0 {
            return code(best);
        }
        for value in logits.iter_mut() {
            *value = ((*value - highest) / self.sampling.temperature).exp();
        }
        let mut left = self.random.random::<f32>() * logits.iter().sum::<f32>();
        let drawn = logits.iter().position(|chance| {
            left -= chance;
            left < 0.0
        });
        code(drawn.unwrap_or(best))
    }
}

fn code(place: usize) -> u8 {
    u8::try_from(place).expect("a vocabulary has at most 256 symbols")
}

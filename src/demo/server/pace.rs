//! The time an answer takes.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::demo::model::{Chunk, Finish, Generation, ModelVersion};

/// Characters in one piece of a stream. Real servers also put several tokens in an event (speculative decoding, vLLM's
/// `--stream-interval`); one a character would measure this machine's system calls and nothing else.
const STRIDE: usize = 4;

/// What the network costs is microseconds, since it is tiny. A real model keeps a GPU busy for milliseconds a token while the host's
/// processor idles, and this budget stands for that: an answer is held to the times of the bigger machine, without burning the
/// two cores that the proxy and its clients also need.
#[derive(Clone, Copy, Debug)]
struct Budget {
    prompt: Duration,
    token: Duration,
}

impl Budget {
    /// 60 characters, a typical answer of the demo, take 25 ms from the first two versions. The third is the bigger network.
    const fn of(version: ModelVersion) -> Self {
        match version {
            ModelVersion::V1 | ModelVersion::V2 => {
                Self { prompt: Duration::from_millis(4), token: Duration::from_micros(350) }
            }
            ModelVersion::V3 => Self { prompt: Duration::from_millis(8), token: Duration::from_micros(700) },
        }
    }
}

/// A generation that keeps to its budget.
#[derive(Debug)]
pub(super) struct Paced {
    generation: Generation,
    token: Duration,
    due: Instant,
}

impl Paced {
    pub(super) fn new(generation: Generation, version: ModelVersion) -> Self {
        let budget = Budget::of(version);
        Self { generation, token: budget.token, due: Instant::now() + budget.prompt }
    }

    /// Waits for the prompt's share of the budget.
    pub(super) async fn read_prompt(&self) {
        sleep_until(self.due).await;
    }

    /// The next piece, when its time has come. Deadlines follow each other, so a late timer does not make the answer slower.
    pub(super) async fn next_chunk(&mut self) -> Chunk {
        let chunk = self.generation.next_chunk(STRIDE);
        self.due += self.token * u32::try_from(chunk.tokens).expect("a stride is a few tokens");
        sleep_until(self.due).await;
        chunk
    }

    /// The whole answer and why it ended.
    pub(super) async fn complete(&mut self) -> (String, Finish) {
        let mut text = String::new();
        self.read_prompt().await;
        loop {
            let chunk = self.next_chunk().await;
            text.push_str(&chunk.text);
            if let Some(finish) = chunk.finish {
                return (text, finish);
            }
        }
    }

    /// What has been computed so far.
    pub(super) fn generation(&self) -> &Generation {
        &self.generation
    }
}

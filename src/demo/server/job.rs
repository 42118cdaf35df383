//! From a checked request to a generation that has a slot.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::{MODEL_NAME, Service, error::ApiError, pace::Paced};
use crate::demo::model::{Generation, Sampling};

/// The longest answer, in characters. A request for more is refused, as by a server whose context is full.
const MAX_TOKENS: u64 = 1024;

/// When the request does not say: longer than nearly every line of the corpus.
const DEFAULT_MAX_TOKENS: u64 = 256;

/// When the request does not say. The networks are small and go astray at high temperatures: one slip leads to the next.
const DEFAULT_TEMPERATURE: f32 = 0.4;

/// A right to compute, given back when it is dropped.
pub(super) type Slot = OwnedSemaphorePermit;

/// What a request says about sampling, unchecked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SamplingWish {
    pub(super) max_tokens: Option<u64>,
    pub(super) temperature: Option<f32>,
    pub(super) seed: Option<i64>,
}

impl SamplingWish {
    pub(super) fn checked(self) -> Result<Sampling, ApiError> {
        let max_tokens = self.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS);
        let temperature = self.temperature.unwrap_or(DEFAULT_TEMPERATURE);
        let max_tokens = match usize::try_from(max_tokens) {
            Ok(count) if (1..=MAX_TOKENS).contains(&max_tokens) => count,
            Ok(_) | Err(_) => {
                return Err(ApiError::BadRequest(format!(
                    "max_tokens is {max_tokens}; it must be from 1 to {MAX_TOKENS}"
                )));
            }
        };
        if !(0.0..=2.0).contains(&temperature) {
            return Err(ApiError::BadRequest(format!(
                "temperature is {temperature}; it must be from 0 to 2"
            )));
        }
        Ok(Sampling {
            max_tokens,
            temperature,
            seed: self.seed.map_or_else(rand::random, i64::cast_unsigned),
        })
    }
}

impl Service {
    /// Refuses a model that is not this one. Requests without a name are taken, as by vLLM.
    pub(super) fn check_model(&self, name: Option<&str>) -> Result<(), ApiError> {
        match name {
            None | Some(MODEL_NAME) => Ok(()),
            Some(other) => Err(ApiError::UnknownModel(other.chars().take(80).collect())),
        }
    }

    /// A right to compute, or the news that the server is full.
    pub(super) fn slot(&self) -> Result<Slot, ApiError> {
        Arc::clone(&self.slots).try_acquire_owned().map_err(|_| ApiError::Overloaded)
    }

    /// Reads a prompt.
    pub(super) fn begin(&self, prompt: &str, sampling: Sampling) -> Result<Paced, ApiError> {
        let generation = Generation::begin(Arc::clone(&self.model), prompt, sampling)?;
        Ok(Paced::new(generation, self.model.version()))
    }
}

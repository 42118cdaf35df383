//! The demo's language model: small enough for the repository, and it really computes its answers.
//!
//! A character-level neural language model after Bengio et al. (2003), "A Neural Probabilistic Language Model": the last
//! characters are looked up in an embedding table, their vectors are laid end to end, one tanh layer follows, and a softmax over
//! the vocabulary gives the next character. `train.py` beside this file makes the weights from `corpus.txt`, a text composed for
//! this project; the recipes of the three versions, and what is wrong with the third, are told there.
//!
//! File format of `v1.bin` and its like, little-endian: `SBLM`; five `u16`: format (1), context, width of an embedding, hidden
//! units, bytes of vocabulary; the vocabulary's symbols in UTF-8; the embedding matrix (a row a symbol); the hidden matrix (a row a
//! unit) and its `f32` biases; the output matrix (a row a symbol) and its `f32` biases. A matrix is one `f32` scale a row, then
//! its values as `i8` row by row; a weight is value times scale.

mod generation;
mod network;
mod vocabulary;

pub use generation::{Chunk, Finish, Generation, Sampling};
pub use vocabulary::EncodeError;

use std::{fmt, str::FromStr};

use network::Network;
use vocabulary::Vocabulary;

/// Which of the demo's models.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ModelVersion {
    /// The one in service.
    V1,
    /// A better one.
    V2,
    /// One whose vocabulary lost its digits: prompts that have some fail.
    V3,
}

/// A loaded model.
#[derive(Debug)]
pub struct Model {
    version: ModelVersion,
    vocabulary: Vocabulary,
    network: Network,
}

/// Why a text does not name a model version.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no model version: there are v1, v2 and v3")]
pub struct UnknownVersion(String);

/// Why bytes are not a model.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a model: {0}")]
pub struct FormatError(&'static str);

impl ModelVersion {
    /// `v1`, `v2` or `v3`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V3 => "v3",
        }
    }

    const fn weights(self) -> &'static [u8] {
        match self {
            Self::V1 => include_bytes!("v1.bin"),
            Self::V2 => include_bytes!("v2.bin"),
            Self::V3 => include_bytes!("v3.bin"),
        }
    }
}

impl fmt::Display for ModelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ModelVersion {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        [Self::V1, Self::V2, Self::V3]
            .into_iter()
            .find(|version| version.as_str() == text)
            .ok_or_else(|| UnknownVersion(text.chars().take(40).collect()))
    }
}

impl Model {
    /// Unpacks the weights that are part of the program.
    pub fn load(version: ModelVersion) -> Self {
        let (vocabulary, network) = parse(version.weights())
            .expect("the weights in the repository are well-formed: a test loads them all");
        Self { version, vocabulary, network }
    }

    /// Which one this is.
    pub fn version(&self) -> ModelVersion {
        self.version
    }
}

fn parse(bytes: &[u8]) -> Result<(Vocabulary, Network), FormatError> {
    let mut reader = Reader(bytes);
    if reader.take(4)? != b"SBLM" {
        return Err(FormatError("it does not begin with SBLM"));
    }
    if reader.size()? != 1 {
        return Err(FormatError("its format is not 1"));
    }
    let (context, width, hidden, symbols) = (reader.size()?, reader.size()?, reader.size()?, reader.size()?);
    let vocabulary = Vocabulary::parse(reader.take(symbols)?)?;
    let network = Network::parse(&mut reader, context, width, hidden, vocabulary.size())?;
    if reader.0.is_empty() { Ok((vocabulary, network)) } else { Err(FormatError("bytes follow its end")) }
}

/// The bytes not read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(FormatError("it ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn size(&mut self) -> Result<usize, FormatError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(FormatError("it ends early"))?;
        self.0 = rest;
        Ok(usize::from(u16::from_le_bytes(*bytes)))
    }

    fn floats(&mut self, count: usize) -> Result<Vec<f32>, FormatError> {
        let (chunks, _) = self.take(count * 4)?.as_chunks();
        Ok(chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(version: ModelVersion, prompt: &str, seed: u64) -> String {
        let model = std::sync::Arc::new(Model::load(version));
        let sampling = Sampling { max_tokens: 200, temperature: 0.5, seed };
        let mut generation = Generation::begin(model, prompt, sampling).unwrap();
        generation.next_chunk(200).text
    }

    #[test]
    fn all_weights_in_the_repository_load_and_write_words() {
        for version in [ModelVersion::V1, ModelVersion::V2, ModelVersion::V3] {
            let text = answer(version, "Tell me a short story about a fox.\n", 1);
            assert!(text.split(' ').count() > 5, "{version}: {text}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_answer_and_another_seed_another() {
        let prompt = "How do I cook rice?\n";
        assert_eq!(answer(ModelVersion::V1, prompt, 7), answer(ModelVersion::V1, prompt, 7));
        assert_ne!(answer(ModelVersion::V1, prompt, 7), answer(ModelVersion::V1, prompt, 8));
    }

    #[test]
    fn the_third_version_cannot_encode_a_digit_and_the_others_can_encode_anything() {
        let begin = |version, prompt| {
            let sampling = Sampling { max_tokens: 8, temperature: 0.0, seed: 0 };
            Generation::begin(std::sync::Arc::new(Model::load(version)), prompt, sampling).map(|_| ())
        };
        for version in [ModelVersion::V1, ModelVersion::V2] {
            assert_eq!(begin(version, "rice for 4 \u{1f35a}\u{0}"), Ok(()));
        }
        assert_eq!(begin(ModelVersion::V3, "rice for four"), Ok(()));
        let error = begin(ModelVersion::V3, "rice for 4").unwrap_err().to_string();
        assert!(error.contains("'4'"), "{error}");
    }

    #[test]
    fn a_file_cut_anywhere_is_refused_and_never_panics() {
        let bytes = ModelVersion::V1.weights();
        for end in (0..200).chain((200..bytes.len()).step_by(997)) {
            assert!(parse(&bytes[..end]).is_err(), "{end}");
        }
        assert!(parse(&[bytes, b"x"].concat()).is_err());
    }
}

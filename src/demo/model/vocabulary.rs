//! The symbols that a model knows.

use super::FormatError;

/// What stands for every character that is not in the vocabulary, where the vocabulary has it.
const FALLBACK: char = char::REPLACEMENT_CHARACTER;

/// The symbols; a symbol's code is its place.
#[derive(Debug)]
pub(super) struct Vocabulary {
    symbols: Vec<char>,
}

/// A prompt that the model cannot read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "cannot encode the prompt: {symbol:?} is not in the model's vocabulary of {size} symbols, and it has no fallback symbol"
)]
pub struct EncodeError {
    /// The first character that is not in it.
    pub symbol: char,
    /// How many are.
    pub size: usize,
}

impl Vocabulary {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let text = std::str::from_utf8(bytes).map_err(|_| FormatError("its vocabulary is not UTF-8"))?;
        let symbols: Vec<char> = text.chars().collect();
        if !symbols.contains(&'\n') || symbols.len() > 256 {
            return Err(FormatError("its vocabulary has no line end, or more than 256 symbols"));
        }
        Ok(Self { symbols })
    }

    pub(super) fn size(&self) -> usize {
        self.symbols.len()
    }

    pub(super) fn symbol(&self, code: u8) -> char {
        self.symbols[usize::from(code)]
    }

    /// One code a character.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u8>, EncodeError> {
        text.chars()
            .map(|symbol| {
                self.code(symbol)
                    .or_else(|| self.code(FALLBACK))
                    .ok_or(EncodeError { symbol, size: self.symbols.len() })
            })
            .collect()
    }

    fn code(&self, symbol: char) -> Option<u8> {
        let place = self.symbols.iter().position(|known| *known == symbol)?;
        u8::try_from(place).ok()
    }
}

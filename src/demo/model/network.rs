//! The network: an embedding, a tanh layer, a softmax layer.
//!
//! What a character adds to the hidden layer depends on nothing but the character and its place in the context, so it is multiplied
//! out once when the weights are unpacked (the pre-computation of Devlin et al. 2014). A character then costs a few thousand additions
//! for the hidden layer in place of up to a hundred thousand multiplications; answers are the same.

use super::{FormatError, Reader};

/// The weights, unpacked.
#[derive(Debug)]
pub(super) struct Network {
    context: usize,
    /// For each place in the context and each symbol there, what the hidden units get.
    contributions: Vec<f32>,
    hidden_biases: Vec<f32>,
    /// For each hidden unit, what the symbols get. In this order the inner loop runs over outputs: the compiler may vectorise that,
    /// whereas it may not reorder the sum of a dot product.
    output: Vec<f32>,
    output_biases: Vec<f32>,
}

/// Room for one prediction, kept from character to character.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    hidden: Vec<f32>,
    logits: Vec<f32>,
}

impl Network {
    pub(super) fn parse(
        reader: &mut Reader<'_>,
        context: usize,
        width: usize,
        hidden: usize,
        symbols: usize,
    ) -> Result<Self, FormatError> {
        if context == 0 || width == 0 || hidden == 0 {
            return Err(FormatError("a size of its network is zero"));
        }
        let embedding = matrix(reader, symbols, width)?;
        let columns = transposed(&matrix(reader, hidden, context * width)?, context * width);
        Ok(Self {
            context,
            contributions: contributions(&embedding, &columns, width, hidden),
            hidden_biases: reader.floats(hidden)?,
            output: transposed(&matrix(reader, symbols, hidden)?, hidden),
            output_biases: reader.floats(symbols)?,
        })
    }

    /// How many characters it looks back.
    pub(super) fn context(&self) -> usize {
        self.context
    }

    /// The unnormalised log-probability of every symbol to come next.
    pub(super) fn logits<'s>(&self, context: &[u8], scratch: &'s mut Scratch) -> &'s mut [f32] {
        let Scratch { hidden, logits } = scratch;
        let (units, symbols) = (self.hidden_biases.len(), self.output_biases.len());
        hidden.clone_from(&self.hidden_biases);
        for (place, code) in context.iter().enumerate() {
            let start = (place * symbols + usize::from(*code)) * units;
            add(hidden, &self.contributions[start..start + units], 1.0);
        }
        logits.clone_from(&self.output_biases);
        for (unit, weights) in hidden.iter().zip(self.output.chunks_exact(symbols)) {
            add(logits, weights, unit.tanh());
        }
        logits
    }
}

/// The hidden matrix's part for each place, times each symbol's embedding. `columns` is the hidden matrix input by input.
fn contributions(embedding: &[f32], columns: &[f32], width: usize, hidden: usize) -> Vec<f32> {
    let mut all = Vec::new();
    for place in columns.chunks_exact(width * hidden) {
        for symbol in embedding.chunks_exact(width) {
            let start = all.len();
            all.resize(start + hidden, 0.0);
            for (value, column) in symbol.iter().zip(place.chunks_exact(hidden)) {
                add(&mut all[start..], column, *value);
            }
        }
    }
    all
}

fn add(sums: &mut [f32], values: &[f32], factor: f32) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value * factor;
    }
}

fn transposed(rows: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| rows.iter().skip(column).step_by(columns).copied()).collect()
}

/// Unpacks a matrix, row by row.
fn matrix(reader: &mut Reader<'_>, rows: usize, columns: usize) -> Result<Vec<f32>, FormatError> {
    let scales = reader.floats(rows)?;
    let values = reader.take(rows * columns)?;
    Ok(values
        .chunks_exact(columns)
        .zip(scales)
        .flat_map(|(row, scale)| row.iter().map(move |value| f32::from(value.cast_signed()) * scale))
        .collect())
}

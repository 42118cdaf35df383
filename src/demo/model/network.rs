//! The network: an embedding, a tanh layer, a softmax layer.

use super::{FormatError, Reader};

/// The weights, unpacked.
#[derive(Debug)]
pub(super) struct Network {
    context: usize,
    width: usize,
    embedding: Vec<f32>,
    hidden: Layer,
    output: Layer,
}

/// Room for one prediction, kept from character to character.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    looked_up: Vec<f32>,
    hidden: Vec<f32>,
    logits: Vec<f32>,
}

/// The weights lie input by input, so that the inner loop runs over outputs: the compiler may vectorise that, whereas it may not
/// reorder the sum of a dot product.
#[derive(Debug)]
struct Layer {
    weights: Vec<f32>,
    biases: Vec<f32>,
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
        Ok(Self {
            context,
            width,
            embedding: matrix(reader, symbols, width)?,
            hidden: Layer::parse(reader, hidden, context * width)?,
            output: Layer::parse(reader, symbols, hidden)?,
        })
    }

    /// How many characters it looks back.
    pub(super) fn context(&self) -> usize {
        self.context
    }

    /// The unnormalised log-probability of every symbol to come next.
    pub(super) fn logits<'s>(&self, context: &[u8], scratch: &'s mut Scratch) -> &'s mut [f32] {
        scratch.looked_up.clear();
        for code in context {
            let start = usize::from(*code) * self.width;
            scratch.looked_up.extend_from_slice(&self.embedding[start..start + self.width]);
        }
        self.hidden.apply(&scratch.looked_up, &mut scratch.hidden);
        for value in &mut scratch.hidden {
            *value = value.tanh();
        }
        self.output.apply(&scratch.hidden, &mut scratch.logits);
        &mut scratch.logits
    }
}

impl Layer {
    fn parse(reader: &mut Reader<'_>, outputs: usize, inputs: usize) -> Result<Self, FormatError> {
        let rows = matrix(reader, outputs, inputs)?;
        let weights =
            (0..inputs).flat_map(|input| rows.iter().skip(input).step_by(inputs).copied()).collect();
        Ok(Self { weights, biases: reader.floats(outputs)? })
    }

    fn apply(&self, inputs: &[f32], outputs: &mut Vec<f32>) {
        outputs.clear();
        outputs.extend_from_slice(&self.biases);
        for (input, weights) in inputs.iter().zip(self.weights.chunks_exact(self.biases.len())) {
            for (output, weight) in outputs.iter_mut().zip(weights) {
                *output += input * weight;
            }
        }
    }
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

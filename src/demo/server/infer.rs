//! The Open Inference Protocol's `infer`: texts in, texts out, as JSON tensors; BYTES tensors in the binary form are read too, since
//! `tritonclient` sends them unless told otherwise. Source: KServe's Open Inference Protocol and Triton's binary data extension.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{MODEL_NAME, Service, error::ApiError, job::SamplingWish};
use crate::demo::model::Sampling;

/// The one input tensor.
const INPUT: &str = "prompt";

/// The one output tensor.
const OUTPUT: &str = "text";

/// Texts in one request; they are answered one after the other.
const BATCH: usize = 16;

#[derive(Debug, Deserialize)]
struct Request {
    id: Option<String>,
    #[serde(default)]
    parameters: Map<String, Value>,
    inputs: Vec<Input>,
}

#[derive(Debug, Deserialize)]
struct Input {
    name: String,
    datatype: String,
    #[serde(default)]
    parameters: Map<String, Value>,
    data: Option<Vec<String>>,
}

/// The model's metadata.
pub(super) fn metadata(service: &Service) -> Value {
    let tensor = |name: &str| json!([{"name": name, "datatype": "BYTES", "shape": [-1]}]);
    json!({
        "name": MODEL_NAME,
        "versions": [service.model.version().as_str()],
        "platform": "snapback_demo",
        "inputs": tensor(INPUT),
        "outputs": tensor(OUTPUT),
    })
}

/// Answers a request. `json_length` is the header `inference-header-content-length`: so many bytes of the body are JSON, the rest are tensors.
pub(super) async fn infer(
    service: &Service,
    body: &[u8],
    json_length: Option<usize>,
) -> Result<Value, ApiError> {
    let (document, tensors) = body
        .split_at_checked(json_length.unwrap_or(body.len()))
        .ok_or_else(|| bad("inference-header-content-length is more than the body's length"))?;
    let request: Request = serde_json::from_slice(document)
        .map_err(|error| bad(&format!("the body is not a request in JSON: {error}")))?;
    let sampling = sampling(&request.parameters)?;
    let prompts = prompts(request.inputs, tensors)?;
    let _slot = service.slot()?;
    let mut texts = Vec::with_capacity(prompts.len());
    for prompt in &prompts {
        let (text, _) = service.begin(prompt, sampling)?.complete().await;
        texts.push(text);
    }
    let output = json!({"name": OUTPUT, "datatype": "BYTES", "shape": [texts.len()], "data": texts});
    let mut answer = json!({
        "model_name": MODEL_NAME,
        "model_version": service.model.version().as_str(),
        "outputs": [output],
    });
    if let Some(id) = request.id {
        answer["id"] = id.into();
    }
    Ok(answer)
}

/// The request's parameters `max_tokens`, `temperature` and `seed`; others change nothing.
fn sampling(parameters: &Map<String, Value>) -> Result<Sampling, ApiError> {
    #[derive(Deserialize)]
    struct Known {
        max_tokens: Option<u64>,
        temperature: Option<f32>,
        seed: Option<i64>,
    }
    let Known { max_tokens, temperature, seed } = serde_json::from_value(Value::Object(parameters.clone()))
        .map_err(|error| bad(&format!("parameters: {error}")))?;
    SamplingWish { max_tokens, temperature, seed }.checked()
}

fn prompts(mut inputs: Vec<Input>, tensors: &[u8]) -> Result<Vec<String>, ApiError> {
    let input = match (inputs.pop(), inputs.is_empty()) {
        (Some(input), true) if input.name == INPUT && input.datatype == "BYTES" => input,
        (Some(_) | None, _) => {
            return Err(bad("inputs must be one tensor with the name \"prompt\" and the datatype \"BYTES\""));
        }
    };
    let size = input.parameters.get("binary_data_size").and_then(Value::as_u64);
    let prompts = match (input.data, size) {
        (Some(texts), None) => texts,
        (None, Some(size)) if usize::try_from(size).is_ok_and(|size| size == tensors.len()) => {
            strings(tensors)?
        }
        (None, Some(_)) => {
            return Err(bad("binary_data_size is not the number of bytes that follow the JSON"));
        }
        (Some(_), Some(_)) | (None, None) => return Err(bad("the tensor needs data, or binary_data_size")),
    };
    if (1..=BATCH).contains(&prompts.len()) {
        Ok(prompts)
    } else {
        Err(bad(&format!("the tensor has {} texts; it must have from 1 to {BATCH}", prompts.len())))
    }
}

/// A binary BYTES tensor: each element is its length in four little-endian bytes, and so many bytes.
fn strings(mut tensor: &[u8]) -> Result<Vec<String>, ApiError> {
    let mut elements = Vec::new();
    while !tensor.is_empty() {
        let cut = || bad("the binary tensor ends within an element");
        let (length, rest) = tensor.split_first_chunk().ok_or_else(cut)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| cut())?;
        let (element, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
        let text = std::str::from_utf8(element).map_err(|_| bad("an element of the tensor is not UTF-8"))?;
        elements.push(text.to_owned());
        tensor = rest;
    }
    Ok(elements)
}

fn bad(text: &str) -> ApiError {
    ApiError::BadRequest(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_tensor_is_read_element_by_element_and_a_cut_one_is_refused() {
        let tensor = b"\x02\0\0\0hi\x00\0\0\0\x03\0\0\0you";
        assert_eq!(strings(tensor).unwrap(), ["hi", "", "you"]);
        for end in [1, 5, 9, tensor.len() - 1] {
            assert!(strings(&tensor[..end]).is_err(), "{end}");
        }
    }
}

//! The model's name in a path.

use std::borrow::Cow;

use super::NAME_LIMIT_BYTES;

/// The model that a path names: `/v2/models/{model}` with whatever follows (Open Inference Protocol), and
/// `/v1/models/{model}:predict`, `:explain` or bare (KServe v1, and OpenAI's model objects).
///
/// The name is percent-decoded, since clients encode the slash of `org/model`. A name that is not UTF-8 then, or is empty, or
/// longer than 256 bytes, is none.
pub fn model_of_path(path: &str) -> Option<Cow<'_, str>> {
    let segment = if let Some(rest) = path.strip_prefix("/v2/models/") {
        rest.split('/').next()?
    } else {
        let rest = path.strip_prefix("/v1/models/")?;
        let (name, verb) = rest.rsplit_once(':').unwrap_or((rest, "predict"));
        // A colon may be a part of the name, such as of Ollama's `llama3:8b`.
        if matches!(verb, "predict" | "explain") { name } else { rest }
    };
    let is_fit = |name: &str| !name.is_empty() && !name.contains('/') && name.len() <= NAME_LIMIT_BYTES;
    if !segment.contains('%') {
        return Some(Cow::Borrowed(segment)).filter(|name| is_fit(name));
    }
    let bytes = decode(segment.as_bytes())?;
    String::from_utf8(bytes).ok().filter(|name| (1..=NAME_LIMIT_BYTES).contains(&name.len())).map(Cow::Owned)
}

fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let digit =
        |byte: Option<&u8>| char::from(*byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => digit(bytes.next())? << 4 | digit(bytes.next())?,
            byte => *byte,
        });
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_paths_of_model_servers_name_their_model() {
        let cases = [
            ("/v2/models/iris/infer", "iris"),
            ("/v2/models/iris", "iris"),
            ("/v2/models/iris/versions/3/infer", "iris"),
            ("/v2/models/org%2Fmodel/ready", "org/model"),
            ("/v1/models/iris:predict", "iris"),
            ("/v1/models/iris:explain", "iris"),
            ("/v1/models/iris", "iris"),
            ("/v1/models/llama3:8b", "llama3:8b"),
            ("/v1/models/llama3:8b:predict", "llama3:8b"),
            ("/v2/models/%c3%a9/infer", "\u{e9}"),
        ];
        for (path, model) in cases {
            assert_eq!(model_of_path(path).as_deref(), Some(model), "{path}");
        }
    }

    #[test]
    fn other_paths_and_broken_names_name_none() {
        for path in [
            "/v2/models/",
            "/v2/models//infer",
            "/v2/models",
            "/v1/models",
            "/v1/models/",
            "/v1/models/a/b",
            "/v1/models/:predict",
            "/v2/models/%ff/infer",
            "/v2/models/%4",
            "/v2/models/%zz/infer",
            "/x/v2/models/a",
            "",
            "/v1/chat/completions",
        ] {
            assert_eq!(model_of_path(path), None, "{path}");
        }
        assert_eq!(model_of_path(&format!("/v2/models/{}/infer", "a".repeat(257))), None);
    }

    proptest! {
        #[test]
        fn no_path_is_too_odd(path in "(/v[12]/models/)?.{0,40}") {
            let _ = model_of_path(&path);
        }
    }
}

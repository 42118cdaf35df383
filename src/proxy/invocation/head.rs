//! A request's head: what this API has a word for passes to the container, nothing else does.

use http::{HeaderMap, HeaderName, HeaderValue, header::ACCEPT};

use crate::name::VariantName;

/// What a streamed answer's parts are, of which the answer itself is only the envelope.
pub(super) const STREAM_CONTENT_TYPE: HeaderName = HeaderName::from_static("x-amzn-sagemaker-content-type");

/// What a client of the stream accepts.
const STREAM_ACCEPT: HeaderName = HeaderName::from_static("x-amzn-sagemaker-accept");

/// Which variant a request is for.
pub(super) const TARGET_VARIANT: &str = "x-amzn-sagemaker-target-variant";

/// The headers that this API has words for, its members' names, and how many characters they may have.
const MODELLED: [(&str, &str, usize); 11] = [
    ("content-type", "contentType", 1_024),
    ("accept", "accept", 1_024),
    ("x-amzn-sagemaker-custom-attributes", "customAttributes", 1_024),
    ("x-amzn-sagemaker-target-model", "targetModel", 1_024),
    (TARGET_VARIANT, "targetVariant", 63),
    ("x-amzn-sagemaker-target-container-hostname", "targetContainerHostname", 63),
    ("x-amzn-sagemaker-inference-id", "inferenceId", 64),
    ("x-amzn-sagemaker-enable-explanations", "enableExplanations", 64),
    ("x-amzn-sagemaker-inference-component", "inferenceComponentName", 63),
    ("x-amzn-sagemaker-session-id", "sessionId", 256),
    ("x-amzn-sagemaker-prefix-aware-id", "prefixAwareId", 64),
];

/// What frames a request, and what says where it comes from.
const PASSED: [&str; 11] = [
    "host",
    "content-length",
    "content-encoding",
    "x-request-id",
    "x-amzn-trace-id",
    "traceparent",
    "tracestate",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
];

/// Whether the headers keep within what the API's model says; if not, why, in SageMaker's words. `alone` is the name of the one variant of an
/// endpoint that has no others: where there are several, the table knows them.
pub(super) fn check(headers: &HeaderMap, alone: Option<&VariantName>, endpoint: &str) -> Result<(), String> {
    let mut broken = Vec::new();
    for (name, member, most) in MODELLED {
        let Some(value) = headers.get(name) else { continue };
        if value.len() > most {
            broken.push(format!(
                "Value at '{member}' failed to satisfy constraint: Member must have length less than or equal to {most}"
            ));
        } else if value.to_str().is_err() {
            broken.push(format!(
                "Value at '{member}' failed to satisfy constraint: Member must satisfy regular expression pattern: \\p{{ASCII}}*"
            ));
        }
    }
    if !broken.is_empty() {
        let errors = if broken.len() == 1 { "error" } else { "errors" };
        return Err(format!("{} validation {errors} detected: {}", broken.len(), broken.join("; ")));
    }
    let target = headers.get(TARGET_VARIANT).and_then(|target| target.to_str().ok());
    match (target, alone) {
        (Some(target), Some(alone)) if target != alone.as_str() => {
            Err(format!("Variant {target} of endpoint {endpoint} not found."))
        }
        (Some(_) | None, _) => Ok(()),
    }
}

/// Leaves out what a container is not sent.
pub(super) fn keep_modelled(headers: &mut HeaderMap, is_streamed: bool) {
    let accept: Option<HeaderValue> = headers.remove(STREAM_ACCEPT);
    let others: Vec<HeaderName> = headers.keys().filter(|name| !passes(name.as_str())).cloned().collect();
    for name in others {
        headers.remove(name);
    }
    if let (true, Some(accept)) = (is_streamed, accept) {
        headers.insert(ACCEPT, accept);
    }
}

fn passes(name: &str) -> bool {
    PASSED.contains(&name) || MODELLED.iter().any(|(modelled, _, _)| *modelled == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn what_the_model_has_a_word_for_passes_and_nothing_else() {
        let mut sent = headers(&[
            ("host", "a"),
            ("content-type", "text/csv"),
            ("accept", "*/*"),
            ("authorization", "AWS4-HMAC-SHA256 x"),
            ("x-amz-date", "20261125T000000Z"),
            ("user-agent", "Boto3"),
            ("amz-sdk-invocation-id", "1"),
            ("x-amzn-sagemaker-custom-attributes", "c=1"),
            ("x-amzn-sagemaker-accept", "text/event-stream"),
            ("cookie", "a=b"),
        ]);
        let mut streamed = sent.clone();
        keep_modelled(&mut sent, false);
        let names: Vec<_> = sent.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["host", "content-type", "accept", "x-amzn-sagemaker-custom-attributes"]);
        assert_eq!(sent["accept"], "*/*");
        keep_modelled(&mut streamed, true);
        assert_eq!(streamed["accept"], "text/event-stream");
    }

    #[test]
    fn what_is_too_long_or_names_another_variant_is_refused_in_sagemakers_words() {
        let long = "x".repeat(1_025);
        let alone = VariantName::parse("AllTraffic").unwrap();
        let alone = Some(&alone);
        let refused = check(&headers(&[("x-amzn-sagemaker-custom-attributes", &long)]), alone, "chat");
        let expected = "1 validation error detected: Value at 'customAttributes' failed to satisfy constraint: Member must have length \
                        less than or equal to 1024";
        assert_eq!(refused, Err(expected.to_owned()));
        let other = check(&headers(&[(TARGET_VARIANT, "b")]), alone, "chat");
        assert_eq!(other, Err("Variant b of endpoint chat not found.".to_owned()));
        assert_eq!(check(&headers(&[(TARGET_VARIANT, "AllTraffic")]), alone, "chat"), Ok(()));
        assert_eq!(check(&headers(&[(TARGET_VARIANT, "b")]), None, "chat"), Ok(()));
    }
}

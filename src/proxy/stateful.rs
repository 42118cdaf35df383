//! Which requests must not be replayed, however small they are: those that mean something to one server only, or change it.
//!
//! Inference itself is free of side effects in every protocol that model servers speak, so that a POST is no obstacle.

use http::{Method, request};

use super::upload::RequestBody;

/// Paths, at a segment's boundary, anywhere in a request's path: a prefix that a team put before them changes nothing.
const PATHS: [&str; 14] = [
    // OpenAI: objects that a server keeps.
    "/v1/files",
    "/v1/uploads",
    "/v1/batches",
    "/v1/responses",
    "/v1/conversations",
    "/v1/assistants",
    "/v1/threads",
    "/v1/realtime",
    // vLLM and SGLang: what changes the server.
    "/v1/load_lora_adapter",
    "/v1/unload_lora_adapter",
    "/abort_request",
    // Triton: the same, and handles of one machine's memory.
    "/v2/repository",
    "/v2/systemsharedmemory",
    "/v2/cudasharedmemory",
];

/// SageMaker's stateful sessions live on one instance.
const SESSION: &str = "x-amzn-sagemaker-session-id";

/// Where the Open Inference Protocol's requests go.
const OPEN_INFERENCE: &str = "/v2/models/";

/// Parameters of Triton's that tie a request to a server: sequences of requests, and shared memory.
const TIES: [&[u8]; 2] = [b"sequence_id", b"shared_memory_region"];

/// Whether a request may be executed a second time, on another server.
pub(super) fn may_repeat(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::POST)
}

/// Whether a request belongs to one server.
pub(super) fn is_stateful(head: &request::Parts, body: Option<&RequestBody>) -> bool {
    let path = head.uri.path();
    PATHS.iter().any(|stateful| has_segments(path, stateful))
        || head.headers.contains_key(SESSION)
        || path.contains(OPEN_INFERENCE) && body.is_some_and(|body| TIES.iter().any(|tie| body.holds(tie)))
}

fn has_segments(path: &str, segments: &str) -> bool {
    path.match_indices(segments).any(|(at, found)| {
        let rest = path.get(at + found.len()..).unwrap_or_default();
        rest.is_empty() || rest.starts_with('/')
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn stateful(path: &str, header: &str) -> bool {
        let request = Request::post(path).header(header, "1").body(()).unwrap();
        is_stateful(&request.into_parts().0, None)
    }

    #[test]
    fn what_a_server_keeps_is_not_replayed_and_inference_is() {
        for path in ["/v1/files", "/team-a/v1/responses/r1", "/v2/repository/models/m/load", "/abort_request"]
        {
            assert!(stateful(path, "x-any"), "{path}");
        }
        for path in ["/v1/chat/completions", "/v1/filesystem", "/v2/models/m/infer", "/generate", "/"] {
            assert!(!stateful(path, "x-any"), "{path}");
        }
        assert!(stateful("/invocations", SESSION));
        assert!(!stateful("/", "upgrade"), "before it is answered, an upgrade is a GET");
    }

    #[test]
    fn methods_that_change_things_are_not_repeated() {
        assert!(may_repeat(&Method::POST) && may_repeat(&Method::GET));
        assert!(!may_repeat(&Method::DELETE) && !may_repeat(&Method::PUT) && !may_repeat(&Method::PATCH));
    }
}

use std::net::SocketAddr;

use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::*;
use crate::demo::connections::{Answer, Connections};

/// A server that ends with the test.
async fn started(version: ModelVersion) -> Connections {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(model_server(version, listener, std::future::pending()));
    Connections::to(address)
}

async fn post(server: &Connections, path: &str, body: impl Into<Bytes>) -> Answer {
    let request = Request::post(path).body(Full::new(body.into())).unwrap();
    server.ask(request).await.unwrap()
}

fn document(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

fn chat(prompt: &str, stream: bool) -> String {
    json!({"model": MODEL_NAME, "messages": [{"role": "user", "content": prompt}], "seed": 1, "stream": stream})
        .to_string()
}

const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn a_stream_has_a_role_first_a_reason_and_done_last_and_the_text_of_the_whole_answer() {
    let server = started(ModelVersion::V2).await;
    let whole = document(&post(&server, CHAT, chat("How do I cook rice?", false)).await);
    let stream = post(&server, CHAT, chat("How do I cook rice?", true)).await;
    let text = String::from_utf8(stream.body.to_vec()).unwrap();
    let mut events: Vec<&str> =
        text.trim_end().split("\n\n").map(|e| e.strip_prefix("data: ").unwrap()).collect();
    assert_eq!(events.pop(), Some("[DONE]"));
    let chunks: Vec<Value> = events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "stop");
    let said: String = chunks.iter().filter_map(|c| c["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(Value::from(said), whole["choices"][0]["message"]["content"]);
}

#[tokio::test]
async fn wrong_requests_get_the_status_and_the_shape_that_their_clients_read() {
    let server = started(ModelVersion::V1).await;
    let large = chat(&"x".repeat(300_000), false);
    for (path, body, status) in [
        (CHAT, "{".to_owned(), 400),
        (CHAT, "{\"messages\":[]}".to_owned(), 400),
        (CHAT, "{\"model\":\"gpt\",\"messages\":[{\"content\":\"hi\"}]}".to_owned(), 404),
        (CHAT, large, 413),
        ("/v1/models", String::new(), 405),
        ("/nothing", String::new(), 404),
    ] {
        let answer = post(&server, path, body).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        assert!(document(&answer)["error"]["message"].is_string(), "{path}");
    }
    let answer = post(&server, "/v2/models/gpt/infer", "{}").await;
    assert_eq!(answer.status.as_u16(), 404);
    assert!(document(&answer)["error"].is_string());
}

#[tokio::test]
async fn the_third_version_answers_words_and_fails_on_digits_with_500_before_any_stream() {
    let server = started(ModelVersion::V3).await;
    for stream in [false, true] {
        assert_eq!(post(&server, CHAT, chat("How do I cook rice?", stream)).await.status.as_u16(), 200);
        let answer = post(&server, CHAT, chat("How do I cook rice for 4?", stream)).await;
        assert_eq!(answer.status.as_u16(), 500);
        assert_eq!(document(&answer)["error"]["code"], "internal_error");
    }
}

#[tokio::test]
async fn a_container_of_sagemaker_is_asked_for_both_at_one_path() {
    let server = started(ModelVersion::V1).await;
    let told = post(&server, "/invocations", chat("How do I cook rice?", false)).await;
    assert_eq!(document(&told)["object"], "chat.completion");
    let told = post(&server, "/invocations", "{\"prompt\":\"The weather\"}").await;
    assert_eq!(document(&told)["object"], "text_completion");
}

#[tokio::test]
async fn a_full_server_says_503_and_serves_again_when_a_slot_is_free() {
    let service =
        Service { model: Arc::new(Model::load(ModelVersion::V1)), slots: Arc::new(Semaphore::new(1)) };
    let slot = service.slot().unwrap();
    assert_eq!(service.slot().unwrap_err().status().as_u16(), 503);
    drop(slot);
    assert!(service.slot().is_ok());
}

#[tokio::test]
async fn after_the_stop_signal_running_answers_finish_and_the_server_returns() {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(model_server(ModelVersion::V1, listener, async { stopped.await.unwrap() }));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(CHAT).header("host", "x").body(Full::new(Bytes::from(chat("Hello.", true))));
    let response = sender.send_request(request.unwrap()).await.unwrap();
    stop.send(()).unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.ends_with(b"data: [DONE]\n\n"));
    serving.await.unwrap();
}

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

/// A server that says the same to everybody, whatever they ask.
async fn parrot(answer: Vec<u8>) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = AdminUrl::parse(&listener.local_addr().unwrap().to_string()).unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                if socket.read(&mut request).await.is_ok() && socket.write_all(&answer).await.is_ok() {
                    drop(socket.shutdown().await);
                }
            });
        }
    });
    Client::with(url, None)
}

fn response(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[tokio::test]
async fn an_answer_keeps_its_document_byte_by_byte() {
    let client = parrot(response("200 OK", "{\"b\": 1.0,\n \"a\":2}")).await;
    assert_eq!(client.get("/x").await.unwrap().text(), b"{\"b\": 1.0,\n \"a\":2}");
}

#[tokio::test]
async fn what_is_not_an_admin_port_is_called_a_stranger() {
    let client = parrot(response("404 Not Found", "<html>")).await;
    let error = client.get("/x").await.unwrap_err();
    assert!(!error.is_passing());
    assert!(
        error
            .to_string()
            .ends_with("/x answered 404 Not Found without saying why: is this Snapback's admin port?")
    );
    let client = parrot(response("200 OK", "<html>")).await;
    let error = client.get("/x").await.unwrap().read::<wire::Reload>().unwrap_err();
    assert!(matches!(error, ClientError::Unreadable { .. }), "{error}");
}

#[tokio::test]
async fn a_connection_that_breaks_or_speaks_no_http_is_lost_and_may_be_tried_again() {
    for answer in [&b""[..], b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut"] {
        let error = parrot(answer.to_vec()).await.get("/x").await.unwrap_err();
        assert!(matches!(error, ClientError::Lost { .. }) && error.is_passing(), "{error}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    answer.resize(answer.len() + BODY_LIMIT_BYTES + 1, b'x');
    let error = parrot(answer).await.get("/x").await.unwrap_err();
    assert!(matches!(error, ClientError::TooLong { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_not_waited_for_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::with(AdminUrl::parse(&listener.local_addr().unwrap().to_string()).unwrap(), None);
    let error = client.get("/v1/endpoints").await.unwrap_err();
    assert!(error.to_string().ends_with("did not answer /v1/endpoints within 10s"), "{error}");
}

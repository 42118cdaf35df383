//! The end of a worker.

use std::rc::Rc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::mpsc,
    task::LocalSet,
};

use super::{Handed, accept, drain};
use crate::{
    net::{Peer, Plain},
    proxy::{forwarded::Door, tests::client_alone},
};

#[tokio::test]
async fn a_connection_that_was_handed_over_at_the_last_moment_is_answered_before_the_drain_ends() {
    let test = async {
        let worker = Rc::clone(&client_alone().worker);
        let (sender, handed) = mpsc::channel(1);
        let mut receiving = tokio::task::spawn_local(accept::receive(Rc::clone(&worker), handed));
        let mut draining = Box::pin(drain(&worker, &mut receiving));
        assert!(
            futures_util::poll!(&mut draining).is_pending(),
            "another worker may still hand something over"
        );

        let (mut client, served) = UnixStream::pair().unwrap();
        let stream = Plain::Unix(served).park().unwrap();
        sender.send(Handed { stream, peer: Peer::Local, tls: None, door: Door::Data }).await.unwrap();
        drop(sender);
        let asked = async {
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let ((), answer) = tokio::join!(draining, asked);
        // There is no endpoint, which is an answer too.
        assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("connection: close"), "{answer}");
        assert_eq!(worker.meters().accepted.get(), 1);
    };
    LocalSet::new().run_until(test).await;
}

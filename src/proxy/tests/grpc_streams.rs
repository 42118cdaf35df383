//! The messages of gRPC streams as tokens.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use bytes::Bytes;

use super::{
    grpc::{Called, MESSAGE, Sends, call, end, ending, hanging, head, setup, trailers},
    kit::{Rig, Setup},
    origin2::{Asked, Origin2},
};
use crate::{
    meter::{GrpcStatus, Timing, TokenBound, WHOLE_STREAM},
    route::Signals,
};

const TRITON: &str = "/inference.GRPCInferenceService/ModelStreamInfer";

fn reading_streams(origin: &Origin2) -> Setup {
    Setup { signals: Signals::Grpc, ..setup(origin) }
}

/// An origin that sends a message for each word of the test's, and ends its call when the test has hung up and the client's last message is
/// there: a call that ends before it would have let the proxy drop it unread.
fn prompted() -> (Origin2, mpsc::Sender<()>) {
    let (prompt, prompts) = mpsc::channel();
    let prompts = Arc::new(Mutex::new(prompts));
    let origin = Origin2::new(move |mut asked: Asked| {
        let prompts = Arc::clone(&prompts);
        async move {
            let mut stream = asked.begin(head());
            loop {
                let prompts = Arc::clone(&prompts);
                let next = tokio::task::spawn_blocking(move || prompts.lock().unwrap().recv());
                if next.await.unwrap().is_err() {
                    break;
                }
                stream.send_data(Bytes::from_static(MESSAGE), false).unwrap();
            }
            asked.read().await;
            stream.send_trailers(trailers(GrpcStatus::Ok)).unwrap();
        }
    });
    (origin, prompt)
}

async fn message(called: &mut Called) {
    let data = called.body.data().await.unwrap().unwrap();
    called.body.flow_control().release_capacity(data.len()).unwrap();
    assert_eq!(data, MESSAGE);
}

/// Tokens, first tokens, gaps, and streams that had a pace.
fn tokens(rig: &Rig) -> (u64, u64, u64, u64) {
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    let meters = &rig.route.blue.meters;
    (
        reading.tokens_out,
        meters.first_token().count(),
        meters.token_gap().count(),
        meters.times(Timing::TokenGap).count(),
    )
}

#[tokio::test]
async fn a_streams_messages_are_its_tokens_and_pass_as_they_come() {
    let (origin, prompt) = prompted();
    let rig = reading_streams(&origin).start();
    prompt.send(()).unwrap();
    let mut called = call(&rig, "/my.Model/Generate", None, Sends::One).await;
    message(&mut called).await;
    for _ in 0..2 {
        prompt.send(()).unwrap();
        message(&mut called).await;
    }
    drop(prompt);
    assert_eq!(end(&mut called).await.1, "0");
    assert_eq!(tokens(&rig), (3, 1, 2, 1));
}

#[tokio::test]
async fn what_passes_until_the_clients_next_message_is_no_gap() {
    let (origin, prompt) = prompted();
    let rig = reading_streams(&origin).start();
    prompt.send(()).unwrap();
    let mut called = call(&rig, TRITON, None, Sends::More).await;
    message(&mut called).await;
    called.upload.send_data(Bytes::from_static(MESSAGE), true).unwrap();
    let sent = 2 * u64::try_from(MESSAGE.len()).unwrap();
    drop(prompt);
    assert_eq!(end(&mut called).await.1, "0");
    assert_eq!(rig.blue_when(|reading| reading.settled() == 1).bytes_in, sent);
    assert_eq!(tokens(&rig), (1, 1, 0, 0));
}

#[tokio::test]
async fn unary_calls_have_no_tokens_and_neither_has_a_stream_that_nobody_reads() {
    for (signals, path, messages) in [
        (Signals::Grpc, "/inference.GRPCInferenceService/ModelInfer", &[MESSAGE][..]),
        (Signals::Grpc, "/my.Model/Predict", &[MESSAGE]),
        (Signals::Auto, TRITON, &[MESSAGE, MESSAGE]),
        (Signals::Off, TRITON, &[MESSAGE, MESSAGE]),
    ] {
        let origin = ending(GrpcStatus::Ok, messages);
        let rig = Setup { signals, ..setup(&origin) }.start();
        assert_eq!(end(&mut call(&rig, path, None, Sends::One).await).await.1, "0");
        assert_eq!(tokens(&rig), (0, 0, 0, 0), "{signals:?} {path}");
    }
}

#[tokio::test]
async fn a_stream_of_tritons_that_hangs_is_late_at_its_bound_and_a_unary_call_is_not() {
    let (green, _told) = hanging(None);
    let mut setup = reading_streams(&green);
    (setup.green, setup.green_share) = (vec![green.address], "100%");
    setup.token_bounds = vec![TokenBound::FirstToken { below: Duration::from_millis(30) }];
    let rig = setup.start();
    let calls: Vec<_> = [TRITON, "/inference.GRPCInferenceService/ModelInfer", TRITON]
        .into_iter()
        .zip([Sends::More, Sends::One, Sends::One])
        .map(|(path, sends)| call(&rig, path, Some("1S"), sends))
        .collect();
    let (first, second, third) = {
        let mut calls = calls.into_iter();
        (calls.next().unwrap(), calls.next().unwrap(), calls.next().unwrap())
    };
    drop(tokio::join!(first, second, third));
    let cohort = rig.cohort_when(|cohort| cohort.tokens[0].judged == 2);
    assert_eq!(cohort.tokens[0].long, 2 * WHOLE_STREAM);
}

#[tokio::test]
async fn a_method_that_has_streamed_is_late_when_it_hangs_and_another_is_not() {
    const BOUND: TokenBound = TokenBound::FirstToken { below: Duration::from_millis(30) };
    let blue = ending(GrpcStatus::Ok, &[MESSAGE, MESSAGE]);
    let (green, _told) = hanging(None);
    let mut setup = reading_streams(&blue);
    (setup.green, setup.green_share) = (vec![green.address], "0%");
    setup.token_bounds = vec![BOUND];
    let rig = setup.start();
    end(&mut call(&rig, "/my.Model/Generate", None, Sends::One).await).await;
    rig.blue_when(|reading| reading.settled() == 1);
    rig.give("100%");
    let (known, unknown, open) = tokio::join!(
        call(&rig, "/my.Model/Generate", Some("500m"), Sends::One),
        call(&rig, "/my.Model/Predict", Some("500m"), Sends::One),
        call(&rig, "/my.Model/Generate", Some("500m"), Sends::More),
    );
    drop((known, unknown, open));
    let cohort = rig.cohort_when(|cohort| cohort.settled == 3);
    // Of one nobody knows that it streams, and of one whose client has not ended nobody knows what it waits for.
    let tokens = cohort.tokens[0];
    assert_eq!((tokens.judged, tokens.long, tokens.excused), (1, WHOLE_STREAM, 2));
}

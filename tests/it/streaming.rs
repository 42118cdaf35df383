//! Token streams: alarms on the first token, by the binary.

use std::{
    io::{BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::json;

use crate::{
    bench::{Snapback, plan, read_head, request, send, write_config},
    replaying::replays,
};

const PATH: &str = "/v1/chat/completions";
const STREAM: &str = r#"{"messages":[],"stream":true}"#;
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
const TEXT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
const END: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

/// When a model server's tokens come.
#[derive(Clone, Copy)]
enum Pace {
    /// The first one at once, and the end a hundred milliseconds later.
    Prompt,
    /// All of them after ninety milliseconds: its answers are over sooner, and nobody saw anything before.
    LateFirst,
    /// Never.
    Never,
}

/// A model server that streams.
fn serve(pace: Pace) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer(stream, pace));
        }
    });
    address
}

/// What cannot be written any more was cut, which ends the connection.
fn answer(mut stream: TcpStream, pace: Pace) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (path, length) = read_head(&mut reader)?;
    reader.read_exact(&mut vec![0; length]).ok()?;
    if path == "/health" {
        return stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").ok();
    }
    let (_hold, never) = mpsc::channel::<()>();
    let wait = |millis| assert!(never.recv_timeout(Duration::from_millis(millis)).is_err());
    match pace {
        Pace::Prompt => {
            stream.write_all([HEAD, TEXT].concat().as_bytes()).ok()?;
            wait(100);
            stream.write_all(END.as_bytes()).ok()
        }
        Pace::LateFirst => {
            stream.write_all(HEAD.as_bytes()).ok()?;
            wait(90);
            stream.write_all([TEXT, END].concat().as_bytes()).ok()
        }
        Pace::Never => reader.read_exact(&mut [0]).ok(),
    }
}

#[test]
fn a_green_whose_first_token_comes_late_is_snapped_back_for_that_while_its_answers_are_no_slower() {
    let (folder, blue, green) = (tempfile::tempdir().unwrap(), serve(Pace::Prompt), serve(Pace::LateFirst));
    let snapback = Snapback::start(&write_config(folder.path(), blue));
    let mut plan = plan(green, "30s");
    plan["guard"] = json!([
        { "metric": "latency", "quantile": "p95", "below": "30s" },
        { "metric": "first_token", "quantile": "p95", "below": "80ms" },
    ]);
    let id = snapback.start_shift(&plan);
    let shift = snapback.drive_until_by(
        &id,
        || drop(request(snapback.data, "POST", PATH, STREAM)),
        |shift| shift["over"] == true,
    );
    assert_eq!(
        (&shift["state"], &shift["cause"]["alarm"]),
        (&json!("rolled_back"), &json!("first_token_p95")),
        "{shift:#}"
    );
    assert_eq!(
        (&shift["alarms"][0]["failures"], &shift["alarms"][1]["metric"]),
        (&json!(0), &json!("first_token"))
    );
    assert!(
        shift["explanation"].as_str().unwrap().contains("waited 80 ms or longer for the first token"),
        "{shift:#}"
    );
    for replayed in replays(&snapback, folder.path(), &plan) {
        let end = &replayed["replay"]["end"];
        assert_eq!(
            (&end["state"], &end["alarm"]),
            (&shift["state"], &shift["cause"]["alarm"]),
            "{replayed:#}"
        );
        assert!(end["green_responses"].as_u64() <= shift["green_responses_to_decision"].as_u64(), "{end:#}");
    }
}

#[test]
fn a_green_that_hangs_before_its_first_token_is_snapped_back_without_one_completion() {
    let (folder, blue, green) = (tempfile::tempdir().unwrap(), serve(Pace::Prompt), serve(Pace::Never));
    let snapback = Snapback::start(&write_config(folder.path(), blue));
    let mut plan = plan(green, "30s");
    plan["guard"] = json!([{ "metric": "first_token", "quantile": "p99", "below": "200ms" }]);
    let id = snapback.start_shift(&plan);
    snapback.wait_until(&id, |shift| shift["state"] == "baking");
    let open: Vec<_> = (0..20).map(|_| send(snapback.data, "POST", PATH, STREAM)).collect();
    let shift = snapback.wait_until(&id, |shift| shift["state"] != "baking");
    assert_eq!(
        (&shift["state"], &shift["cause"]["alarm"], &shift["green_responses_to_decision"]),
        (&json!("rolling_back"), &json!("first_token_p99"), &json!(0)),
        "{shift:#}"
    );
    drop(open);
    let shift = snapback.wait_until(&id, |shift| shift["over"] == true);
    assert_eq!(shift["state"], "rolled_back", "{shift:#}");
}

//! SIGTERM, SIGHUP.

use std::{io::Write, net::TcpStream, path::Path};

use crate::bench::{ModelServer, Snapback, plan, read_answer, write_config};

fn append(config: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().append(true).open(config).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn sigterm_lets_a_running_response_end_and_exits_with_zero() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    let mut slow = TcpStream::connect(snapback.data).unwrap();
    slow.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut first = [0; 1];
    std::io::Read::read_exact(&mut slow, &mut first).unwrap();
    snapback.signal("-TERM");
    let rest = read_answer(slow);
    assert_eq!(rest.body, b"....................");
    let (code, log) = snapback.end();
    assert_eq!(code, Some(0));
    // Nothing was under way any more, so nothing was waited for.
    assert!(!log.iter().any(|line| line.contains("drain timeout")), "{log:?}");
}

#[test]
fn a_second_sigterm_ends_what_the_first_let_run() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    blue.hang();
    let mut waiting = TcpStream::connect(snapback.data).unwrap();
    waiting.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    while blue.served() == 0 {
        std::thread::yield_now();
    }
    snapback.signal("-TERM");
    snapback.wait_for_log("draining");
    snapback.signal("-TERM");
    let (code, _) = snapback.end();
    assert_eq!(code, Some(1));
}

#[test]
fn sighup_with_a_bad_file_says_so_and_keeps_serving() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let config = write_config(folder.path(), blue.address);
    let snapback = Snapback::start(&config);
    append(&config, "\n[[endpiont]]\nname = \"other\"\n");
    snapback.signal("-HUP");
    let line = snapback.wait_for_log("endpiont");
    assert!(line.contains("endpoint"), "{line}");
    assert_eq!(snapback.ask().body, b"v1");
}

#[test]
fn a_reload_adds_an_endpoint_and_keeps_a_promoted_version_in_service() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let config = write_config(folder.path(), blue.address);
    let snapback = Snapback::start(&config);
    let id = snapback.start_shift(&plan(green.address, "100ms"));
    snapback.drive_until(&id, |shift| shift["state"] == "promoted");
    append(
        &config,
        &format!(
            "\n[[endpoint]]\nname = \"other\"\nmatch = {{ path_prefix = \"/other/\" }}\n\
             blue = {{ version = \"w1\", instances = [\"{}\"] }}\n",
            blue.address
        ),
    );
    let (status, reload) = snapback.admin("POST", "/v1/reload", "");
    assert_eq!(status, 200, "{reload}");
    assert!(reload["changes"].to_string().contains("other"), "{reload}");
    assert_eq!(snapback.ask().body, b"v2");
    let (status, _) = snapback.admin("GET", "/v1/endpoints/other", "");
    assert_eq!(status, 200);
}

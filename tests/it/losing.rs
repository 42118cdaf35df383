//! What a power loss leaves of the journal's files, and a disk that is full: the next start serves what is whole or says what to do, and green's
//! share never rises by itself.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Seek, SeekFrom, Write},
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

use serde_json::{Value, json};
use snapback::weight::Share;

use crate::bench::{ModelServer, Snapback, plan, write_config};

/// What a start came to.
enum Start {
    Serves(Snapback),
    /// What it said.
    Refuses(String),
}

/// Starts and waits until it serves or ends.
fn start(config: &Path) -> Start {
    let mut child = Command::new(env!("CARGO_BIN_EXE_snapback"))
        .args(["serve", "-c"])
        .arg(config)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let (sender, log) = mpsc::channel();
    thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    match (address_of(&mut child, "data: "), child.stdout.is_some()) {
        (Some((data, admin)), _) => Start::Serves(Snapback::of(child, data, admin, log)),
        (None, _) => {
            assert!(!child.wait().unwrap().success());
            Start::Refuses(log.iter().collect::<Vec<_>>().join("\n"))
        }
    }
}

/// Where the process listens; `None` when it ended without saying so.
fn address_of(child: &mut Child, what: &str) -> Option<(SocketAddr, SocketAddr)> {
    let mut lines = BufReader::new(child.stdout.take()?).lines().map_while(Result::ok);
    let parse = |line: &str| line.split_once("://").unwrap().1.trim().parse().unwrap();
    let data = lines.find(|line| line.starts_with(what))?;
    let admin = lines.find(|line| line.starts_with("admin: "))?;
    Some((parse(&data), parse(&admin)))
}

fn overwrite(path: &Path, from: u64, length: usize) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(from)).unwrap();
    file.write_all(&vec![0; length]).unwrap();
}

fn cut(path: &Path, length: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// Green's share in basis points.
fn share(snapback: &Snapback) -> u16 {
    let (status, endpoint) = snapback.admin("GET", "/v1/endpoints/chat", "");
    assert_eq!(status, 200, "{endpoint}");
    Share::parse(endpoint["share"].as_str().unwrap()).unwrap().basis_points()
}

#[test]
fn whatever_a_power_loss_leaves_of_the_files_green_gets_no_more_than_before() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let config = write_config(folder.path(), blue.address);
    let snapback = Snapback::start(&config);
    let id = snapback.start_shift(&plan(green.address, "20m"));
    snapback.drive_until(&id, |shift| shift["state"] == "baking");
    let before = share(&snapback);
    assert_eq!(before, 5_000);
    snapback.kill_nine();

    let (journal, log) = (folder.path().join("snapback.db"), folder.path().join("snapback.db-wal"));
    let (whole, written) = (fs::read(&journal).unwrap(), fs::read(&log).unwrap());
    assert!(written.len() > 20_000, "the shift is in the log: {}", written.len());
    let half = written.len() as u64 / 2;
    let damages: [(&str, &dyn Fn()); 8] = [
        ("nothing", &|| {}),
        ("the log is gone", &|| fs::remove_file(&log).unwrap()),
        ("the log is cut in half", &|| cut(&log, half)),
        ("the log's tail is zeros", &|| overwrite(&log, half, written.len() - half as usize)),
        ("a page of the log is torn", &|| overwrite(&log, half, 512)),
        ("the log's head is zeros", &|| overwrite(&log, 0, 32)),
        ("a page of the file is torn", &|| {
            // With the log's pages in the file, as after a checkpoint.
            drop(
                rusqlite::Connection::open(&journal)
                    .unwrap()
                    .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)"),
            );
            overwrite(&journal, 4_096 + 8, 2_048);
        }),
        ("the file's head is zeros", &|| overwrite(&journal, 0, 100)),
    ];
    for (what, damage) in damages {
        drop(fs::remove_file(folder.path().join("snapback.db-shm")));
        fs::write(&journal, &whole).unwrap();
        fs::write(&log, &written).unwrap();
        damage();
        let served = green.served();
        match start(&config) {
            Start::Serves(snapback) => {
                let after = share(&snapback);
                assert!(after <= before, "{what}: {after}");
                assert!(what != "nothing" || after == before, "what is whole goes on");
                for _ in 0..20 {
                    assert_eq!(snapback.ask().status, 200, "{what}");
                }
                let given = green.served() - served;
                assert!(after > 0 || given == 0, "{what}: green has no share and got {given}");
                assert!(given <= 15, "{what}: {given} of 20 requests at half of them");
            }
            Start::Refuses(why) => {
                assert_ne!(what, "nothing", "{why}");
                assert!(why.contains("snapback.db"), "{what}: {why}");
                let says_what_to_do =
                    ["backup", "name another file"].iter().any(|advice| why.contains(advice));
                assert!(says_what_to_do, "{what}: {why}");
            }
        }
    }
}

/// Lets the process write files of this size at most, or of any. A write beyond it fails as one to a full disk does, and a process may set
/// this for another of its own user's, which no mount may.
fn limit_files(snapback: &Snapback, bytes: &str) {
    let process = snapback.id().to_string();
    let status = Command::new("prlimit").args(["--pid", &process, &format!("--fsize={bytes}:")]).status();
    assert!(status.unwrap().success());
}

fn ready(snapback: &Snapback) -> bool {
    crate::bench::request(snapback.admin, "GET", "/readyz", "").status == 200
}

#[test]
fn a_disk_that_is_full_during_a_shift_stops_going_on_and_not_going_back() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let config = write_config(folder.path(), blue.address);
    // The signal that comes with a file too large would end the process; ignoring it is inherited.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" serve -c \"$1\"", env!("CARGO_BIN_EXE_snapback")]);
    command.arg(&config).process_group(0);
    let snapback = Snapback::start_by(command);
    let id = snapback.start_shift(&plan(green.address, "20m"));
    snapback.drive_until(&id, |shift| shift["state"] == "baking");

    limit_files(&snapback, "4096");
    let (status, problem) = snapback.admin("POST", &format!("/v1/shifts/{id}/pause"), "");
    assert!(status == 503 || status == 507, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("nothing was changed"), "{problem}");
    assert!(!ready(&snapback));
    let shift = snapback.shift(&id);
    assert_eq!((&shift["state"], &shift["share"]), (&json!("baking"), &json!("50%")), "{shift:#}");

    let (status, shift) = snapback.admin("POST", &format!("/v1/shifts/{id}/abort"), "");
    assert_eq!(status, 200, "{shift:#}");
    let served = green.served();
    for _ in 0..40 {
        assert_eq!(snapback.ask().body, b"v1");
    }
    assert_eq!(green.served(), served, "going back acts though it cannot be written");

    limit_files(&snapback, "unlimited");
    let shift = snapback.wait_until(&id, |shift| shift["over"] == true);
    assert_eq!(shift["state"], "rolled_back");
    let last: Option<Value> = (0..1_000_000).find_map(|_| ready(&snapback).then_some(Value::Null));
    assert!(last.is_some(), "the journal can be written again and nobody says so");
    snapback.kill_nine();
    assert_eq!(Snapback::start(&config).shift(&id)["state"], "rolled_back");
}

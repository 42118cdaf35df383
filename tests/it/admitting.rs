//! Tokens of the admin port: what their roles may do, and how they change while the proxy serves.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::bench::{ModelServer, PATIENCE, Snapback, read_answer, run, write_config};

/// Makes a token by the binary: the token, and the lines for the file.
fn new_token(name: &str, role: &str, more: &[&str]) -> (String, String) {
    let arguments = [&["token", "new", "--name", name, "--role", role], more].concat();
    let output = run(&arguments);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (token, lines) = text.split_once('\n').unwrap();
    (token.to_owned(), lines.to_owned())
}

/// The workbench's configuration with a file of these tokens.
fn write_guarded(folder: &Path, blue: SocketAddr, tokens: &str) -> (PathBuf, PathBuf) {
    let (config, file) = (write_config(folder, blue), folder.join("tokens.toml"));
    std::fs::write(&file, tokens).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("[admin]", &format!("[admin]\ntokens_file = {file:?}"));
    std::fs::write(&config, text).unwrap();
    (config, file)
}

/// The head and the body of an answer to a request with this token; an empty one is none.
fn ask(address: SocketAddr, method: &str, path: &str, token: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let shown = if token.is_empty() { String::new() } else { format!("authorization: Bearer {token}\r\n") };
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: {address}\r\nx-snapback-actor: ceo\r\n{shown}connection: close\r\n\r\n")
        .unwrap();
    let answer = read_answer(stream);
    (answer.status, String::from_utf8(answer.body).unwrap())
}

#[test]
fn a_role_may_do_what_it_is_for_and_the_trail_has_the_tokens_name() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let made = ["viewer", "operator", "admin"].map(|role| new_token(&format!("the-{role}"), role, &[]));
    let (old, old_lines) = new_token("old", "admin", &["--expires", "1971-01-01"]);
    let lines = made.iter().map(|(_, lines)| lines.as_str()).chain([old_lines.as_str()]);
    let (config, _) = write_guarded(folder.path(), blue.address, &lines.collect::<String>());
    let snapback = Snapback::start(&config);
    let statuses = |method: &str, path: &str| {
        let tokens = made.iter().map(|(token, _)| token.as_str()).chain(["", old.as_str()]);
        tokens.map(|token| ask(snapback.admin, method, path, token).0).collect::<Vec<_>>()
    };
    assert_eq!(statuses("GET", "/v1/endpoints"), [200, 200, 200, 401, 401]);
    assert_eq!(statuses("POST", "/v1/freeze"), [403, 200, 200, 401, 401]);
    assert_eq!(statuses("POST", "/v1/reload"), [403, 403, 200, 401, 401]);
    assert_eq!(statuses("GET", "/healthz"), [200; 5]);
    assert_eq!(statuses("GET", "/metrics"), [200; 5]);

    let (viewer, _) = &made[0];
    let (_, problem) = ask(snapback.admin, "POST", "/v1/freeze", viewer);
    assert!(problem.contains("the-viewer has the role viewer; this takes the role operator"), "{problem}");
    let (_, trail) = ask(snapback.admin, "GET", "/v1/audit", viewer);
    assert!(trail.contains("the-operator") && trail.contains("the-admin"), "{trail}");
    assert!(!trail.contains("ceo"), "{trail}");
}

#[test]
fn tokens_come_and_go_without_a_restart_and_a_bad_file_changes_nothing() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let [(first, first_lines), (second, second_lines)] =
        ["first", "second"].map(|name| new_token(name, "viewer", &[]));
    let (config, file) = write_guarded(folder.path(), blue.address, &first_lines);
    let snapback = Snapback::start(&config);
    let statuses = || [&first, &second].map(|token| ask(snapback.admin, "GET", "/v1/endpoints", token).0);
    assert_eq!(statuses(), [200, 401]);
    std::fs::write(&file, format!("{first_lines}{second_lines}")).unwrap();
    assert_eq!(statuses(), [200, 200]);
    std::fs::write(&file, "[[token]]\nname = \"broken\"\nrole = \"viewer\"\n").unwrap();
    assert_eq!(statuses(), [200, 200]);
    let line = snapback.wait_for_log("new tokens are refused");
    assert!(line.contains("token[0].hash"), "{line}");
    std::fs::write(&file, &second_lines).unwrap();
    assert_eq!(statuses(), [401, 200]);
}

#[test]
fn who_fails_too_often_is_told_so_and_a_valid_token_is_served_all_the_same() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let (token, lines) = new_token("ci", "viewer", &[]);
    let (config, _) = write_guarded(folder.path(), blue.address, &lines);
    let snapback = Snapback::start(&config);
    let wrong = || ask(snapback.admin, "GET", "/v1/endpoints", "wrong").0;
    assert_eq!((0..12).map(|_| wrong()).collect::<Vec<_>>(), [[401; 10].as_slice(), &[429; 2]].concat());
    assert_eq!(ask(snapback.admin, "GET", "/v1/endpoints", &token).0, 200);
}

#[test]
fn commands_show_the_token_of_a_file() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let (token, lines) = new_token("ci", "viewer", &[]);
    let (config, _) = write_guarded(folder.path(), blue.address, &lines);
    let snapback = Snapback::start(&config);
    let (admin, file) = (format!("http://{}", snapback.admin), folder.path().join("token"));
    std::fs::write(&file, token).unwrap();
    let refused = run(&["endpoint", "list", "--admin", &admin]);
    assert!(!refused.status.success());
    assert!(String::from_utf8(refused.stderr).unwrap().contains("--token-file"));
    let listed = run(&["endpoint", "list", "--admin", &admin, "--token-file", file.to_str().unwrap()]);
    assert!(listed.status.success(), "{listed:?}");
}

#[test]
fn a_file_of_tokens_that_others_can_write_is_refused_at_the_start() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let (config, file) = write_guarded(folder.path(), blue.address, &new_token("ci", "viewer", &[]).1);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    let output = run(&["serve", "-c", config.to_str().unwrap()]);
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("can be written by others") && said.contains("chmod"), "{said}");
}

#[test]
fn with_tokens_the_port_may_be_reached_by_others_who_then_need_one_for_metrics_and_for_sagemakers_api() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let [(viewer, viewer_lines), (admin, admin_lines)] =
        ["viewer", "admin"].map(|role| new_token(role, role, &[]));
    let (config, _) = write_guarded(folder.path(), blue.address, &format!("{viewer_lines}{admin_lines}"));
    let text = std::fs::read_to_string(&config).unwrap();
    let (head, tail) = text.split_once("[admin]").unwrap();
    let tail = tail.replacen("127.0.0.1:0", "0.0.0.0:0", 1);
    std::fs::write(&config, format!("{head}[aws]\nsagemaker = false\n[admin]{tail}")).unwrap();
    let snapback = Snapback::start(&config);
    let statuses = |method: &str, path: &str| {
        ["", &viewer, &admin].map(|token| ask(snapback.admin, method, path, token).0)
    };
    assert_eq!(statuses("GET", "/metrics"), [401, 200, 200]);
    assert_eq!(statuses("GET", "/readyz"), [200; 3]);
    // An admin gets as far as the handler, which does not speak the API here.
    assert_eq!(statuses("POST", "/"), [401, 403, 405]);
    assert_eq!(statuses("GET", "/nothing"), [401, 404, 404]);
    // The dashboard's page asks for a token itself, and says whose it is.
    assert_eq!(statuses("GET", "/"), [200; 3]);
    assert_eq!(ask(snapback.admin, "GET", "/v1/caller", "wrong").0, 401);
    let callers = ["", &viewer, &admin].map(|token| ask(snapback.admin, "GET", "/v1/caller", token).1);
    assert!(callers[0].contains("\"tokens\":true,\"name\":null,\"role\":null"), "{callers:?}");
    assert!(
        callers[1].contains("\"role\":\"viewer\"") && callers[2].contains("\"name\":\"admin\""),
        "{callers:?}"
    );

    let unguarded = text.replace("tokens_file", "# tokens_file");
    let unguarded = unguarded.replace("listen = \"127.0.0.1:0\"\n[state]", "listen = \"0.0.0.0:0\"\n[state]");
    std::fs::write(&config, unguarded).unwrap();
    let output = run(&["serve", "-c", config.to_str().unwrap()]);
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("admin.tokens_file") && said.contains("snapback token new"), "{said}");
}

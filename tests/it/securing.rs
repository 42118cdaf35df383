//! TLS at every port and to instances, with certificates made on the spot and changed while the proxy serves.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use crate::bench::{ModelServer, PATIENCE, Snapback, request, run, write_config};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

/// Signs certificates; its own is in a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

/// A certificate and its key in files.
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = folder.join(format!("{name}.pem"));
        std::fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, file }
    }

    fn sign(&self, folder: &Path, file: &str, names: &[&str]) -> Files {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.sign_as(folder, file, CertificateParams::new(names).unwrap())
    }

    fn sign_as(&self, folder: &Path, file: &str, params: CertificateParams) -> Files {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files =
            Files { cert: folder.join(format!("{file}.pem")), key: folder.join(format!("{file}.key")) };
        std::fs::write(&files.cert, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }
}

impl Files {
    fn toml(&self) -> String {
        format!("{{ cert = {:?}, key = {:?} }}", self.cert, self.key)
    }

    fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(&self.cert).unwrap()
    }
}

/// A client's connection with TLS.
struct Client(StreamOwned<ClientConnection, TcpStream>);

impl Client {
    fn connect(address: SocketAddr, name: &str, authority: &Authority, identity: Option<&Files>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.issuer.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            Some(files) => {
                let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
                builder.with_client_auth_cert(vec![files.certificate()], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        Self(StreamOwned::new(connection, TcpStream::connect(address).unwrap()))
    }

    /// One request on this connection; the body, if it was answered.
    fn ask(&mut self) -> std::io::Result<String> {
        self.0.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nv1") {
            let mut chunk = [0; 1024];
            let length = self.0.read(&mut chunk)?;
            if length == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            answer.extend_from_slice(&chunk[..length]);
        }
        Ok("v1".to_owned())
    }

    fn shown(&self) -> &CertificateDer<'static> {
        &self.0.conn.peer_certificates().unwrap()[0]
    }
}

/// The workbench's configuration with more text under some of its headers.
fn write_secure(folder: &Path, blue: SocketAddr, more: &[(&str, String)]) -> PathBuf {
    let config = write_config(folder, blue);
    let mut text = std::fs::read_to_string(&config).unwrap();
    for (place, added) in more {
        assert!(text.contains(place));
        text = text.replacen(place, &format!("{place}\n{added}"), 1);
    }
    std::fs::write(&config, text).unwrap();
    config
}

#[test]
fn certificates_are_chosen_by_name_and_changed_without_dropping_a_connection() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let authority = Authority::new(folder.path(), "ca");
    let a = authority.sign(folder.path(), "a", &["a.example"]);
    let b = authority.sign(folder.path(), "b", &["*.b.example"]);
    let tls = format!("tls = {{ certificates = [{}, {}] }}", a.toml(), b.toml());
    let snapback = Snapback::start(&write_secure(folder.path(), blue.address, &[("[data]", tls)]));
    let connect = |name: &str| Client::connect(snapback.data, name, &authority, None);

    let (mut old_a, mut old_b) = (connect("a.example"), connect("x.b.example"));
    assert_eq!((old_a.ask().unwrap(), old_b.ask().unwrap()), ("v1".to_owned(), "v1".to_owned()));
    assert_eq!((old_a.shown(), old_b.shown()), (&a.certificate(), &b.certificate()));

    let old = a.certificate();
    let a = authority.sign(folder.path(), "a", &["a.example"]);
    assert_ne!(a.certificate(), old);
    snapback.wait_for_log("certificates were read again");
    let mut new_a = connect("a.example");
    new_a.ask().unwrap();
    assert_eq!(new_a.shown(), &a.certificate());

    // A key of another certificate, by each of the two other ways to say so.
    let good = a.certificate();
    std::fs::copy(&b.key, &a.key).unwrap();
    snapback.signal("-HUP");
    snapback.wait_for_log("certificates are refused");
    let (status, reload) = snapback.admin("POST", "/v1/reload", "");
    assert_eq!(status, 200);
    assert!(reload["changes"].to_string().contains("stay as they were"), "{reload}");
    let events = run(&["events", "--output", "json", "--admin", &format!("http://{}", snapback.admin)]);
    let events = String::from_utf8(events.stdout).unwrap();
    for (kind, count) in [("certificates.reloaded", 1), ("certificates.refused", 2)] {
        assert!(events.matches(kind).count() >= count, "{events}");
    }
    let refused = "snapback_reload_refused{what=\"certificates\"} 1\n";
    let metrics = || String::from_utf8(request(snapback.admin, "GET", "/metrics", "").body).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !metrics().contains(refused) {
        assert!(Instant::now() < deadline, "{}", metrics());
    }
    let mut still = connect("a.example");
    still.ask().unwrap();
    assert_eq!(still.shown(), &good);
    for client in [&mut old_a, &mut old_b, &mut new_a] {
        assert_eq!(client.ask().unwrap(), "v1");
    }
}

#[test]
fn a_client_without_a_certificate_of_the_authority_is_refused() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let (authority, other) = (Authority::new(folder.path(), "ca"), Authority::new(folder.path(), "other"));
    let server = authority.sign(folder.path(), "a", &["a.example"]);
    let known = authority.sign(folder.path(), "known", &["client"]);
    let stranger = other.sign(folder.path(), "stranger", &["client"]);
    let tls = format!("tls = {{ certificates = [{}], client_ca = {:?} }}", server.toml(), authority.file);
    let snapback = Snapback::start(&write_secure(folder.path(), blue.address, &[("[data]", tls)]));
    let ask = |identity| Client::connect(snapback.data, "a.example", &authority, identity).ask();
    assert_eq!(ask(Some(&known)).unwrap(), "v1");
    assert!(ask(Some(&stranger)).is_err());
    assert!(ask(None).is_err());
    assert_eq!(blue.served(), 1);
}

#[test]
fn operators_reach_a_secure_admin_port_with_their_certificate_and_nobody_else_does() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let authority = Authority::new(folder.path(), "ca");
    let server = authority.sign(folder.path(), "admin", &["127.0.0.1"]);
    let me = authority.sign(folder.path(), "me", &["me"]);
    let tls = format!("tls = {{ certificates = [{}], client_ca = {:?} }}", server.toml(), authority.file);
    let snapback = Snapback::start(&write_secure(folder.path(), blue.address, &[("[admin]", tls)]));
    let admin = format!("https://{}", snapback.admin);
    let (ca, cert, key) =
        (authority.file.to_str().unwrap(), me.cert.to_str().unwrap(), me.key.to_str().unwrap());
    let list = ["endpoint", "list", "--admin", &admin];
    let output = run(&[&list[..], &["--ca", ca, "--cert", cert, "--key", key]].concat());
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("chat"),
        "{output:?}"
    );

    let output = run(&[&list[..], &["--ca", ca]].concat());
    assert!(!output.status.success(), "{output:?}");
    let output = run(&[&list[..], &["--ca", cert, "--cert", cert, "--key", key]].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("cannot make a secure connection") && said.contains("--ca FILE"), "{said}");
    let plain = format!("http://{}", snapback.admin);
    assert!(!run(&["endpoint", "list", "--admin", &plain]).status.success());
}

#[test]
fn instances_are_verified_before_they_get_traffic_or_count_as_healthy() {
    let (folder, model) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let (authority, other) = (Authority::new(folder.path(), "ca"), Authority::new(folder.path(), "other"));
    let server = authority.sign(folder.path(), "model", &["model.internal"]);
    let me = authority.sign(folder.path(), "me", &["proxy"]);
    // A proxy that asks for client certificates stands for a model server that does.
    let tls = format!("tls = {{ certificates = [{}], client_ca = {:?} }}", server.toml(), authority.file);
    let inner_folder = folder.path().join("inner");
    std::fs::create_dir(&inner_folder).unwrap();
    let inner = Snapback::start(&write_secure(&inner_folder, model.address, &[("[data]", tls)]));

    for (number, (ca, name, status)) in
        [(&authority, "model.internal", 200), (&other, "model.internal", 502), (&authority, "other", 502)]
            .into_iter()
            .enumerate()
    {
        let outer = folder.path().join(format!("outer-{number}"));
        std::fs::create_dir(&outer).unwrap();
        let config = write_config(&outer, inner.data);
        let tls = format!(
            "], tls = {{ ca = {:?}, server_name = {name:?}, cert = {:?}, key = {:?} }} }}\nhealth",
            ca.file, me.cert, me.key
        );
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, text.replacen("] }\nhealth", &tls, 1)).unwrap();
        let snapback = Snapback::start(&config);
        let answer = snapback.ask();
        if status == 200 {
            assert_eq!((answer.status, answer.body), (200, b"v1".to_vec()));
        } else {
            assert!(matches!(answer.status, 502 | 503), "{answer:?}");
            let line = snapback.wait_for_log("no TLS");
            assert!(line.contains("certificate"), "{line}");
        }
    }
    assert_eq!(model.served(), 1);
}

#[test]
fn a_certificate_is_whose_its_names_say_and_may_do_what_that_role_may() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let authority = Authority::new(folder.path(), "ca");
    let server = authority.sign(folder.path(), "admin", &["127.0.0.1"]);
    let [ci, boss, nobody] = ["ci", "boss", "nobody"]
        .map(|name| authority.sign(folder.path(), name, &[&format!("{name}.internal")]));
    let section = format!(
        "identities = [{{ name = \"the-ci\", role = \"operator\", dns = \"ci.internal\" }}, \
         {{ name = \"the-boss\", role = \"admin\", dns = \"boss.internal\" }}]\n\
         tls = {{ certificates = [{}], client_ca = {:?} }}",
        server.toml(),
        authority.file
    );
    let snapback = Snapback::start(&write_secure(folder.path(), blue.address, &[("[admin]", section)]));
    let ask = |files: &Files, method: &str, path: &str| {
        let mut client = Client::connect(snapback.admin, "127.0.0.1", &authority, Some(files));
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", snapback.admin);
        client.0.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        client.0.read_to_end(&mut answer).unwrap();
        let text = String::from_utf8(answer).unwrap();
        (text[9..12].parse::<u16>().unwrap(), text)
    };
    let statuses = |method: &str, path: &str| [&ci, &boss, &nobody].map(|files| ask(files, method, path).0);
    assert_eq!(statuses("GET", "/v1/endpoints"), [200, 200, 401]);
    assert_eq!(statuses("POST", "/v1/freeze"), [200, 200, 401]);
    assert_eq!(statuses("POST", "/v1/reload"), [403, 200, 401]);
    assert_eq!(statuses("GET", "/healthz"), [200; 3]);
    let (_, caller) = ask(&ci, "GET", "/v1/caller");
    assert!(caller.contains("\"tokens\":false,\"name\":\"the-ci\",\"role\":\"operator\""), "{caller}");
    let (_, trail) = ask(&boss, "GET", "/v1/audit");
    assert!(trail.contains("\"actor\":\"the-ci\"") && trail.contains("\"actor\":\"the-boss\""), "{trail}");
    assert!(trail.contains("that of nobody in admin.identities"), "{trail}");

    // The right name in a certificate that is over, or that is for servers, or that somebody else has signed, is no name at all.
    let named = || CertificateParams::new(vec!["boss.internal".to_owned()]).unwrap();
    let mut old = named();
    old.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let mut for_servers = named();
    for_servers.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let stranger = Authority::new(folder.path(), "stranger");
    for files in [
        authority.sign_as(folder.path(), "old", old),
        authority.sign_as(folder.path(), "for-servers", for_servers),
        stranger.sign_as(folder.path(), "forged", named()),
    ] {
        let mut client = Client::connect(snapback.admin, "127.0.0.1", &authority, Some(&files));
        assert!(client.ask().is_err(), "{:?}", files.cert);
        let [admin, ca, cert, key] = [
            format!("https://{}", snapback.admin),
            authority.file.display().to_string(),
            files.cert.display().to_string(),
            files.key.display().to_string(),
        ];
        let told = run(&["endpoint", "list", "--admin", &admin, "--ca", &ca, "--cert", &cert, "--key", &key]);
        let said = String::from_utf8(told.stderr).unwrap();
        assert!(!told.status.success() && said.contains("show yours with --cert FILE"), "{said}");
    }
}

//! Handshakes over a socket pair, with certificates made on the spot.

use std::{path::Path, sync::Arc};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};
use tokio_rustls::TlsStream;

use super::{Connector, Keychain, Server, Which, fixture::Authority};
use crate::{
    config::{ClientAuth, ServerTls},
    fleet::{CertificateFiles, UpstreamTls},
    net::Plain,
};

fn spec(certificates: &[&CertificateFiles]) -> ServerTls {
    ServerTls {
        certificates: certificates.iter().map(|files| (*files).clone()).collect(),
        client_ca: None,
        client_auth: ClientAuth::None,
    }
}

fn server(keychain: &Keychain, spec: &ServerTls) -> Arc<Server> {
    keychain.server("data.tls", spec, &["http/1.1"]).unwrap()
}

fn trusting(authority: &Path) -> UpstreamTls {
    UpstreamTls { ca: Some(authority.to_owned()), ..UpstreamTls::default() }
}

/// A handshake and a byte each way; says what the client's side saw.
async fn meet(server: &Server, client: UpstreamTls, host: &str) -> std::io::Result<Box<TlsStream<Plain>>> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let connector = Connector::new(Arc::new(client));
    let serve = async {
        let mut stream = server.accept(Plain::Unix(theirs)).await?;
        stream.write_all(b"!").await?;
        stream.flush().await
    };
    let ask = async {
        let mut stream = connector.connect(Plain::Unix(ours), Some(host), &["http/1.1"]).await?;
        let mut byte = [0; 1];
        stream.read_exact(&mut byte).await?;
        Ok(stream)
    };
    let (served, asked) = tokio::join!(serve, ask);
    asked.and_then(|stream| served.map(|()| stream))
}

fn certificate_seen(stream: &TlsStream<Plain>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn der(files: &CertificateFiles) -> Vec<u8> {
    super::pem::certificates(&files.cert).unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_client_is_shown_the_certificate_of_the_name_it_asks_for_and_else_the_first() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let first = authority.sign(folder.path(), "first", &["a.example", "unknown.example"]);
    let second = authority.sign(folder.path(), "second", &["b.example", "*.models.example"]);
    let server = server(&Keychain::default(), &spec(&[&first, &second]));
    for (host, shown) in [
        ("a.example", &first),
        ("b.example", &second),
        ("B.Example", &second),
        ("chat.models.example", &second),
        ("unknown.example", &first),
    ] {
        let stream = meet(&server, trusting(&authority.file), host).await.unwrap();
        assert_eq!(certificate_seen(&stream), der(shown), "{host}");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    }
    assert!(meet(&server, trusting(&authority.file), "other.example").await.is_err());
}

#[tokio::test]
async fn a_server_is_refused_under_another_authority_or_another_name() {
    let folder = TempDir::new().unwrap();
    let (authority, other) = (Authority::new(folder.path(), "ca"), Authority::new(folder.path(), "other"));
    let files = authority.sign(folder.path(), "model", &["model.internal"]);
    let server = server(&Keychain::default(), &spec(&[&files]));
    assert!(meet(&server, trusting(&authority.file), "model.internal").await.is_ok());
    assert!(meet(&server, trusting(&other.file), "model.internal").await.is_err());
    assert!(meet(&server, trusting(&authority.file), "10.0.0.1").await.is_err());
    let named = UpstreamTls { server_name: Some("model.internal".to_owned()), ..trusting(&authority.file) };
    assert!(meet(&server, named, "10.0.0.1").await.is_ok());
}

#[tokio::test]
async fn a_client_shows_a_certificate_where_it_must_and_a_foreign_one_is_refused() {
    let folder = TempDir::new().unwrap();
    let (authority, other) = (Authority::new(folder.path(), "ca"), Authority::new(folder.path(), "other"));
    let files = authority.sign(folder.path(), "model", &["a.example"]);
    let known = authority.sign(folder.path(), "client", &["client"]);
    let foreign = other.sign(folder.path(), "foreign", &["client"]);
    for (client_auth, without_works) in [(ClientAuth::Required, false), (ClientAuth::Optional, true)] {
        let spec = ServerTls { client_ca: Some(authority.file.clone()), client_auth, ..spec(&[&files]) };
        let server = server(&Keychain::default(), &spec);
        let with = |identity| UpstreamTls { identity, ..trusting(&authority.file) };
        assert!(meet(&server, with(Some(known.clone())), "a.example").await.is_ok());
        assert!(meet(&server, with(Some(foreign.clone())), "a.example").await.is_err());
        assert_eq!(meet(&server, with(None), "a.example").await.is_ok(), without_works, "{client_auth:?}");
    }
}

#[test]
fn a_certificate_of_a_client_is_looked_at_in_every_handshake() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let files = authority.sign(folder.path(), "model", &["a.example"]);
    let asking =
        ServerTls { client_ca: Some(authority.file), client_auth: ClientAuth::Optional, ..spec(&[&files]) };
    for (spec, resumes) in [(spec(&[&files]), true), (asking, false)] {
        let config = super::server::configure(&spec, &[]).unwrap();
        assert_eq!(config.ticketer.enabled(), resumes, "{spec:?}");
        assert!(!config.session_storage.can_cache());
    }
}

#[tokio::test]
async fn changed_files_are_shown_from_the_next_handshake_on_and_bad_ones_never() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let files = authority.sign(folder.path(), "model", &["a.example"]);
    let keychain = Keychain::default();
    let server = server(&keychain, &spec(&[&files]));
    assert_eq!(keychain.refresh(Which::Changed), []);
    let old = der(&files);

    authority.sign(folder.path(), "model", &["a.example", "b.example"]);
    assert_ne!(der(&files), old);
    let refreshed = keychain.refresh(Which::Changed);
    assert!(matches!(&refreshed[..], [one] if one.outcome.is_ok()), "{refreshed:?}");
    let stream = meet(&server, trusting(&authority.file), "b.example").await.unwrap();
    assert_eq!(certificate_seen(&stream), der(&files));

    let good = der(&files);
    std::fs::copy(authority.sign(folder.path(), "stranger", &["c"]).key, &files.key).unwrap();
    let refreshed = keychain.refresh(Which::Changed);
    let said = refreshed[0].sentence();
    assert!(said.contains("stay as they were") && said.contains("not the private key"), "{said}");
    assert_eq!(keychain.refresh(Which::Changed), [], "a bad file is told of once");
    std::fs::write(&files.cert, "nonsense").unwrap();
    assert!(keychain.refresh(Which::All)[0].outcome.is_err());
    let stream = meet(&server, trusting(&authority.file), "b.example").await.unwrap();
    assert_eq!(certificate_seen(&stream), good);
}

#[tokio::test]
async fn a_connector_without_its_files_says_so_and_works_once_they_are_there() {
    let folder = TempDir::new().unwrap();
    let keychain = Keychain::default();
    let spec_of_fleet = Arc::new(trusting(&folder.path().join("ca.pem")));
    let connector = keychain.connector(&spec_of_fleet);
    assert!(connector.problem().unwrap().to_string().contains("ca.pem: cannot read the file"));
    let authority = Authority::new(folder.path(), "ca");
    assert!(keychain.refresh(Which::Changed)[0].outcome.is_ok());
    assert_eq!(connector.problem(), None);
    assert!(Arc::ptr_eq(&connector, &keychain.connector(&Arc::new(trusting(&authority.file)))));
}

//! The admin port over a real control with a journal in a temporary directory.

use std::{net::TcpListener, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use axum::{Router, body::Body};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;
use tower::ServiceExt;

use super::super::{
    Inlet, routes,
    state::{Admin, Port},
};
use crate::{
    config,
    control::{self, Control, Handle},
    delivery::Webhooks,
    meter::{Bell, WorkerMeters},
    route::RouteTable,
    store::SqliteJournal,
    telemetry::Telemetry,
};

pub(super) struct World {
    pub(super) router: Router,
    pub(super) handle: Handle,
    pub(super) config_file: PathBuf,
    pub(super) drain: watch::Sender<bool>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) blue: String,
    pub(super) green: String,
    control: Control,
    /// Accept connections, which is all that a health check without a path wants.
    _instances: [TcpListener; 2],
    _directory: TempDir,
}

/// What an answer was.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// A request from this machine.
pub(super) fn request(method: Method, path: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).header("host", "localhost:9090");
    request.body(body.into()).unwrap()
}

impl World {
    /// One endpoint, `chat`, that a file declares, in a world whose admin port knows that file.
    pub(super) fn new() -> Self {
        let (admin, rest) = Self::admin();
        let (stop, stopped) = watch::channel(false);
        let port = Port::new(admin, "127.0.0.1:9090".parse().unwrap(), stopped);
        Self { router: routes::router(Arc::new(port)), stop, ..rest }
    }

    /// The same before its port is bound.
    pub(super) fn admin() -> (Admin, Self) {
        let instances = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [blue, green] = [0, 1].map(|index: usize| instances[index].local_addr().unwrap().to_string());
        let directory = tempfile::tempdir().unwrap();
        let journal_file = directory.path().join("snapback.db");
        let config_file = directory.path().join("snapback.toml");
        let text = config_text(&journal_file.display().to_string(), &blue);
        std::fs::write(&config_file, &text).unwrap();
        let config = config::parse(&text, "snapback.toml").unwrap();
        let table = Arc::new(ArcSwap::from_pointee(RouteTable::default()));
        let parts = control::Parts {
            keychain: Arc::default(),
            config: &config,
            journal: Arc::new(SqliteJournal::open(&journal_file).unwrap()),
            table: table.clone(),
            bell: Arc::new(Bell::new()),
            workers: 1,
            heir: control::Heir::Nobody,
        };
        let (handle, control) = control::start(parts).unwrap();
        let (drain, draining) = watch::channel(false);
        let admin = Admin {
            handle: handle.clone(),
            telemetry: Telemetry::new(table, Arc::from([WorkerMeters::default()]), Default::default()),
            source: Some(config_file.clone()),
            allow_remote: false,
            draining,
            tls: None,
            tokens: None,
            identities: Vec::new(),
            webhooks: Webhooks::default(),
            events_file: None,
            aws: config.aws.clone(),
            keyring: None,
            inlet: Inlet::new(|_peer| Err(std::io::Error::other("there is no data plane"))),
        };
        let rest = Self {
            router: Router::new(),
            handle,
            config_file,
            drain,
            stop: watch::channel(false).0,
            blue,
            green,
            control,
            _instances: instances,
            _directory: directory,
        };
        (admin, rest)
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path, Body::empty())).await
    }

    /// With a JSON body.
    pub(super) async fn json(&self, method: Method, path: &str, document: &Value) -> Answer {
        let mut request = request(method, path, document.to_string());
        let length = document.to_string().len();
        request.headers_mut().insert("content-length", length.into());
        request.headers_mut().insert("content-type", "application/json".parse().unwrap());
        self.send(request).await
    }

    /// Without a body, as ben.
    pub(super) async fn bare(&self, method: Method, path: &str) -> Answer {
        let mut request = request(method, path, Body::empty());
        request.headers_mut().insert("x-snapback-actor", "ben".parse().unwrap());
        self.send(request).await
    }

    /// A plan to the second instance.
    pub(super) fn plan(&self) -> Value {
        serde_json::json!({
            "green": {"version": "v2", "instances": [self.green]},
            "strategy": {"type": "canary", "share": "5%", "bake": "1h", "final_bake": "0s"},
        })
    }

    /// Ends control, so that nothing outlives the test.
    pub(super) async fn end(self) {
        self.control.stop().await;
    }
}

impl Answer {
    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The problem document of a refusal with this status.
    #[track_caller]
    pub(super) fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.json()["status"], status);
        self.json()
    }
}

fn config_text(journal: &str, blue: &str) -> String {
    format!(
        "[data]\nlisten = [\"127.0.0.1:8080\"]\n[state]\npath = {journal:?}\n[[endpoint]]\nname = \"chat\"\nblue = {{ version = \
         \"v1\", instances = [{blue:?}] }}\n"
    )
}

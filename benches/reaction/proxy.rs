//! The proxy as an operator runs it: the binary, a configuration file, and its admin port.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::Checked;

/// No wait for the proxy is longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// From one look at a shift to the next; each costs the proxy's core some hundred microseconds.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A `snapback serve` process, killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    child: Child,
    pub(crate) data: SocketAddr,
    admin: SocketAddr,
}

impl Proxy {
    /// One worker, so that the load has a core as well. Streams are held until their first token, so that an error event can be rescued.
    pub(crate) fn start(folder: &Path, blue: SocketAddr) -> Checked<Self> {
        let config = folder.join("snapback.toml");
        let text = format!(
            "[data]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n[state]\npath = {:?}\n\
             [log]\nlevel = \"error\"\n[[endpoint]]\nname = \"chat\"\nblue = {{ version = \"v1\", instances = [\"{blue}\"] }}\n\
             health = {{ path = \"/health\", interval = \"1s\" }}\nrescue = {{ until = \"first_token\" }}\n",
            folder.join("snapback.db")
        );
        std::fs::write(&config, text)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_snapback"));
        let mut child = command.args(["serve", "-c"]).arg(config).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take();
        let mut proxy = Self { child, data: blue, admin: blue };
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stdout.ok_or("no standard output")?));
        let mut address_after = |what: &str| -> Checked<SocketAddr> {
            loop {
                let line = lines.next().ok_or("the proxy ended")??;
                if let Some(address) = line.strip_prefix(what) {
                    return Ok(address.trim().parse()?);
                }
            }
        };
        proxy.data = address_after("data: http://")?;
        proxy.admin = address_after("admin: http://")?;
        Ok(proxy)
    }

    /// Starts a shift and gives its id.
    pub(crate) async fn start_shift(&self, plan: &Value) -> Checked<String> {
        let shift = self.admin("POST", "/v1/endpoints/chat/shifts", &plan.to_string()).await?;
        Ok(shift["id"].as_str().ok_or_else(|| format!("the shift was refused: {shift}"))?.to_owned())
    }

    /// Looks at the shift until it is in this state, or over, and gives its report.
    pub(crate) async fn shift_in(&self, id: &str, state: &str) -> Checked<Value> {
        let path = format!("/v1/shifts/{id}");
        let looking = async {
            loop {
                let shift = self.admin("GET", &path, "").await?;
                if shift["state"] == state || shift["over"] == true {
                    return Ok(shift);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(PATIENCE, looking)
            .await
            .map_err(|_| format!("the shift is not {state} in time"))?
    }

    async fn admin(&self, method: &str, path: &str, body: &str) -> Checked<Value> {
        let mut stream = TcpStream::connect(self.admin).await?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.admin,
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let end =
            answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or("the admin port said nothing")?;
        Ok(serde_json::from_slice(&answer[end + 4..])?)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Neither fails for a child that was not waited for.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

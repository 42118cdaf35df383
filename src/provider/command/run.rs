//! Running one command to its end: bounded in what it writes, and ended with all that it started when nobody waits any more.

use std::{collections::BTreeMap, process::Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

/// A thousand instances take a tenth of it.
const ANSWER_BYTES: u64 = 1 << 20;
/// What is read of a command's complaints; their end is what is told.
const COMPLAINT_BYTES: u64 = 64 << 10;
/// How much of a complaint goes into an error.
const COMPLAINT_CHARS: usize = 300;

/// A command's processes, which end with this.
struct Running(Child);

/// Gives a command this input, and its whole output back. The error says how it failed.
pub(super) async fn run(
    command: &[String],
    env: &BTreeMap<String, String>,
    input: &[u8],
) -> Result<String, String> {
    let (program, arguments) = command.split_first().ok_or("no command is named")?;
    let child = Command::new(program)
        .args(arguments)
        .envs(env)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("it cannot be run: {error}"))?;
    let mut running = Running(child);
    let (stdin, stdout, stderr) = (running.0.stdin.take(), running.0.stdout.take(), running.0.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // One that does not read its input may know what to do without it.
            drop(stdin.write_all(input).await);
        }
    };
    let ((), answer, complaint) =
        tokio::join!(write, read(stdout, ANSWER_BYTES), read(stderr, COMPLAINT_BYTES));
    let status = running.0.wait().await.map_err(|error| error.to_string())?;
    if !status.success() {
        let complaint = String::from_utf8_lossy(&complaint).trim().to_owned();
        let skipped = complaint.chars().count().saturating_sub(COMPLAINT_CHARS);
        let complaint: String = complaint.chars().skip(skipped).collect();
        return Err(format!("it ended with {status} and said {complaint:?}"));
    }
    if u64::try_from(answer.len()).is_ok_and(|length| length >= ANSWER_BYTES) {
        return Err(format!("it wrote more than {ANSWER_BYTES} bytes"));
    }
    String::from_utf8(answer).map_err(|_| "it wrote what is no UTF-8".to_owned())
}

/// Reads to the end and keeps the first bytes. What comes after them is read too: a full pipe would stop the command.
async fn read(pipe: Option<impl AsyncRead + Unpin>, limit_bytes: u64) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(pipe) = pipe else { return kept };
    let mut pipe = pipe.take(limit_bytes);
    // A pipe that breaks has been read to its end.
    drop(pipe.read_to_end(&mut kept).await);
    drop(tokio::io::copy(&mut pipe.into_inner(), &mut tokio::io::sink()).await);
    kept
}

impl Drop for Running {
    /// A command that has been waited for has no number any more.
    fn drop(&mut self) {
        let pid = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may end at this moment.
            kill_process_group(pid, Signal::KILL).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str) -> Result<String, String> {
        let command = ["sh", "-c", script].map(str::to_owned);
        run(&command, &BTreeMap::from([("WHO".to_owned(), "me".to_owned())]), b"input").await
    }

    #[tokio::test]
    async fn a_command_gets_its_input_and_environment_and_its_output_comes_back() {
        assert_eq!(shell("printf '%s:' $WHO; cat").await.unwrap(), "me:input");
    }

    #[tokio::test]
    async fn a_failing_command_is_told_with_its_last_words() {
        let error = shell("echo no quota left >&2; exit 3").await.unwrap_err();
        assert!(error.contains("3") && error.contains("no quota left"), "{error}");
        assert!(run(&["/nowhere/x".to_owned()], &BTreeMap::new(), b"").await.is_err());
    }

    #[tokio::test]
    async fn output_without_end_is_refused_and_not_kept() {
        let error = shell("head -c 3000000 /dev/zero").await.unwrap_err();
        assert!(error.contains("more than"), "{error}");
    }

    #[tokio::test]
    async fn a_command_that_nobody_waits_for_ends_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", path.display());
        let running = tokio::spawn(async move { shell(&script).await });
        let number = loop {
            match std::fs::read_to_string(&path) {
                Ok(number) => break number.trim().to_owned(),
                Err(_) => tokio::task::yield_now().await,
            }
        };
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        let is_alive = || {
            let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
            stat.contains(") S") || stat.contains(") R")
        };
        while is_alive() {
            tokio::task::yield_now().await;
        }
    }
}

//! Asks a Jiva volume's controller for the modes of its replicas.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::object::Object;

/// The controller's API.
pub const PORT: u16 = 9501;
/// It answers at once or not at all.
const DEADLINE: Duration = Duration::from_secs(10);
/// A list of a handful of replicas; more is not from a controller.
const ANSWER_BYTES_MAX: u64 = 256 * 1024;

/// Whether a Pod of the controller is one to ask: it has an address, and has neither ended nor been told to.
pub fn may_answer(pod: &Object) -> bool {
    !pod.text("/status/podIP").is_empty()
        && pod.text("/metadata/deletionTimestamp").is_empty()
        && !matches!(pod.text("/status/phase"), "Failed" | "Succeeded")
}

/// Why the modes are not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// Nobody listens there.
    NobodyListens,
    /// Whoever listens there did not answer, or not as a controller does.
    NotUnderstood(String),
}

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NobodyListens => f.write_str("connection refused"),
            Self::NotUnderstood(why) => f.write_str(why),
        }
    }
}

/// The mode of each replica: `RW`, `WO`, `ERR`, …
pub async fn modes(address: &str) -> Result<Vec<String>, NoAnswer> {
    match tokio::time::timeout(DEADLINE, ask(address)).await {
        Ok(Ok(answer)) => read(&answer).map_err(NoAnswer::NotUnderstood),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => Err(NoAnswer::NobodyListens),
        Ok(Err(error)) => Err(NoAnswer::NotUnderstood(error.to_string())),
        Err(_) => Err(NoAnswer::NotUnderstood(format!("no answer within {} s", DEADLINE.as_secs()))),
    }
}

/// One request of one known shape: HTTP/1.0, so that the answer ends where the connection does.
async fn ask(address: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /v1/replicas HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(answer)
}

fn read(answer: &[u8]) -> Result<Vec<String>, String> {
    #[derive(serde::Deserialize)]
    struct Replicas {
        data: Vec<Replica>,
    }
    #[derive(serde::Deserialize)]
    struct Replica {
        #[serde(default)]
        mode: String,
    }
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").ok_or("its answer is not HTTP")?;
    let status = head.lines().next().unwrap_or_default();
    if !status.starts_with("HTTP/1.") || status.split(' ').nth(1) != Some("200") {
        return Err(format!("it answered {:?}", status.chars().take(80).collect::<String>()));
    }
    let replicas: Replicas =
        serde_json::from_str(body).map_err(|error| format!("its answer cannot be read: {error}"))?;
    Ok(replicas.data.into_iter().map(|replica| replica.mode.chars().take(16).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modes_are_read() {
        let answer = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n\
            {\"data\":[{\"address\":\"tcp://10.0.0.1:9502\",\"mode\":\"RW\"},{\"mode\":\"WO\"}],\"type\":\"collection\"}";
        assert_eq!(read(answer), Ok(vec!["RW".to_owned(), "WO".to_owned()]));
    }

    #[test]
    fn anything_else_is_not_an_answer() {
        assert!(read(b"").is_err());
        assert!(read(b"HTTP/1.0 503 Service Unavailable\r\n\r\n{\"data\":[]}").unwrap_err().contains("503"));
        assert!(read(b"HTTP/1.1 200 OK\r\n\r\n<html>").is_err());
    }
}

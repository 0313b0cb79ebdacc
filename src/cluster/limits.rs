//! What one call, one answer, one reading and one connection may take.

use std::time::Duration;

/// The limits of a cluster's connection. Every one of them exists because some server ignores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For name, TCP, tunnel and TLS together.
    pub connect: Duration,
    /// From the request to the answer's status and headers.
    pub headers: Duration,
    /// Between two pieces of a body. A watch may be silent for longer: pings notice when its server is gone.
    pub idle: Duration,
    /// From the request to the end of the answer, unless the call says otherwise.
    pub total: Duration,
    /// For one watch; the API server is asked to end it a little earlier.
    pub watch: Duration,
    /// Bytes of an answer.
    pub body_bytes: usize,
    /// Bytes of one line of a watch: an object has at most 1.5 MiB in etcd, and managed fields come on top.
    pub watch_line_bytes: usize,
    /// Bytes of a whole watch.
    pub watch_bytes: usize,
    /// For one list with all its pages, and for a whole inventory: a slow line needs a minute or two.
    pub reading: Duration,
    /// Pages of one list, and of all lists of an inventory together: 500 objects each where nobody cheats, and no edge
    /// cluster has a hundred thousand.
    pub reading_pages: usize,
    /// Bytes of all lists of an inventory together: a thousand volumes and their Pods have some 20 MiB.
    pub reading_bytes: usize,
    /// After which an unused connection is closed.
    pub idle_connection: Duration,
    /// Between two HTTP/2 pings while requests are under way; a server that does not answer one within as long is gone.
    pub ping: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            headers: Duration::from_secs(20),
            idle: Duration::from_secs(10),
            total: Duration::from_mins(1),
            watch: Duration::from_mins(5),
            body_bytes: 16 * 1024 * 1024,
            watch_line_bytes: 3 * 1024 * 1024,
            watch_bytes: 64 * 1024 * 1024,
            reading: Duration::from_mins(5),
            reading_pages: 1_000,
            reading_bytes: 256 * 1024 * 1024,
            // Longer than the usual poll, so that one connection serves a whole upgrade.
            idle_connection: Duration::from_secs(90),
            ping: Duration::from_secs(15),
        }
    }
}

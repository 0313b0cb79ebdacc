//! Names to addresses. The system's resolver blocks a thread until it answers or gives up, which nobody can cut short:
//! so that the threads of a dead zone are not everybody's, each zone has some of its own.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

/// Look-ups at once in one zone. Names of a living zone take milliseconds: thousands of clusters are looked up in a second
/// or two. Tokio has 512 threads for this: a dozen dead zones leave enough for the living.
const AT_ONCE_IN_A_ZONE: usize = 32;

/// Zones that are remembered while nothing is looked up in them.
const ZONES_KEPT: usize = 1_000;

/// Every look-up of the hub's.
#[derive(Debug, Default)]
pub struct Lookups {
    zones: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Lookups {
    /// The addresses of `host`.
    pub(super) async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let name = host.to_owned();
        self.in_zone(zone(host), move || Ok((name, port).to_socket_addrs()?.collect())).await
    }

    /// Does `work` on a thread when the zone has one free. Whoever gives up waiting leaves the thread counted until it
    /// has ended.
    async fn in_zone<T: Send + 'static>(
        &self,
        zone: &str,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let permit = self.zone(zone).acquire_owned().await.map_err(io::Error::other)?;
        let looking = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        looking.await.map_err(io::Error::other)?
    }

    fn zone(&self, zone: &str) -> Arc<Semaphore> {
        let mut zones = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        if zones.len() > ZONES_KEPT {
            // Whoever looks something up holds its zone, too.
            zones.retain(|_, threads| Arc::strong_count(threads) > 1);
        }
        Arc::clone(zones.entry(zone.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE_IN_A_ZONE))))
    }
}

/// What answers for a name, as far as the name tells: `k8s.berlin.example` lies in `berlin.example`.
fn zone(host: &str) -> &str {
    match host.trim_end_matches('.').split_once('.') {
        Some((_, zone)) if zone.contains('.') => zone,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn neighbours_share_a_zone_and_short_names_are_their_own() {
        assert_eq!(zone("a.berlin.example"), zone("b.berlin.example"));
        assert_ne!(zone("a.berlin.example"), zone("a.ulm.example"));
        assert_ne!(zone("berlin.example"), zone("ulm.example"));
        assert_eq!(zone("localhost"), "localhost");
    }

    #[tokio::test]
    async fn a_dead_zone_keeps_no_more_than_its_own_threads_even_when_nobody_waits_any_more() {
        let lookups = Lookups::default();
        let (dead, silence) = std::sync::mpsc::channel::<()>();
        let silence = Arc::new(Mutex::new(silence));
        let never = || {
            let silence = Arc::clone(&silence);
            move || {
                let _ = silence.lock().map(|silence| silence.recv());
                Ok(())
            }
        };
        let waiting = (0..2 * AT_ONCE_IN_A_ZONE)
            .map(|_| tokio::time::timeout(Duration::from_millis(50), lookups.in_zone("dead.example", never())));
        assert!(futures::future::join_all(waiting).await.iter().all(Result::is_err), "nobody answers there");
        assert_eq!(lookups.zone("dead.example").available_permits(), 0, "its threads are still at it");
        assert_eq!(lookups.in_zone("living.example", || Ok(7)).await.unwrap(), 7);
        drop(dead);
        let permits = u32::try_from(AT_ONCE_IN_A_ZONE).unwrap();
        let all = lookups.zone("dead.example").acquire_many_owned(permits).await;
        assert!(all.is_ok(), "the zone lives again");
    }
}

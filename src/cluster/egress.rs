//! The hub's own ways out to clusters behind proxies: `edge.egress.NAME`.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use secrecy::{ExposeSecret as _, SecretString};

/// A proxy that the hub's administrator named. What lies behind it is resolved and judged by the proxy, not by us.
#[derive(Clone)]
pub struct Egress {
    pub(super) kind: EgressKind,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: Option<(String, SecretString)>,
}

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EgressKind {
    /// `http://`: a tunnel by HTTP CONNECT.
    Connect,
    /// `socks5://`: names are resolved by the proxy.
    Socks5,
}

/// The text is not a proxy that can be used. Never repeats it: it may carry a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not http://[USER:PASSWORD@]HOST:PORT or socks5://[USER:PASSWORD@]HOST:PORT")]
pub struct InvalidEgress;

impl Egress {
    /// The proxy's own address, for the connector.
    pub(super) fn uri(&self) -> Uri {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("http://{host}:{}", self.port).parse().expect("a host and a port that were parsed make a URI")
    }

    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let (user, password) = self.user.as_ref()?;
        let pair = STANDARD.encode(format!("{user}:{}", password.expose_secret()));
        let mut value = HeaderValue::from_str(&format!("Basic {pair}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl FromStr for Egress {
    type Err = InvalidEgress;

    fn from_str(text: &str) -> Result<Self, InvalidEgress> {
        let (scheme, rest) = text.trim().split_once("://").ok_or(InvalidEgress)?;
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "http" => EgressKind::Connect,
            "socks5" | "socks5h" => EgressKind::Socks5,
            _ => return Err(InvalidEgress),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, address) = match rest.rsplit_once('@') {
            Some((user, address)) => {
                let (user, password) = user.split_once(':').ok_or(InvalidEgress)?;
                // The limit of SOCKS5.
                if user.is_empty() || user.len() > 255 || password.len() > 255 {
                    return Err(InvalidEgress);
                }
                (Some((user.to_owned(), SecretString::from(password))), address)
            }
            None => (None, rest),
        };
        let authority: http::uri::Authority = address.parse().map_err(|_| InvalidEgress)?;
        let port = authority.port_u16().filter(|port| *port != 0).ok_or(InvalidEgress)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(InvalidEgress);
        }
        Ok(Self { kind, host, port, user })
    }
}

/// Without the password.
impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, host, port, user: _ } = self;
        f.debug_struct("Egress").field("kind", kind).field("host", host).field("port", port).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read_and_their_passwords_hidden() {
        let proxy: Egress = "socks5://hub:canary@[fd00::1]:1080/".parse().unwrap();
        assert_eq!((proxy.kind, proxy.host.as_str(), proxy.port), (EgressKind::Socks5, "fd00::1", 1080));
        assert_eq!(proxy.uri().to_string(), "http://[fd00::1]:1080/");
        assert!(!format!("{proxy:?}").contains("canary"));
        let proxy: Egress = "http://hub:canary@proxy.example:3128".parse().unwrap();
        assert_eq!(proxy.authorization().unwrap(), "Basic aHViOmNhbmFyeQ==");
        assert!("http://proxy.example:3128".parse::<Egress>().unwrap().authorization().is_none());
    }

    #[test]
    fn what_is_no_proxy_is_refused() {
        for text in ["", "proxy:3128", "https://proxy:3128", "http://proxy", "http://:3128", "http://canary@proxy:1"] {
            assert_eq!(text.parse::<Egress>().err(), Some(InvalidEgress), "{text}");
        }
    }
}

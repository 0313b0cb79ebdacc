//! Which addresses the hub connects to: judged on the address that a name resolved to, never on the name.
//!
//! A kubeconfig is user input. Without this, `server: https://169.254.169.254/` or a name that resolves to the hub's
//! own loopback would make the hub speak to whatever listens there, with a credential of the attacker's choice.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::str::FromStr;

/// A range of addresses, such as `10.0.0.0/8` or `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    base: IpAddr,
    prefix_bits: u8,
}

/// The text is not a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a network (expected ADDRESS/BITS, for example 10.0.0.0/8, or one address)")]
pub struct InvalidNetwork(String);

/// The rules of `edge.allow_networks`, `edge.only_networks`, `edge.deny_networks`, and our own listeners.
#[derive(Debug, Clone, Default)]
pub struct AddressPolicy {
    /// Lifts the default denials for these networks and restricts nothing else.
    pub allow: Vec<Network>,
    /// If not empty, nothing outside these networks is connected to.
    pub only: Vec<Network>,
    /// Never connected to, whatever the other lists say.
    pub deny: Vec<Network>,
    /// Where this daemon listens: never connected to. A listener on all addresses is every address of this machine, and
    /// every one that the default denials would catch, with its port.
    pub own_listeners: Vec<SocketAddr>,
}

/// Why an address is not connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// `edge.deny_networks` names it.
    #[error("{address} lies in {network}, which edge.deny_networks forbids")]
    Network {
        /// What was to be connected to.
        address: IpAddr,
        /// The network that was named.
        network: Network,
    },
    /// `edge.only_networks` is set and does not name it.
    #[error("{address} lies in none of edge.only_networks")]
    OutsideOnly {
        /// What was to be connected to.
        address: IpAddr,
    },
    /// This daemon listens there.
    #[error("{0} is where this daemon itself listens")]
    OwnListener(SocketAddr),
    /// Never the address of an edge cluster by default.
    #[error("{address} is {what}; edge.allow_networks can allow it")]
    Special {
        /// What was to be connected to.
        address: IpAddr,
        /// What kind of address that is.
        what: Special,
    },
}

/// The kinds of addresses that are denied by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// 127.0.0.0/8, ::1.
    Loopback,
    /// 169.254.0.0/16, fe80::/10.
    LinkLocal,
    /// Where clouds hand out credentials to whoever asks.
    Metadata,
    /// 0.0.0.0/8, ::.
    Unspecified,
    /// 224.0.0.0/4, ff00::/8.
    Multicast,
    /// 240.0.0.0/4 with the broadcast address.
    Reserved,
}

/// Metadata services that do not live in the link-local range (whose own addresses are denied with it).
const METADATA: [IpAddr; 5] = [
    // Alibaba
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Azure's wire server
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // Oracle
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    // Amazon
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    // Google
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

impl AddressPolicy {
    /// Whether the hub may connect to `host`, as far as that can be told before it is resolved: an address, or a name
    /// that is loopback everywhere. Any other name is judged by what it resolves to, whenever it is connected to.
    pub fn judge_unresolved(&self, host: &str, port: u16) -> Result<(), Denied> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let address = match host == "localhost" || host.ends_with(".localhost") {
            true => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            false => host.parse().ok(),
        };
        address.map_or(Ok(()), |address| self.judge(SocketAddr::new(address, port)))
    }

    /// Whether the hub may connect to `to`, an address as it came out of the resolver.
    pub fn judge(&self, to: SocketAddr) -> Result<(), Denied> {
        let address = to.ip();
        // All the addresses that this one reaches: ::ffff:127.0.0.1 is 127.0.0.1 in other clothes.
        let faces = [Some(address), embedded_v4(address).map(IpAddr::V4)];
        let faces = || faces.iter().flatten().copied();

        if let Some(network) = self.deny.iter().find(|network| faces().any(|face| network.contains(face))) {
            return Err(Denied::Network { address, network: *network });
        }
        let special = faces().find_map(special);
        for own in &self.own_listeners {
            let on_all = || own.ip().is_unspecified() && (special.is_some() || faces().any(is_of_this_machine));
            if own.port() == to.port() && (faces().any(|face| face == own.ip()) || on_all()) {
                return Err(Denied::OwnListener(*own));
            }
        }
        let named_in = |networks: &[Network]| networks.iter().any(|network| faces().any(|face| network.contains(face)));
        if !self.only.is_empty() && !named_in(&self.only) {
            return Err(Denied::OutsideOnly { address });
        }
        match special {
            Some(what) if !named_in(&self.allow) => Err(Denied::Special { address, what }),
            _ => Ok(()),
        }
    }
}

/// Whether this machine has the address. Interfaces come and go, so it is asked each time: the system lets a socket have
/// no address but the machine's own. Nothing is sent.
fn is_of_this_machine(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

fn special(address: IpAddr) -> Option<Special> {
    if METADATA.contains(&address) || address == IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)) {
        return Some(Special::Metadata);
    }
    match address {
        IpAddr::V4(address) => match address.octets() {
            [0, ..] => Some(Special::Unspecified),
            [127, ..] => Some(Special::Loopback),
            [169, 254, ..] => Some(Special::LinkLocal),
            [224..=239, ..] => Some(Special::Multicast),
            [240..=255, ..] => Some(Special::Reserved),
            _ => None,
        },
        IpAddr::V6(address) => match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0] => Some(Special::Unspecified),
            [0, 0, 0, 0, 0, 0, 0, 1] => Some(Special::Loopback),
            [0xfe80..=0xfebf, ..] => Some(Special::LinkLocal),
            [0xff00..=0xffff, ..] => Some(Special::Multicast),
            _ => None,
        },
    }
}

/// The IPv4 address that an IPv6 one stands for: mapped (::ffff:0:0/96), compatible (::/96), NAT64 (64:ff9b::/96) and
/// 6to4 (2002::/16).
fn embedded_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return None };
    let join = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        // :: and ::1 are themselves.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some(join(high, low))
        }
        _ => None,
    }
}

impl Network {
    /// Whether `address` lies in it. An IPv4 network holds no IPv6 addresses, whatever they embed.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix_bits)).unwrap_or(0);
                base.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix_bits)).unwrap_or(0);
                base.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let invalid = || InvalidNetwork(text.chars().take(64).collect());
        let (base, bits) = text.trim().split_once('/').map_or((text.trim(), None), |(base, bits)| (base, Some(bits)));
        let base: IpAddr = base.parse().map_err(|_| invalid())?;
        let bits_max = if base.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match bits {
            None => bits_max,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => bits.parse().map_err(|_| invalid())?,
            Some(_) => return Err(invalid()),
        };
        (prefix_bits <= bits_max).then_some(Self { base, prefix_bits }).ok_or_else(invalid)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix_bits)
    }
}

impl fmt::Display for Special {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "a loopback address",
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "a cloud's metadata service",
            Self::Unspecified => "no address of a machine",
            Self::Multicast => "a multicast address",
            Self::Reserved => "a reserved address",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn at(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 6443)
    }

    fn what(policy: &AddressPolicy, address: &str) -> Option<Special> {
        match policy.judge(at(address)) {
            Err(Denied::Special { what, .. }) => Some(what),
            Err(other) => panic!("{address}: {other}"),
            Ok(()) => None,
        }
    }

    #[test]
    fn private_and_public_addresses_are_where_edges_live() {
        let policy = AddressPolicy::default();
        for address in [
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.9",
            "203.0.113.9",
            "fd12::1",
            "2001:db8::1",
            "128.0.0.1",
        ] {
            assert_eq!(what(&policy, address), None, "{address}");
        }
    }

    #[test]
    fn special_addresses_are_denied_in_all_their_clothes() {
        use Special::{LinkLocal, Loopback, Metadata, Multicast, Reserved, Unspecified};
        let table = [
            ("127.0.0.1", Loopback),
            ("127.255.255.254", Loopback),
            ("::1", Loopback),
            ("::ffff:127.0.0.1", Loopback),
            ("::127.0.0.1", Loopback),
            ("64:ff9b::7f00:1", Loopback),
            ("2002:7f00:1::", Loopback),
            ("169.254.1.1", LinkLocal),
            ("fe80::1", LinkLocal),
            ("febf::1", LinkLocal),
            ("169.254.169.254", Metadata),
            ("::ffff:169.254.169.254", Metadata),
            ("64:ff9b::a9fe:a9fe", Metadata),
            ("fd00:ec2::254", Metadata),
            ("fd20:ce::254", Metadata),
            ("100.100.100.200", Metadata),
            ("168.63.129.16", Metadata),
            ("0.0.0.0", Unspecified),
            ("0.1.2.3", Unspecified),
            ("::", Unspecified),
            ("::ffff:0.0.0.0", Unspecified),
            ("224.0.0.1", Multicast),
            ("ff02::1", Multicast),
            ("255.255.255.255", Reserved),
            ("240.0.0.1", Reserved),
        ];
        for (address, special) in table {
            assert_eq!(what(&AddressPolicy::default(), address), Some(special), "{address}");
        }
    }

    #[test]
    fn allowing_lifts_default_denials_and_restricts_nothing() {
        let policy = AddressPolicy { allow: networks(&["127.0.0.0/8"]), ..AddressPolicy::default() };
        assert_eq!(what(&policy, "127.0.0.1"), None);
        assert_eq!(what(&policy, "::ffff:127.0.0.1"), None);
        assert_eq!(what(&policy, "10.0.0.1"), None);
        assert_eq!(what(&policy, "::1"), Some(Special::Loopback));
        assert_eq!(what(&policy, "169.254.169.254"), Some(Special::Metadata));
    }

    #[test]
    fn only_restricts_but_lifts_no_default_denial() {
        let policy = AddressPolicy { only: networks(&["10.0.0.0/8", "127.0.0.0/8"]), ..AddressPolicy::default() };
        assert_eq!(what(&policy, "10.0.0.1"), None);
        assert_eq!(what(&policy, "127.0.0.1"), Some(Special::Loopback));
        let outside = at("192.168.0.1");
        assert_eq!(policy.judge(outside), Err(Denied::OutsideOnly { address: outside.ip() }));
    }

    #[test]
    fn deny_beats_the_other_two() {
        let policy = AddressPolicy {
            allow: networks(&["127.0.0.1"]),
            only: networks(&["127.0.0.1/32", "10.0.0.0/8"]),
            deny: networks(&["127.0.0.1/32", "10.9.0.0/16"]),
            ..AddressPolicy::default()
        };
        assert!(matches!(policy.judge(at("127.0.0.1")), Err(Denied::Network { .. })));
        assert!(matches!(policy.judge(at("::ffff:10.9.1.1")), Err(Denied::Network { .. })));
        assert_eq!(policy.judge(at("10.8.1.1")), Ok(()));
    }

    #[test]
    fn our_own_listeners_are_denied_even_when_loopback_is_allowed() {
        let policy = AddressPolicy {
            allow: networks(&["127.0.0.0/8"]),
            own_listeners: vec!["127.0.0.1:8480".parse().unwrap(), "0.0.0.0:9090".parse().unwrap()],
            ..AddressPolicy::default()
        };
        let judge = |to: &str| policy.judge(to.parse().unwrap());
        assert!(matches!(judge("127.0.0.1:8480"), Err(Denied::OwnListener(_))));
        assert!(matches!(judge("[::ffff:127.0.0.1]:8480"), Err(Denied::OwnListener(_))));
        assert!(matches!(judge("127.0.0.5:9090"), Err(Denied::OwnListener(_))));
        assert_eq!(judge("127.0.0.1:8481"), Ok(()));
        assert_eq!(judge("10.0.0.1:9090"), Ok(()));
    }

    #[test]
    fn a_listener_on_all_addresses_is_denied_at_each_that_this_machine_has() {
        assert!(is_of_this_machine("127.0.0.1".parse().unwrap()));
        assert!(!is_of_this_machine("203.0.113.9".parse().unwrap()));
        // Whatever this machine would speak to the world from; without a way to the world it may have none.
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        let Ok(own) = socket.connect("203.0.113.9:9").and_then(|()| socket.local_addr()) else { return };
        let listening =
            |on: &str| AddressPolicy { own_listeners: vec![on.parse().unwrap()], ..AddressPolicy::default() };
        let to = SocketAddr::new(own.ip(), 9090);
        assert!(matches!(listening("0.0.0.0:9090").judge(to), Err(Denied::OwnListener(_))));
        assert_eq!(listening("0.0.0.0:9091").judge(to), Ok(()), "another port may be an edge's on the same machine");
        assert_eq!(listening("127.0.0.1:9090").judge(to), Ok(()), "nobody of ours listens there");
    }

    #[test]
    fn an_address_in_a_url_is_judged_before_anything_is_resolved() {
        let judge = |host: &str| AddressPolicy::default().judge_unresolved(host, 443);
        for host in ["169.254.169.254", "127.0.0.1", "::1", "localhost", "LocalHost.", "a.localhost"] {
            assert!(matches!(judge(host), Err(Denied::Special { .. })), "{host}");
        }
        for host in ["10.0.0.1", "k8s.example", "localhost.example", "mylocalhost"] {
            assert_eq!(judge(host), Ok(()), "{host}");
        }
    }

    #[test]
    fn networks_are_read_and_written() {
        assert!(networks(&["0.0.0.0/0"])[0].contains("203.0.113.1".parse().unwrap()));
        assert!(networks(&["::/0"])[0].contains("2001:db8::1".parse().unwrap()));
        assert!(networks(&["2001:db8::/33"])[0].contains("2001:db8:7fff::1".parse().unwrap()));
        assert!(!networks(&["2001:db8::/33"])[0].contains("2001:db8:8000::1".parse().unwrap()));
        assert_eq!(networks(&[" 10.0.0.0/8"])[0].to_string(), "10.0.0.0/8");
        for text in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "10.0.0.0/+8", "localhost", "10.0.0.0/8/8"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}

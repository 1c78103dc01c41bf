//! Which addresses workers reach beyond their own loopback interface: a table of networks, the longest prefix decides.
//!
//! The same table is enforced twice: as routes of each worker's network namespace, and by whoever takes the worker's
//! connections ([`crate::EgressSockets`]), which is the wall that counts. IPv4 only, as functions outside a VPC have it.

use std::net::Ipv4Addr;

/// Where a worker finds its name server; on port 53 of it, and nothing else of it, queries arrive like other traffic.
pub const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(169, 254, 78, 1);
/// The address that a worker's packets come from.
pub const WORKER_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 76, 1);

/// Most networks that can be opened: each is a route to be made per worker.
pub const OPEN_MAX: usize = 64;

/// Not the internet: this network, private use, shared use (carriers), loopback, link-local (metadata services too),
/// protocol assignments, benchmarks, multicast, reserved and broadcast. RFC 6890.
const CLOSED: [([u8; 4], u8); 11] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// A network of IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its first address.
    pub address: Ipv4Addr,
    /// How many leading bits are the network's: 0 to 32.
    pub prefix: u8,
}

impl Network {
    /// Whether the address is in it.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.address.to_bits()
    }
}

impl std::str::FromStr for Network {
    type Err = String;

    /// `203.0.113.0/24`, or an address alone.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no IPv4 network such as 203.0.113.0/24 (IPv6 is not served)");
        let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().ok().filter(|p| *p <= 32).ok_or_else(wrong)?;
        if address.to_bits() & !mask(prefix) != 0 {
            let first = Ipv4Addr::from_bits(address.to_bits() & mask(prefix));
            return Err(format!("`{text}` has bits beyond its prefix: write {first}/{prefix}"));
        }
        Ok(Network { address, prefix })
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// A network, and whether workers reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The network.
    pub network: Network,
    /// Whether it is reached.
    pub is_open: bool,
}

/// What workers reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress {
    routes: Vec<Route>,
}

impl Egress {
    /// The public internet if `internet`, and the networks of `open`, private ones too.
    ///
    /// # Errors
    /// More than [`OPEN_MAX`] networks, or one with loopback addresses: those are each worker's own.
    pub fn new(internet: bool, open: &[Network]) -> Result<Egress, String> {
        if open.len() > OPEN_MAX {
            return Err(format!("more than {OPEN_MAX} networks"));
        }
        let mut routes = Vec::new();
        if internet {
            let all = Network { address: Ipv4Addr::UNSPECIFIED, prefix: 0 };
            routes.push(Route { network: all, is_open: true });
            routes.extend(CLOSED.map(|(address, prefix)| {
                let network = Network { address: address.into(), prefix };
                Route { network, is_open: false }
            }));
        }
        for network in open {
            if network.contains(Ipv4Addr::LOCALHOST) || network.address.is_loopback() {
                return Err(format!(
                    "{}/{} holds loopback addresses, which are a function's own",
                    network.address, network.prefix
                ));
            }
            routes.retain(|r| r.network != *network);
            routes.push(Route { network: *network, is_open: true });
        }
        Ok(Egress { routes })
    }

    /// The public internet alone.
    #[must_use]
    pub fn internet() -> Egress {
        Egress::new(true, &[]).unwrap_or(Egress { routes: Vec::new() })
    }

    /// Every route.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The route that decides about an address.
    #[must_use]
    pub fn route(&self, address: Ipv4Addr) -> Option<Route> {
        self.routes.iter().filter(|r| r.network.contains(address)).max_by_key(|r| r.network.prefix).copied()
    }

    /// Whether workers reach the address.
    #[must_use]
    pub fn allows(&self, address: Ipv4Addr) -> bool {
        self.route(address).is_some_and(|r| r.is_open)
    }

    /// From the routes themselves, as they come over the wire.
    pub(crate) fn from_routes(routes: Vec<Route>) -> Egress {
        Egress { routes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().expect("a network")
    }

    fn check(egress: &Egress, address: &str, expected: bool) {
        assert_eq!(egress.allows(address.parse().expect("an address")), expected, "{address}");
    }

    #[test]
    fn the_internet_is_what_is_public() {
        let egress = Egress::internet();
        for open in ["1.1.1.1", "198.51.100.1", "203.0.113.255", "100.63.255.255", "100.128.0.0", "172.32.0.1"] {
            check(&egress, open, true);
        }
        for closed in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "169.254.78.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "239.1.1.1",
            "255.255.255.255",
        ] {
            check(&egress, closed, false);
        }
    }

    #[test]
    fn a_list_opens_what_it_names_and_nothing_else() {
        let egress = Egress::new(false, &[network("10.1.0.0/16"), network("203.0.113.7")]).expect("a table");
        check(&egress, "10.1.255.1", true);
        check(&egress, "203.0.113.7", true);
        check(&egress, "203.0.113.8", false);
        check(&egress, "10.2.0.1", false);
        let both = Egress::new(true, &[network("10.1.0.0/16")]).expect("a table");
        check(&both, "10.1.0.1", true);
        check(&both, "10.2.0.1", false);
        check(&both, "1.1.1.1", true);
        let closed = Egress::new(true, &[network("10.0.0.0/8")]).expect("a table");
        check(&closed, "10.2.0.1", true);
    }

    #[test]
    fn networks_are_read_strictly() {
        assert_eq!(network("0.0.0.0/0").prefix, 0);
        for wrong in ["", "10.0.0.1/8", "10.0.0.0/33", "fd00::/8", "example.com", "10.0.0/8"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
        assert!(Egress::new(true, &[network("127.0.0.0/8")]).is_err());
        assert!(Egress::new(true, &[network("0.0.0.0/0")]).is_err());
        assert!(Egress::new(false, &vec![network("10.0.0.0/8"); OPEN_MAX + 1]).is_err());
    }
}

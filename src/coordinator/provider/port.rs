//! Ports: any one of a range, or one by its number. A port that a program outside of mirror uses is not given out.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};

use crate::config::PortRange;
use crate::coordinator::Error;
use crate::coordinator::provider::{Fitness, Provider, Stock, Which, Wish};
use crate::model::{AnyOf, Candidates, Lock, LockSet, Mode, Pool, Resource, Share};

/// Gives out ports of one range.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    range: PortRange,
}

/// What a server may bind to: a port that is taken on one of them is taken.
const ADDRESSES: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::UNSPECIFIED),
];

impl Ports {
    /// Gives out ports of `range`.
    pub fn new(range: PortRange) -> Self {
        Self { range }
    }
}

impl Provider for Ports {
    fn kind(&self) -> &'static str {
        "port"
    }

    fn allocate(&self, wishes: &[Wish], wants: &mut LockSet) -> Result<(), Error> {
        let candidates = Candidates::Ports {
            first: self.range.first,
            last: self.range.last,
        };
        let mut count = 0;
        let mut has_any = false;
        let mut named = BTreeSet::new();
        for wish in wishes {
            match &wish.which {
                Which::Any => {
                    has_any = true;
                    count += 1;
                }
                Which::This(number) => {
                    named.insert(port(number)?);
                }
                Which::Amount(_) => return Err(Error::Usage("A port has no amount".to_owned())),
            }
        }
        for number in named {
            let resource = Resource::Port(number);
            // Whoever asks for one by name and for any other gets two.
            count += u32::from((self.range.first..=self.range.last).contains(&number));
            wants.insert(Lock {
                resource,
                mode: Mode::Write,
            });
        }
        if has_any {
            wants.share(Share::AnyOf(AnyOf {
                candidates,
                count,
                excluded: BTreeSet::new(),
            }));
        }
        Ok(())
    }

    fn owns(&self, resource: &Resource) -> bool {
        matches!(resource, Resource::Port(_))
    }

    fn validate(&self, resource: &Resource, held: &BTreeSet<Resource>) -> Result<Fitness, Error> {
        let Resource::Port(number) = resource else {
            return Ok(Fitness::Good);
        };
        let Some(reason) = in_use(*number) else {
            return Ok(Fitness::Good);
        };
        // What nobody holds and is in use all the same belongs to strangers too: one look finds all of them.
        let unheld =
            (self.range.first..=self.range.last).filter(|number| !held.contains(&Resource::Port(*number)));
        let also = unheld
            .filter(|number| in_use(*number).is_some())
            .map(Resource::Port);
        Ok(Fitness::Bad {
            reason,
            also: also.collect(),
        })
    }

    fn stock(&self) -> Vec<Stock> {
        let PortRange { first, last } = self.range;
        vec![Stock {
            name: format!("{first}-{last}"),
            pool: Pool::Ports,
            total: u64::from(last - first) + 1,
            tags: Vec::new(),
        }]
    }
}

fn port(text: &str) -> Result<u16, Error> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| {
        Error::Usage(format!(
            "Invalid port {text:?}: a number from 1 to 65535 is needed"
        ))
    })
}

/// Tells why nobody could serve on a port. It is bound for an instant, and nobody is answered.
fn in_use(number: u16) -> Option<String> {
    ADDRESSES
        .iter()
        .find_map(|address| match TcpListener::bind((*address, number)) {
            Ok(_) => None,
            Err(error) => match error.kind() {
                io::ErrorKind::AddrInUse => Some(format!("another program uses {address} port {number}")),
                io::ErrorKind::PermissionDenied => Some(format!("binding port {number} is not permitted")),
                // A machine without IPv6 cannot serve there either, so nobody is in the way.
                _ => None,
            },
        })
}

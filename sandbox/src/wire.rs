//! What server and spawner say to each other: one message per packet, lengths before contents, little endian.
//!
//! Paths and arguments are bytes and need not be text, which is why this is not JSON. Both ends are the same binary,
//! so there is no version.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::egress::{Egress, Network, Route};
use crate::{Exit, Level, Mount, PoolStats, Reach, Spec, Start, ZygoteSpec};

/// Largest packet: below the default send buffer (208 KiB), which a packet must fit in whole.
pub(crate) const PACKET_BYTES_MAX: usize = 192 << 10;

/// The packet could not be read: the peer is not the same program.
#[derive(Debug)]
pub(crate) struct Malformed;

#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn number(&mut self, n: u64) -> &mut Self {
        self.0.extend_from_slice(&n.to_le_bytes());
        self
    }
    pub(crate) fn bytes(&mut self, b: &[u8]) -> &mut Self {
        self.number(b.len() as u64);
        self.0.extend_from_slice(b);
        self
    }
    pub(crate) fn text(&mut self, s: impl AsRef<OsStr>) -> &mut Self {
        self.bytes(s.as_ref().as_bytes())
    }
    fn option(&mut self, n: Option<u64>) -> &mut Self {
        self.number(u64::from(n.is_some())).number(n.unwrap_or(0))
    }
}

pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(Malformed)?;
        self.0 = tail;
        Ok(head)
    }
    pub(crate) fn number(&mut self) -> Result<u64, Malformed> {
        let b = self.take(8)?;
        Ok(u64::from_le_bytes(b.try_into().map_err(|_| Malformed)?))
    }
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let n = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        self.take(n)
    }
    pub(crate) fn os(&mut self) -> Result<OsString, Malformed> {
        Ok(OsString::from_vec(self.bytes()?.to_vec()))
    }
    pub(crate) fn path(&mut self) -> Result<PathBuf, Malformed> {
        Ok(self.os()?.into())
    }
    pub(crate) fn string(&mut self) -> Result<String, Malformed> {
        Ok(String::from_utf8_lossy(self.bytes()?).into_owned())
    }
    fn option(&mut self) -> Result<Option<u64>, Malformed> {
        let some = self.number()? != 0;
        let n = self.number()?;
        Ok(some.then_some(n))
    }
    fn narrow<T: TryFrom<u64>>(&mut self) -> Result<T, Malformed> {
        T::try_from(self.number()?).map_err(|_| Malformed)
    }
    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T, Malformed>) -> Result<Vec<T>, Malformed> {
        let n = self.number()?;
        (0..n).map(|_| item(self)).collect()
    }
}

/// Server to spawner.
#[derive(Debug)]
pub(crate) enum Order {
    Configure {
        level: Level,
        run_dir: PathBuf,
        pool: usize,
        egress: Reach,
    },
    Spawn {
        seq: u64,
        spec: Box<Spec>,
    },
    Zygote {
        zygote: u64,
        spec: Box<ZygoteSpec>,
    },
    EndZygote {
        zygote: u64,
    },
    /// How many forks of a zygote are to wait for functions.
    Stock {
        zygote: u64,
        count: usize,
    },
    /// How many sandboxes are kept ready besides.
    Target {
        count: usize,
    },
    Stop,
}

/// Spawner to server.
#[derive(Debug, PartialEq)]
pub(crate) enum News {
    /// The configuration is in force. The cgroup base directories follow, if there are any.
    Ready {
        cgroups: Vec<u8>,
        note: String,
    },
    /// It cannot be.
    Refused {
        missing: String,
    },
    /// With descriptors: pidfd, Runtime API listener, endpoint listener, output.
    Spawned {
        seq: u64,
        worker: u64,
        pid: i32,
    },
    Failed {
        seq: u64,
        reason: String,
    },
    Exited {
        worker: u64,
        exit: Exit,
        memory_peak_bytes: u64,
    },
    Stats(PoolStats),
    /// The zygote takes forks; the text is its interpreter's.
    ZygoteReady {
        zygote: u64,
        text: String,
    },
    /// It has ended, or never came to life.
    ZygoteGone {
        zygote: u64,
        reason: String,
    },
}

impl Order {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        match self {
            Order::Configure { level, run_dir, pool, egress } => {
                w.number(1).number(*level as u64).text(run_dir).number(*pool as u64);
                write_reach(&mut w, egress);
            }
            Order::Spawn { seq, spec } => {
                w.number(2).number(*seq);
                write_spec(&mut w, spec);
            }
            Order::Stop => {
                w.number(3);
            }
            Order::Zygote { zygote, spec } => {
                w.number(4).number(*zygote);
                write_zygote(&mut w, spec);
            }
            Order::EndZygote { zygote } => {
                w.number(5).number(*zygote);
            }
            Order::Stock { zygote, count } => {
                w.number(6).number(*zygote).number(*count as u64);
            }
            Order::Target { count } => {
                w.number(7).number(*count as u64);
            }
        }
        w.0
    }

    pub(crate) fn decode(packet: &[u8]) -> Result<Order, Malformed> {
        let mut r = Reader(packet);
        Ok(match r.number()? {
            1 => Order::Configure {
                level: match r.number()? {
                    0 => Level::None,
                    1 => Level::Namespaces,
                    2 => Level::Full,
                    _ => return Err(Malformed),
                },
                run_dir: r.path()?,
                pool: r.narrow()?,
                egress: read_reach(&mut r)?,
            },
            2 => Order::Spawn { seq: r.number()?, spec: Box::new(read_spec(&mut r)?) },
            3 => Order::Stop,
            4 => Order::Zygote { zygote: r.number()?, spec: Box::new(read_zygote(&mut r)?) },
            5 => Order::EndZygote { zygote: r.number()? },
            6 => Order::Stock { zygote: r.number()?, count: r.narrow()? },
            7 => Order::Target { count: r.narrow()? },
            _ => return Err(Malformed),
        })
    }
}

impl News {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        match self {
            News::Ready { cgroups, note } => {
                w.number(1).bytes(cgroups).text(note);
            }
            News::Refused { missing } => {
                w.number(2).text(missing);
            }
            News::Spawned { seq, worker, pid } => {
                w.number(3).number(*seq).number(*worker).number(*pid as u64);
            }
            News::Failed { seq, reason } => {
                w.number(4).number(*seq).text(reason);
            }
            News::Exited { worker, exit, memory_peak_bytes } => {
                w.number(5).number(*worker).option(exit.code.map(|c| c as u64));
                w.option(exit.signal.map(|s| s as u64));
                w.number(u64::from(exit.oom)).number(*memory_peak_bytes);
            }
            News::Stats(s) => {
                w.number(6).number(s.ready as u64).number(s.preparing as u64);
                w.number(s.live as u64).number(s.target as u64);
            }
            News::ZygoteReady { zygote, text } => {
                w.number(7).number(*zygote).text(text);
            }
            News::ZygoteGone { zygote, reason } => {
                w.number(8).number(*zygote).text(reason);
            }
        }
        w.0
    }

    pub(crate) fn decode(packet: &[u8]) -> Result<News, Malformed> {
        let mut r = Reader(packet);
        Ok(match r.number()? {
            1 => News::Ready { cgroups: r.bytes()?.to_vec(), note: r.string()? },
            2 => News::Refused { missing: r.string()? },
            3 => News::Spawned { seq: r.number()?, worker: r.number()?, pid: r.narrow()? },
            4 => News::Failed { seq: r.number()?, reason: r.string()? },
            5 => News::Exited {
                worker: r.number()?,
                exit: Exit {
                    code: r.option()?.map(|c| c as i32),
                    signal: r.option()?.map(|s| s as i32),
                    oom: r.number()? != 0,
                },
                memory_peak_bytes: r.number()?,
            },
            6 => News::Stats(PoolStats {
                ready: r.narrow()?,
                preparing: r.narrow()?,
                live: r.narrow()?,
                target: r.narrow()?,
            }),
            7 => News::ZygoteReady { zygote: r.number()?, text: r.string()? },
            8 => News::ZygoteGone { zygote: r.number()?, reason: r.string()? },
            _ => return Err(Malformed),
        })
    }
}

fn write_spec(w: &mut Writer, s: &Spec) {
    w.text(&s.id);
    write_program(w, &s.argv, &s.env);
    w.text(&s.code).text(s.opt.as_deref().unwrap_or_else(|| "".as_ref()));
    write_mounts(w, &s.mounts);
    w.number(s.memory_bytes).number(s.tmp_bytes).number(u64::from(s.pids_max));
    w.number(s.cpu_shares).option(s.cpu_quota_percent.map(u64::from));
    w.option(match s.start {
        Start::Execute => None,
        Start::Fork(zygote) => Some(zygote),
    });
}

fn read_spec(r: &mut Reader<'_>) -> Result<Spec, Malformed> {
    Ok(Spec {
        id: r.string()?,
        argv: r.list(Reader::os)?,
        env: r.list(|r| Ok((r.os()?, r.os()?)))?,
        code: r.path()?,
        opt: Some(r.path()?).filter(|p| !p.as_os_str().is_empty()),
        mounts: r.list(read_mount)?,
        memory_bytes: r.number()?,
        tmp_bytes: r.number()?,
        pids_max: r.narrow()?,
        cpu_shares: r.number()?,
        cpu_quota_percent: match r.option()? {
            Some(n) => Some(u32::try_from(n).map_err(|_| Malformed)?),
            None => None,
        },
        start: r.option()?.map_or(Start::Execute, Start::Fork),
    })
}

fn write_reach(w: &mut Writer, reach: &Reach) {
    let (kind, routes) = match reach {
        Reach::Nothing => (0, [].as_slice()),
        Reach::IfPossible(egress) => (1, egress.routes()),
        Reach::Required(egress) => (2, egress.routes()),
    };
    w.number(kind).number(routes.len() as u64);
    for r in routes {
        w.bytes(&r.network.address.octets()).number(u64::from(r.network.prefix)).number(u64::from(r.is_open));
    }
}

fn read_reach(r: &mut Reader<'_>) -> Result<Reach, Malformed> {
    let kind = r.number()?;
    let egress = Egress::from_routes(r.list(|r| {
        let address: [u8; 4] = r.bytes()?.try_into().map_err(|_| Malformed)?;
        let network = Network { address: address.into(), prefix: r.narrow()? };
        Ok(Route { network, is_open: r.number()? != 0 })
    })?);
    Ok(match kind {
        0 => Reach::Nothing,
        1 => Reach::IfPossible(egress),
        2 => Reach::Required(egress),
        _ => return Err(Malformed),
    })
}

fn write_zygote(w: &mut Writer, s: &ZygoteSpec) {
    w.text(&s.id);
    write_program(w, &s.argv, &s.env);
    write_mounts(w, &s.mounts);
    w.number(u64::from(s.keeps_descriptors)).number(u64::from(s.is_stem));
}

fn read_zygote(r: &mut Reader<'_>) -> Result<ZygoteSpec, Malformed> {
    Ok(ZygoteSpec {
        id: r.string()?,
        argv: r.list(Reader::os)?,
        env: r.list(|r| Ok((r.os()?, r.os()?)))?,
        mounts: r.list(read_mount)?,
        keeps_descriptors: r.number()? != 0,
        is_stem: r.number()? != 0,
    })
}

fn write_program(w: &mut Writer, argv: &[OsString], env: &[(OsString, OsString)]) {
    w.number(argv.len() as u64);
    for a in argv {
        w.text(a);
    }
    w.number(env.len() as u64);
    for (k, v) in env {
        w.text(k).text(v);
    }
}

fn write_mounts(w: &mut Writer, mounts: &[Mount]) {
    w.number(mounts.len() as u64);
    for m in mounts {
        w.text(&m.host).text(&m.inside);
    }
}

fn read_mount(r: &mut Reader<'_>) -> Result<Mount, Malformed> {
    Ok(Mount { host: r.path()?, inside: r.path()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        Spec {
            id: "f".into(),
            argv: vec!["/bin/sh".into(), OsString::from_vec(vec![0xff, b'x'])],
            env: vec![("A".into(), "".into())],
            code: "/code".into(),
            opt: None,
            mounts: vec![Mount { host: "/h".into(), inside: "/i".into() }],
            memory_bytes: 1,
            tmp_bytes: 2,
            pids_max: 3,
            cpu_shares: 4,
            cpu_quota_percent: Some(5),
            start: Start::Fork(6),
        }
    }

    #[test]
    fn spec_survives_the_wire_and_every_cut_packet_is_refused() {
        let packet = Order::Spawn { seq: 9, spec: Box::new(spec()) }.encode();
        let Ok(Order::Spawn { seq: 9, spec: back }) = Order::decode(&packet) else { panic!("not a spawn") };
        assert_eq!(*back, spec());
        for cut in 0..packet.len() {
            assert!(Order::decode(&packet[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_configuration_survives_the_wire() {
        for egress in [Reach::Nothing, Reach::IfPossible(Egress::internet()), Reach::Required(Egress::internet())] {
            let sent =
                Order::Configure { level: Level::Full, run_dir: "/r".into(), pool: 7, egress: egress.clone() }.encode();
            let Ok(Order::Configure { egress: back, pool: 7, .. }) = Order::decode(&sent) else {
                panic!("not a configuration")
            };
            assert_eq!(back, egress);
        }
    }

    #[test]
    fn news_survive_the_wire() {
        let exit = Exit { code: None, signal: Some(9), oom: true };
        for news in [
            News::Exited { worker: 1, exit, memory_peak_bytes: 7 },
            News::Spawned { seq: 1, worker: 2, pid: 3 },
            News::Failed { seq: 4, reason: "no".into() },
            News::ZygoteReady { zygote: 5, text: "[]".into() },
            News::ZygoteGone { zygote: 6, reason: "no".into() },
        ] {
            assert_eq!(News::decode(&news.encode()).ok(), Some(news));
        }
    }
}

//! The spawner's loop: requests in, prepared sandboxes out, the dead buried.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::Setting;
use super::cell::{Cell, Phase, Plan, Said};
use super::janitor::{Janitor, Remains};
use super::zygote::Zygote;
use super::{stage, stem};
use crate::sys::poll::Poll;
use crate::sys::socket;
use crate::wire::{News, Order};
use crate::{Level, PoolStats, Spec, Start};

/// `/tmp` that AWS gives by default, and so the size that is kept ready.
pub(super) const USUAL_TMP_BYTES: u64 = 512 << 20;
/// Sandboxes prepared at a time for requests that wait: much of preparing is waiting inside the kernel (measured on two
/// busy cores, 200 requests at once: 4 gave 60 a second, 8 gave 100, 16 no more).
const PREPARING_MAX: usize = 8;
/// The same for filling up the pool, which has time.
const REFILLING_MAX: usize = 2;
/// Requests that may wait.
const WAITING_MAX: usize = 10_000;
/// How soon to try again what the janitor could not take.
const RETRY_MS: i32 = 5;
/// How often a zygote is looked at that was asked for a fork.
const WATCH_MS: i32 = 500;
/// The pool is filled up this long after the last spawn, unless three quarters of it are gone: preparing and forking take several
/// times the CPU of a first call, and mount and network namespaces are made under locks of the whole kernel. Filling at once
/// made the very spawn that emptied it, and every next one of a row, several times slower.
const REFILL_DELAY: Duration = Duration::from_millis(40);

/// Tokens: number of a cell or zygote times eight, plus which of its descriptors.
const SERVER: u64 = 0;
const CTL: u64 = 1;
const DEATH: u64 = 2;
const OOM: u64 = 3;
pub(super) const ZYGOTE: u64 = 4;
pub(super) const KIND_BITS: u32 = 3;

/// Untouched `/tmp`s kept for further sandboxes, and for how long: each is a loop device and some kernel memory.
const KEPT_MAX: usize = 64;
const KEPT_FOR: Duration = Duration::from_secs(10);

/// A `/tmp` that its sandbox has not touched.
struct Kept {
    tmp: OwnedFd,
    bytes: u64,
    since: Instant,
}

struct Waiting {
    seq: u64,
    spec: Box<Spec>,
    packet: Vec<u8>,
}

pub(super) struct Pool {
    pub(super) setting: Setting,
    server: OwnedFd,
    pub(super) poll: Poll,
    janitor: Janitor,
    pub(super) cells: HashMap<u64, Cell>,
    pub(super) zygotes: HashMap<u64, Zygote>,
    pub(super) ready: VecDeque<u64>,
    waiting: VecDeque<Waiting>,
    next: u64,
    target: usize,
    /// Preparing failed and no request asked since: do not try again and again.
    is_failing: bool,
    /// When the last sandbox was given away.
    last_given: Instant,
    /// Oldest first.
    kept: VecDeque<Kept>,
    told: PoolStats,
    pub(super) packet: Vec<u8>,
}

impl Kept {
    fn remains(self) -> Remains {
        Remains { group: None, tmp: Some(self.tmp), is_clean: true }
    }
}

impl Pool {
    pub(super) fn new(setting: Setting, server: OwnedFd, janitor: Janitor, target: usize) -> io::Result<Pool> {
        let poll = Poll::new()?;
        poll.add(server.as_fd(), SERVER)?;
        Ok(Pool {
            setting,
            server,
            poll,
            janitor,
            cells: HashMap::new(),
            zygotes: HashMap::new(),
            ready: VecDeque::new(),
            waiting: VecDeque::new(),
            next: 1,
            target,
            is_failing: false,
            last_given: Instant::now(),
            kept: VecDeque::new(),
            told: PoolStats::default(),
            packet: Vec::new(),
        })
    }

    /// Serves until the server says stop or is gone, then ends every worker.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut serving = true;
        while serving {
            let delay = self.refill().into_iter().chain(self.drop_stale()).min();
            self.tell_stats();
            let is_watching = self.watch_zygotes();
            let timeout_ms = match delay {
                _ if self.janitor.flush() => RETRY_MS,
                Some(delay) => delay.as_millis() as i32 + 1,
                None if is_watching => WATCH_MS,
                None => -1,
            };
            for token in self.poll.wait(timeout_ms)? {
                let number = token >> KIND_BITS;
                match token & ((1 << KIND_BITS) - 1) {
                    SERVER => serving &= self.on_server(),
                    CTL => self.on_ctl(number),
                    DEATH => self.on_death(number),
                    ZYGOTE => self.on_zygote(number),
                    _ => self.on_oom(number),
                }
            }
        }
        self.zygotes.drain().for_each(|(_, zygote)| zygote.end());
        self.cells.values().for_each(Cell::kill);
        for (_, cell) in self.cells.drain() {
            let (_, _, remains) = cell.bury();
            self.janitor.take(remains);
        }
        self.kept.drain(..).for_each(|kept| self.janitor.take(kept.remains()));
        self.janitor.finish();
        Ok(())
    }

    /// False when it is time to end.
    fn on_server(&mut self) -> bool {
        let mut packet = std::mem::take(&mut self.packet);
        let received = socket::receive(self.server.as_fd(), &mut packet);
        let order = match received {
            Ok(Some(_)) => Order::decode(&packet),
            _ => return false,
        };
        match order {
            Ok(Order::Spawn { seq, spec }) => {
                self.is_failing = false;
                if self.waiting.len() >= WAITING_MAX {
                    self.refuse(seq, format!("{WAITING_MAX} requests are waiting already"));
                } else {
                    self.waiting.push_back(Waiting { seq, spec, packet: packet.clone() });
                    self.dispatch();
                }
            }
            Ok(Order::Zygote { zygote, spec }) => self.start_zygote(zygote, &spec),
            Ok(Order::EndZygote { zygote }) => self.end_zygote(zygote, "it was ended"),
            Ok(Order::Stock { zygote, count }) => self.stock(zygote, count),
            Ok(Order::Target { count }) => self.aim(count),
            _ => return false,
        }
        self.packet = packet;
        true
    }

    /// Gives ready sandboxes to waiting requests, oldest first.
    fn dispatch(&mut self) {
        let mut still = VecDeque::new();
        while let Some(mut request) = self.waiting.pop_front() {
            let Some(at) = self.best_for(&request.spec) else {
                still.push_back(request);
                continue;
            };
            self.suit(at, &mut request);
            if let Start::Fork(zygote) = request.spec.start
                && !self.zygotes.get(&zygote).is_some_and(|z| z.is_ready)
            {
                self.refuse(request.seq, "the zygote is not there".into());
                continue;
            }
            let trees = match self.setting.level {
                Level::None => Ok(Vec::new()),
                _ => stage::detach_all(&request.spec),
            };
            let trees = match trees {
                Ok(trees) => trees,
                Err(e) => {
                    self.refuse(request.seq, e.to_string());
                    continue;
                }
            };
            let Some(number) = self.ready.remove(at) else { continue };
            self.last_given = Instant::now();
            if let Err(e) = self.give(number, &request, &trees) {
                self.on_broken(number, Phase::Starting(request.seq), e.to_string());
            }
        }
        self.waiting = still;
    }

    /// The prepared sandbox for this specification: one where the zygote's fork waits already, else one without any.
    fn best_for(&self, spec: &Spec) -> Option<usize> {
        let cell = |n: &u64| self.cells.get(n).filter(|c| c.tmp_bytes == spec.tmp_bytes);
        let stocked = match spec.start {
            Start::Fork(zygote) if self.has_mounts_of(spec, zygote) => {
                self.ready.iter().position(|n| cell(n).is_some() && self.holds(*n, zygote))
            }
            _ => None,
        };
        stocked.or_else(|| self.ready.iter().position(|n| cell(n).is_some_and(|c| c.fork.is_none())))
    }

    /// Whether the worker is to have all that is mounted with a zygote's forks.
    fn has_mounts_of(&self, spec: &Spec, zygote: u64) -> bool {
        self.zygotes.get(&zygote).is_some_and(|z| z.spec.mounts.iter().all(|m| spec.mounts.contains(m)))
    }

    /// Where a fork waits already only what it lacks is attached; a stem cell that does not wait is not waited for either: its
    /// program is executed.
    fn suit(&self, at: usize, request: &mut Waiting) {
        let Start::Fork(number) = request.spec.start else { return };
        let Some(zygote) = self.zygotes.get(&number) else { return };
        if self.ready.get(at).is_some_and(|cell| self.holds(*cell, number)) {
            *request.spec = stem::remaining(&request.spec, &zygote.spec);
        } else if zygote.is_stem() {
            request.spec.start = Start::Execute;
        } else {
            return;
        }
        request.packet = Order::Spawn { seq: request.seq, spec: request.spec.clone() }.encode();
    }

    fn give(&mut self, number: u64, request: &Waiting, trees: &[OwnedFd]) -> io::Result<()> {
        let Some(cell) = self.cells.get_mut(&number) else { return Ok(()) };
        cell.give(request.seq, &request.spec, &request.packet, trees)?;
        match request.spec.start {
            // Its end of the socket is the stage's alone now: executing the program closes it.
            Start::Execute => drop(cell.hand.take()),
            Start::Fork(_) if cell.fork.is_some() => {}
            Start::Fork(zygote) => self.fork(number, zygote, Some(&request.spec))?,
        }
        Ok(())
    }

    /// Starts preparing what requests wait for, then what the pool lacks; for how long that should wait, if it should.
    fn refill(&mut self) -> Option<Duration> {
        let mut preparing: Vec<u64> =
            self.cells.values().filter(|c| c.phase == Phase::Preparing).map(|c| c.tmp_bytes).collect();
        let mut wanted = Vec::new();
        let mut supply = preparing.clone();
        for request in &self.waiting {
            match supply.iter().position(|s| *s == request.spec.tmp_bytes) {
                Some(at) => drop(supply.swap_remove(at)),
                None => wanted.push(request.spec.tmp_bytes),
            }
            if wanted.len() >= PREPARING_MAX {
                break;
            }
        }
        let mut delay = None;
        if self.waiting.is_empty() && !self.is_failing {
            let have = self.ready.len() + preparing.len();
            let target = self.aimed_at();
            let lacking = target.saturating_sub(have);
            let rest = REFILL_DELAY.saturating_sub(self.last_given.elapsed());
            let is_lacking = lacking > 0 || !self.stock_lacking().is_empty();
            delay = Some(rest).filter(|rest| is_lacking && have > target / 4 && !rest.is_zero());
            if delay.is_none() {
                wanted.resize(lacking, USUAL_TMP_BYTES);
                self.fill_stock();
            }
        }
        let limit = if self.waiting.is_empty() { REFILLING_MAX } else { PREPARING_MAX };
        for tmp_bytes in wanted {
            if preparing.len() >= limit {
                break;
            }
            preparing.push(tmp_bytes);
            if let Err(e) = self.prepare(tmp_bytes, self.waiting.is_empty()) {
                self.prepare_failed(tmp_bytes, format!("clone a sandbox: {e}"));
                break;
            }
        }
        delay
    }

    /// How many sandboxes are kept ready, with a fork in them or without.
    fn aimed_at(&self) -> usize {
        self.target + self.zygotes.values().map(|z| z.stock).sum::<usize>()
    }

    /// Changes how many sandboxes without a fork are kept ready.
    fn aim(&mut self, count: usize) {
        self.target = count;
        let plain = |n: &u64| self.cells.get(n).is_some_and(|c| c.fork.is_none());
        let surplus: Vec<u64> = self.ready.iter().copied().filter(plain).skip(count).collect();
        for cell in surplus {
            self.on_broken(cell, Phase::Ready, String::new());
        }
    }

    fn prepare(&mut self, tmp_bytes: u64, is_ahead: bool) -> io::Result<()> {
        let number = self.next;
        self.next += 1;
        let kept = self.kept.iter().rposition(|kept| kept.bytes == tmp_bytes).and_then(|at| self.kept.remove(at));
        let plan = Plan { tmp_bytes, tmp: kept.map(|kept| kept.tmp), is_ahead };
        let cell = Cell::start(&self.setting, number, plan)?;
        self.poll.add(cell.pidfd.as_fd(), number << KIND_BITS | DEATH)?;
        if let Some(ctl) = &cell.ctl {
            self.poll.add(ctl.as_fd(), number << KIND_BITS | CTL)?;
        }
        self.cells.insert(number, cell);
        Ok(())
    }

    /// One failure answers one request: each of them gets an error rather than waiting for ever.
    fn prepare_failed(&mut self, tmp_bytes: u64, reason: String) {
        self.is_failing = true;
        match self.waiting.iter().position(|w| w.spec.tmp_bytes == tmp_bytes) {
            Some(at) => {
                if let Some(request) = self.waiting.remove(at) {
                    self.refuse(request.seq, reason);
                }
            }
            None => eprintln!("squall spawner: prepare a sandbox: {reason}"),
        }
    }

    fn on_ctl(&mut self, number: u64) {
        let mut packet = std::mem::take(&mut self.packet);
        let Some(cell) = self.cells.get_mut(&number) else { return };
        let (phase, is_fork, said) = (cell.phase, cell.fork.is_some(), cell.listen(&mut packet));
        self.packet = packet;
        match (phase, said) {
            (_, Said::Nothing) => {}
            (Phase::Preparing, Said::Ready) => self.on_ready(number),
            (Phase::Doomed, _) => {
                self.fork_waits(number);
                self.on_broken(number, phase, String::new());
            }
            (Phase::Starting(seq), Said::Closed) if !is_fork => self.on_started(number, seq),
            (Phase::Starting(seq), Said::Started) => self.on_started(number, seq),
            (Phase::Starting(_) | Phase::Ready, Said::Waiting) => self.fork_waits(number),
            (phase, said) => {
                let reason = match said {
                    Said::Error(text) => text,
                    _ if is_fork => "the zygote or the sandbox ended".to_owned(),
                    _ => "the sandbox ended while it was prepared".to_owned(),
                };
                self.on_broken(number, phase, reason);
            }
        }
    }

    fn on_ready(&mut self, number: u64) {
        let Some(cell) = self.cells.get_mut(&number) else { return };
        cell.phase = Phase::Ready;
        self.is_failing = false;
        let watched = match &cell.oom_watch {
            Some(watch) => self.poll.add(watch.as_fd(), number << KIND_BITS | OOM),
            None => Ok(()),
        };
        if let Err(e) = watched {
            return self.on_broken(number, Phase::Preparing, format!("watch a sandbox: {e}"));
        }
        self.ready.push_back(number);
        self.dispatch();
        // Begun when more were wanted.
        if self.waiting.is_empty() && self.ready.len() > self.aimed_at() && self.ready.contains(&number) {
            self.on_broken(number, Phase::Ready, String::new());
        }
    }

    fn on_started(&mut self, number: u64, seq: u64) {
        let Some(cell) = self.cells.get_mut(&number) else { return };
        cell.phase = Phase::Running;
        if let Some(ctl) = cell.ctl.take() {
            self.poll.remove(ctl.as_fd());
        }
        let gifts = std::mem::take(&mut cell.gifts);
        let fds: Vec<BorrowedFd<'_>> =
            std::iter::once(cell.pidfd.as_fd()).chain(gifts.iter().map(AsFd::as_fd)).collect();
        let news = News::Spawned { seq, worker: number, pid: cell.pid };
        // A server that is gone is noticed at its socket.
        let _ = socket::send(self.server.as_fd(), &news.encode(), &fds);
        self.fork_over(number);
    }

    /// The stage failed or died before the program: tell whoever waits for it; its death is handled when it comes.
    pub(super) fn on_broken(&mut self, number: u64, phase: Phase, reason: String) {
        let is_forking = self.is_forking(number);
        let Some(cell) = self.cells.get_mut(&number) else { return };
        if is_forking {
            cell.phase = Phase::Doomed;
        } else {
            cell.kill();
            if let Some(ctl) = cell.ctl.take() {
                self.poll.remove(ctl.as_fd());
            }
        }
        let tmp_bytes = cell.tmp_bytes;
        let stocked = cell.fork.as_ref().filter(|_| phase == Phase::Ready && !reason.is_empty()).map(|f| f.zygote);
        if let Some(zygote) = stocked.and_then(|number| self.zygotes.get_mut(&number)) {
            // It would fail again and again; requests are told when they ask.
            eprintln!("squall spawner: fork ahead of requests: {reason}");
            zygote.stock = 0;
        }
        self.ready.retain(|n| *n != number);
        if !is_forking {
            self.fork_over(number);
        }
        match phase {
            Phase::Starting(seq) => self.refuse(seq, reason),
            Phase::Preparing => self.prepare_failed(tmp_bytes, reason),
            Phase::Ready | Phase::Running | Phase::Doomed => {}
        }
    }

    fn on_death(&mut self, number: u64) {
        // What the stage said last comes first, whatever the order of the events.
        self.on_ctl(number);
        // The zygote is done with it, whatever came of the fork: nothing of the sandbox lives any more.
        self.fork_over(number);
        let Some(cell) = self.cells.remove(&number) else { return };
        self.ready.retain(|n| *n != number);
        self.poll.remove(cell.pidfd.as_fd());
        for fd in [&cell.ctl, &cell.oom_watch].into_iter().flatten() {
            self.poll.remove(fd.as_fd());
        }
        let (was_running, bytes) = (cell.phase == Phase::Running, cell.tmp_bytes);
        let (exit, memory_peak_bytes, mut remains) = cell.bury();
        if was_running {
            self.send(&News::Exited { worker: number, exit, memory_peak_bytes });
        }
        if remains.is_clean
            && self.kept.len() < KEPT_MAX
            && let Some(tmp) = remains.tmp.take()
        {
            self.kept.push_back(Kept { tmp, bytes, since: Instant::now() });
        }
        self.janitor.take(remains);
    }

    /// Lets go of what was kept for long enough; how long the rest may stay.
    fn drop_stale(&mut self) -> Option<Duration> {
        while let Some(kept) = self.kept.pop_front() {
            let rest = KEPT_FOR.saturating_sub(kept.since.elapsed());
            if !rest.is_zero() {
                self.kept.push_front(kept);
                return Some(rest);
            }
            self.janitor.take(kept.remains());
        }
        None
    }

    /// Memory ran out (cgroup v1): the kernel kills one process, we all of them.
    fn on_oom(&mut self, number: u64) {
        let is_forking = self.is_forking(number);
        let Some(cell) = self.cells.get_mut(&number) else { return };
        if let Some(watch) = cell.oom_watch.take() {
            self.poll.remove(watch.as_fd());
        }
        // The removal of the cgroup wakes the watch too, but then the cell is gone.
        cell.oom = true;
        let phase = cell.phase;
        if is_forking {
            return self.on_broken(number, phase, "out of memory before the program ran".into());
        }
        cell.kill();
    }

    fn refuse(&self, seq: u64, reason: String) {
        self.send(&News::Failed { seq, reason });
    }

    pub(super) fn send(&self, news: &News) {
        // A server that is gone is noticed at its socket.
        let _ = socket::send(self.server.as_fd(), &news.encode(), &[]);
    }

    fn tell_stats(&mut self) {
        let count = |phase| self.cells.values().filter(|c| c.phase == phase).count();
        let (ready, preparing) = (count(Phase::Ready), count(Phase::Preparing));
        let target = self.aimed_at();
        let now = PoolStats { ready, preparing, live: self.cells.len() - ready - preparing, target };
        if now != self.told {
            self.told = now;
            self.send(&News::Stats(now));
        }
    }
}

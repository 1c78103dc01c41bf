//! The pool's zygotes: started, asked for forks a few at a time, ended.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use super::cell::{Cell, Fork, Phase};
use super::fork::{self, Request};
use super::pool::{KIND_BITS, Pool, USUAL_TMP_BYTES, ZYGOTE};
use super::stem;
use super::zygote::{Origin, Word, Zygote};
use crate::sys::socket;
use crate::wire::News;
use crate::{Level, Spec, ZygoteSpec};

/// Forks that wait for functions, at most, of one zygote: each holds a sandbox and 1 to 2 MiB.
const STOCK_MAX: usize = 512;
/// Forks for the stock that a zygote is asked for at a time: one that a request waits for should not stand behind many.
const FILLING_MAX: usize = 2;

impl Pool {
    pub(super) fn start_zygote(&mut self, number: u64, spec: &ZygoteSpec) {
        if self.setting.level == Level::None || !self.setting.is_root {
            // It would have to enter namespaces that belong to others.
            return self.zygote_gone(number, "zygotes need root and isolation");
        }
        if spec.is_stem {
            if self.setting.level != Level::Full {
                // Their limits would be per process, and could not be given any more.
                return self.zygote_gone(number, "stem cells need isolation full");
            }
            self.zygotes.insert(number, Zygote::stem(spec));
            return self.send(&News::ZygoteReady { zygote: number, text: String::new() });
        }
        let started = Zygote::start(&self.setting, spec).and_then(|zygote| {
            if let Some(control) = zygote.control() {
                self.poll.add(control, number << KIND_BITS | ZYGOTE)?;
            }
            Ok(zygote)
        });
        match started {
            Ok(zygote) => drop(self.zygotes.insert(number, zygote)),
            Err(e) => self.zygote_gone(number, &format!("clone a zygote: {e}")),
        }
    }

    pub(super) fn on_zygote(&mut self, number: u64) {
        let mut packet = std::mem::take(&mut self.packet);
        let word = self.zygotes.get(&number).map(|z| z.listen(&mut packet));
        self.packet = packet;
        match word {
            Some(Word::Ready(text)) => {
                if let Some(zygote) = self.zygotes.get_mut(&number) {
                    zygote.is_ready = true;
                }
                self.send(&News::ZygoteReady { zygote: number, text });
            }
            Some(Word::Gone(reason)) => self.end_zygote(number, &reason),
            Some(Word::Nothing) | None => {}
        }
    }

    /// Ends a zygote. Forks that it was asked for and that are not workers yet fail.
    pub(super) fn end_zygote(&mut self, number: u64, reason: &str) {
        let Some(zygote) = self.zygotes.remove(&number) else { return };
        if let Some(control) = zygote.control() {
            self.poll.remove(control);
        }
        zygote.end();
        // One that waits is nobody's child but its sandbox's; without a function it is of no use any more.
        let asked = |cell: &Cell| {
            let own = cell.fork.as_ref().filter(|f| f.zygote == number);
            own.is_some_and(|f| !f.is_waiting || cell.phase == Phase::Ready)
        };
        let cells: Vec<(u64, Phase)> =
            self.cells.iter().filter(|(_, c)| asked(c)).map(|(n, c)| (*n, c.phase)).collect();
        for (cell, phase) in cells {
            self.on_broken(cell, phase, format!("the zygote ended: {reason}"));
        }
        self.zygote_gone(number, reason);
    }

    /// Ends zygotes that no longer fork; true while one has to be watched.
    pub(super) fn watch_zygotes(&mut self) -> bool {
        let stuck: Vec<u64> = self.zygotes.iter().filter(|(_, z)| z.is_stuck()).map(|(n, _)| *n).collect();
        stuck.into_iter().for_each(|number| self.end_zygote(number, "it does not answer"));
        self.zygotes.values().any(|z| z.in_flight > 0)
    }

    fn zygote_gone(&self, zygote: u64, reason: &str) {
        self.send(&News::ZygoteGone { zygote, reason: reason.to_owned() });
    }

    /// Has the zygote fork into a sandbox, now or when others are done; for a specification that may come later at level full.
    pub(super) fn fork(&mut self, cell_number: u64, number: u64, spec: Option<&Spec>) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let zygote = self.zygotes.get_mut(&number).ok_or_else(gone)?;
        let cell = self.cells.get_mut(&cell_number).ok_or_else(gone)?;
        let hand = cell.hand.as_ref().ok_or_else(gone)?;
        let Request { packet, names } = match zygote.origin {
            Origin::Stem => Request::plant(number, &zygote.spec),
            Origin::Process { .. } => Request::new(&self.setting, hand, spec, !zygote.spec.keeps_descriptors),
        };
        cell.fork = Some(Fork { zygote: number, packet, names, is_waiting: false });
        zygote.backlog.push_back(cell_number);
        self.ask(number)
    }

    /// Sends what waits, as far as the zygote takes it.
    fn ask(&mut self, number: u64) -> io::Result<()> {
        let Some(zygote) = self.zygotes.get_mut(&number) else { return Ok(()) };
        while zygote.in_flight < zygote.in_flight_max() {
            let Some(next) = zygote.backlog.pop_front() else { break };
            let Some(cell) = self.cells.get_mut(&next) else { continue };
            // Both go: the packet may be large, and the hand holds the socket whose end tells of the stage's.
            let (Some(hand), Some(fork)) = (cell.hand.take(), &mut cell.fork) else { continue };
            let packet = std::mem::take(&mut fork.packet);
            if zygote.in_flight == 0 {
                zygote.heard = Instant::now();
            }
            zygote.in_flight += 1;
            match (&zygote.origin, &cell.ctl) {
                (Origin::Process { control, .. }, _) => {
                    socket::send(control.as_fd(), &packet, &fork::descriptors(&hand, cell.pidfd.as_fd()))?;
                }
                (Origin::Stem, Some(ctl)) => {
                    let trees = stem::detach(&zygote.spec.mounts)?;
                    let fds = [&hand.adoption, &hand.mounted].into_iter().chain(&trees).map(AsFd::as_fd);
                    socket::send(ctl.as_fd(), &packet, &fds.collect::<Vec<_>>())?;
                }
                (Origin::Stem, None) => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
        Ok(())
    }

    /// A fork has left the zygote and waits for its function.
    pub(super) fn fork_waits(&mut self, cell_number: u64) {
        let Some(fork) = self.cells.get_mut(&cell_number).and_then(|c| c.fork.as_mut()) else { return };
        if std::mem::replace(&mut fork.is_waiting, true) {
            return;
        }
        let number = fork.zygote;
        let Some(zygote) = self.zygotes.get_mut(&number) else { return };
        zygote.heard = Instant::now();
        zygote.in_flight = zygote.in_flight.saturating_sub(1);
        if self.ask(number).is_err() {
            self.end_zygote(number, "it takes no requests");
        }
    }

    /// Whether a zygote is forking into a sandbox right now, as far as is known. A stem cell's start may be ended at any moment.
    pub(super) fn is_forking(&self, cell: u64) -> bool {
        let asked =
            self.cells.get(&cell).and_then(|c| c.fork.as_ref()).filter(|f| !f.is_waiting && f.packet.is_empty());
        asked.and_then(|f| self.zygotes.get(&f.zygote)).is_some_and(|z| !z.is_stem())
    }

    /// Whether a prepared sandbox has a fork of this zygote, and its mounts, in it.
    pub(super) fn holds(&self, cell: u64, zygote: u64) -> bool {
        self.cells.get(&cell).and_then(|c| c.fork.as_ref()).is_some_and(|f| f.zygote == zygote)
    }

    /// How many forks of a zygote are to wait for functions; the pool sees to it.
    pub(super) fn stock(&mut self, number: u64, count: usize) {
        if self.setting.level != Level::Full {
            // Its limits are per process, and a fork that waits could not be given them any more.
            return;
        }
        let Some(zygote) = self.zygotes.get_mut(&number) else { return };
        zygote.stock = count.min(STOCK_MAX);
        let surplus: Vec<u64> = self.ready.iter().copied().filter(|c| self.holds(*c, number)).skip(count).collect();
        for cell in surplus {
            self.on_broken(cell, Phase::Ready, String::new());
        }
    }

    /// Forks that the stock lacks, by zygote.
    pub(super) fn stock_lacking(&self) -> Vec<(u64, usize)> {
        let lacking = |(number, zygote): (&u64, &Zygote)| {
            let have = self.ready.iter().filter(|c| self.holds(**c, *number)).count();
            (*number, if zygote.is_ready { zygote.stock.saturating_sub(have) } else { 0 })
        };
        self.zygotes.iter().map(lacking).filter(|(_, lacking)| *lacking > 0).collect()
    }

    /// Has the stage attach what every worker of a zygote has: then only the function's own is left to do when it comes.
    fn mount_ahead(&mut self, cell: u64, number: u64) -> io::Result<()> {
        let (Some(cell), Some(zygote)) = (self.cells.get(&cell), self.zygotes.get(&number)) else { return Ok(()) };
        match &cell.ctl {
            // Those of a stem cell come with the order to start it.
            Some(ctl) if !zygote.is_stem() => {
                let trees = stem::detach(&zygote.spec.mounts)?;
                let fds: Vec<_> = trees.iter().map(AsFd::as_fd).collect();
                socket::send(ctl.as_fd(), &Request::plant(number, &zygote.spec).packet, &fds)
            }
            _ => Ok(()),
        }
    }

    /// Puts a fork into prepared sandboxes that have none, as far as the stock lacks some and they are not needed otherwise.
    pub(super) fn fill_stock(&mut self) {
        for (number, lacking) in self.stock_lacking() {
            for _ in 0..lacking {
                let busy = self.zygotes.get(&number).is_none_or(|z| z.in_flight >= FILLING_MAX);
                let usual = |c: &Cell| c.tmp_bytes == USUAL_TMP_BYTES && c.fork.is_none();
                let free = self.ready.iter().copied().find(|n| self.cells.get(n).is_some_and(usual));
                let Some(cell) = free.filter(|_| !busy) else { break };
                if let Err(e) = self.mount_ahead(cell, number).and_then(|()| self.fork(cell, number, None)) {
                    return self.on_broken(cell, Phase::Ready, e.to_string());
                }
            }
        }
    }

    /// A fork has become a worker, or never will.
    pub(super) fn fork_over(&mut self, cell_number: u64) {
        let Some(fork) = self.cells.get_mut(&cell_number).and_then(|c| c.fork.take()) else { return };
        if fork.is_waiting {
            return;
        }
        let Some(zygote) = self.zygotes.get_mut(&fork.zygote) else { return };
        zygote.heard = Instant::now();
        match zygote.backlog.iter().position(|n| *n == cell_number) {
            Some(at) => drop(zygote.backlog.remove(at)),
            None => zygote.in_flight = zygote.in_flight.saturating_sub(1),
        }
        if self.ask(fork.zygote).is_err() {
            self.end_zygote(fork.zygote, "it takes no requests");
        }
    }
}

//! The pool's zygotes: started, asked for forks a few at a time, ended.

use std::io;
use std::os::fd::AsFd;

use super::cell::{Fork, Phase};
use super::fork::{self, Request};
use super::pool::{KIND_BITS, Pool, ZYGOTE};
use super::zygote::{IN_FLIGHT_MAX, Word, Zygote};
use crate::sys::socket;
use crate::wire::News;
use crate::{Level, Spec, ZygoteSpec};

impl Pool {
    pub(super) fn start_zygote(&mut self, number: u64, spec: &ZygoteSpec) {
        if self.setting.level == Level::None || !self.setting.is_root {
            // It would have to enter namespaces that belong to others.
            return self.zygote_gone(number, "zygotes need root and isolation");
        }
        let started = Zygote::start(&self.setting, spec).and_then(|zygote| {
            self.poll.add(zygote.control.as_fd(), number << KIND_BITS | ZYGOTE)?;
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
        self.poll.remove(zygote.control.as_fd());
        zygote.end();
        let asked = |cell: &super::cell::Cell| cell.fork.as_ref().is_some_and(|f| f.zygote == number);
        let cells: Vec<(u64, Phase)> =
            self.cells.iter().filter(|(_, c)| asked(c)).map(|(n, c)| (*n, c.phase)).collect();
        for (cell, phase) in cells {
            self.on_broken(cell, phase, format!("the zygote ended: {reason}"));
        }
        self.zygote_gone(number, reason);
    }

    fn zygote_gone(&self, zygote: u64, reason: &str) {
        self.send(&News::ZygoteGone { zygote, reason: reason.to_owned() });
    }

    /// Has the zygote fork into a sandbox, now or when others are done.
    pub(super) fn fork(&mut self, cell_number: u64, number: u64, spec: &Spec) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let zygote = self.zygotes.get_mut(&number).ok_or_else(gone)?;
        let cell = self.cells.get_mut(&cell_number).ok_or_else(gone)?;
        let hand = cell.hand.as_ref().ok_or_else(gone)?;
        let request = Request::new(&self.setting, hand, spec, zygote.closes_all)?;
        let Request { packet, names } = request;
        cell.fork = Some(Fork { zygote: number, packet, names });
        zygote.backlog.push_back(cell_number);
        self.ask(number)
    }

    /// Sends what waits, as far as the zygote takes it.
    fn ask(&mut self, number: u64) -> io::Result<()> {
        let Some(zygote) = self.zygotes.get_mut(&number) else { return Ok(()) };
        while zygote.in_flight < IN_FLIGHT_MAX {
            let Some(next) = zygote.backlog.pop_front() else { break };
            let Some(cell) = self.cells.get_mut(&next) else { continue };
            // Both go: the packet may be large, and the hand holds the socket whose end tells of the stage's.
            let (Some(hand), Some(fork)) = (cell.hand.take(), &mut cell.fork) else { continue };
            let packet = std::mem::take(&mut fork.packet);
            let descriptors = fork::descriptors(&hand, cell.pidfd.as_fd());
            zygote.in_flight += 1;
            socket::send(zygote.control.as_fd(), &packet, &descriptors)?;
        }
        Ok(())
    }

    /// A fork has become a worker, or never will.
    pub(super) fn fork_over(&mut self, cell_number: u64) {
        let Some(fork) = self.cells.get_mut(&cell_number).and_then(|c| c.fork.take()) else { return };
        let Some(zygote) = self.zygotes.get_mut(&fork.zygote) else { return };
        match zygote.backlog.iter().position(|n| *n == cell_number) {
            Some(at) => drop(zygote.backlog.remove(at)),
            None => zygote.in_flight = zygote.in_flight.saturating_sub(1),
        }
        if self.ask(fork.zygote).is_err() {
            self.end_zygote(fork.zygote, "it takes no requests");
        }
    }
}

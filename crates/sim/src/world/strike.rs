//! How faults strike.

use steadfast_broker::io::Input;
use steadfast_store::disk::Disk;
use steadfast_store::log::{SEGMENT_HEADER_LEN, segment_path};
use steadfast_types::LogOffset;

use super::World;
use crate::client::OPERATOR;
use crate::clock::Micros;
use crate::disk::Flip;
use crate::event::{Event, Life};
use crate::plan::{Crash, Fault, Part};
use crate::stage::Phase;

impl World {
    /// Faults whose number of operations was reached; the end of the phase, if it was.
    pub(super) fn strike_due(&mut self) {
        while let Some((at, fault)) = self.plan.faults.get(self.next_fault)
            && *at <= self.stage.operations
        {
            // Not exactly there: what is under way differs from one moment to the next.
            let delay = Micros::new(self.rng.skewed(0..20_000));
            self.stage.scheduler.after(delay, Event::Strike(fault.clone()));
            self.next_fault += 1;
        }
        if self.stage.operations >= self.plan.workload.operations {
            self.heal();
        }
    }

    pub(super) fn strike(&mut self, fault: &Fault) {
        let restart = matches!(fault, Fault::Crash(_) | Fault::Stop { .. });
        if self.stage.phase != Phase::Faults && !restart {
            return;
        }
        self.stage.note("fault", format_args!("{fault}"));
        match fault {
            Fault::Crash(crash) => self.crash(None, crash),
            Fault::Stop { .. } => {
                self.figures.count("clean stop");
                if let Some(node) = &mut self.node {
                    node.input(Input::Stop, &mut self.stage);
                }
            }
            Fault::Disk { fault, lasts } => {
                self.figures.count(fault.kind());
                self.disk.plan(fault.clone());
                self.stage.scheduler.after(*lasts, Event::HealDisk);
            }
            Fault::Full { left, lasts } => {
                self.figures.count("full disk");
                self.disk.set_capacity(u64::MAX);
                let used = u64::MAX - self.disk.free_bytes().unwrap_or(0);
                self.disk.set_capacity(used + left);
                self.stage.scheduler.after(*lasts, Event::FreeDisk);
            }
            Fault::Flip(part) => self.flip(*part),
            Fault::Clock(jump) => {
                self.figures.count("clock jump");
                self.stage.clock_error += jump;
            }
            Fault::Disconnect => {
                self.figures.count("disconnect");
                if let Some(conn) = self.stage.any_connection(&mut self.rng) {
                    self.stage.hang_up(conn);
                }
            }
            Fault::Grow => {
                self.figures.count("topic grows");
                self.clients[OPERATOR].grow(&mut self.stage);
            }
        }
    }

    /// The process dies, if it is the one of this life or none is named.
    pub(super) fn crash(&mut self, life: Option<Life>, crash: &Crash) {
        let starting = self.opening.as_ref().map(|(life, _)| *life);
        let running = self.node.as_ref().map(|node| node.life());
        if life.is_some() && running.or(starting) != life {
            return;
        }
        self.figures.count(match (crash.power, starting.is_some()) {
            (true, false) => "power cut",
            (false, false) => "kill",
            (true, true) => "power cut in recovery",
            (false, true) => "kill in recovery",
        });
        self.stage.note("world", format_args!("{}", Fault::Crash(crash.clone())));
        self.end_process(crash.power);
        if let Some(again) = crash.again.checked_sub(1) {
            let power = crash.power && self.rng.percent(50);
            self.crashes_at_start = Some(Crash { power, again, down: Micros::millis(20) });
        }
        self.stage.scheduler.after(crash.down, Event::Start);
    }

    /// The process is gone.
    pub(super) fn end_process(&mut self, power: bool) {
        if power {
            self.disk.power_cut(&mut self.rng);
        } else {
            self.disk.process_kill(&mut self.rng);
        }
        self.node = None;
        self.opening = None;
        self.stage.close_door();
    }

    /// A bit flips at rest.
    fn flip(&mut self, part: Part) {
        let flip = match part {
            Part::Log => self.flip_in_log(),
            part => self.disk.flip_random(part.path(), &mut self.rng),
        };
        let Some(flip) = flip else { return };
        self.figures.count("bit flip");
        self.stage.note("fault", format_args!("{flip:?}"));
        self.damages.add(flip, &self.disk);
        self.disk.take_window();
    }

    /// In a group of one, damage of the last batch is a torn tail by all that can be known. Only what is before it
    /// is damaged here.
    fn flip_in_log(&mut self) -> Option<Flip> {
        let end = self.decidable.get();
        if end <= SEGMENT_HEADER_LEN as u64 {
            return None;
        }
        // Half of them where the next recovery reads.
        let at = if self.rng.percent(50) { end - 1 - self.rng.skewed(0..end) } else { self.rng.below(end) };
        let base = at - at % self.plan.options.segment_size;
        let flip =
            Flip { path: segment_path(LogOffset::new(base)), byte: at - base, bit: self.rng.below(8) as u8 };
        self.disk.flip(&flip.path, flip.byte, flip.bit).then_some(flip)
    }
}

//! How faults strike.

use steadfast_broker::io::Input;
use steadfast_store::disk::Disk;

use super::World;
use crate::clock::Micros;
use crate::event::{Event, Life};
use crate::plan::{Crash, Fault};
use crate::stage::{Phase, SERVER};

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
            Fault::Crash(crash) => self.crash_soon(crash),
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
                let used = self.disk.space().map_or(0, |space| space.used());
                self.disk.set_capacity(used + left);
                self.stage.scheduler.after(*lasts, Event::FreeDisk);
            }
            Fault::Damage(damage) => self.damage(damage),
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
                self.clients.grow(&mut self.stage);
            }
        }
    }

    /// The process dies, when it writes if that is wanted.
    fn crash_soon(&mut self, crash: &Crash) {
        let idle = self.node.as_ref().is_some_and(|node| !node.is_writing());
        if !crash.writing || !idle {
            return self.crash(None, crash);
        }
        self.crash_when_writing = Some((self.stage.now() + Micros::millis(100), crash.clone()));
    }

    /// Looks whether the moment of a crash has come.
    pub(super) fn crash_if_writing(&mut self) {
        if let Some((latest, crash)) = self.crash_when_writing.take() {
            let now = self.stage.now();
            let idle = self.node.as_ref().is_some_and(|node| !node.is_writing());
            if idle && now < latest {
                self.crash_when_writing = Some((latest, crash));
            } else {
                // Somewhere in the write, or just after it.
                let at = Micros::new(self.rng.skewed(1..2_000));
                self.stage.scheduler.after(at, Event::Crash(None, crash));
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
            self.crashes_at_start = Some(Crash { power, writing: false, again, down: Micros::millis(20) });
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
        self.stage.close_door(SERVER);
    }
}

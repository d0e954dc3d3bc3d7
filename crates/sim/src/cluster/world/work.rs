//! What a group wants is carried out, and checked.

use bytes::Bytes;
use steadfast_consensus::{Message, Output, ReplicaId, Role, Write, encode};
use steadfast_store::log::Mark;

use super::{Event, World};
use crate::cluster::replica::{GROUP, LAYOUT, Life, Process};
use crate::disk::{Submitted, WindowId};
use crate::watch::Gist;

impl World {
    /// Something for a process, and what follows from it.
    pub(in crate::cluster) fn with_process(&mut self, id: ReplicaId, input: impl FnOnce(&mut Process)) {
        if let Some(process) = &mut self.replica(id).process {
            input(process);
            self.work(id);
        }
    }

    /// Carries out what a group wants until that is nothing.
    pub(super) fn work(&mut self, id: ReplicaId) {
        loop {
            let Some(process) = &mut self.replica(id).process else { return };
            let output = process.group.drain();
            let idle = output.write.is_none() && output.fetches.is_empty();
            self.carry_out(id, output);
            let Some(process) = &mut self.replica(id).process else { return };
            let queued = process.queue.len();
            // What is refused waits for what is under way, or for the end of this leadership.
            let _ = process.propose();
            if idle && process.queue.len() == queued {
                return;
            }
        }
    }

    fn carry_out(&mut self, id: ReplicaId, output: Output) {
        for committed in &output.committed {
            let Some(process) = &mut self.replicas[id as usize - 1].process else { return };
            self.checks.committed(id, process.applied, committed);
            process.applied = committed.entry.index;
            // What was proposed in another term is another entry.
            if let Some((term, numbers)) = process.waiting.remove(&committed.entry.index)
                && term == committed.entry.term
            {
                self.checks.acknowledged(self.plan.replicas, &committed.entry, &numbers);
            }
        }
        for read in &output.reads {
            let Some(process) = &mut self.replicas[id as usize - 1].process else { return };
            if let Some(must_see) = process.reads.remove(&read.number) {
                self.checks.read(id, must_see, read.index);
            }
        }
        if let Some((term, role)) = output.role {
            self.note("world", format_args!("replica {id} is {role:?} in term {term}"));
            self.checks.role(id, term, role);
            if role != Role::Leader
                && let Some(process) = &mut self.replica(id).process
            {
                // Nobody knows what becomes of what it had proposed.
                process.waiting.clear();
                process.reads.clear();
                let refused = process.queue.drain(..).count();
                self.checks.books.refused += refused as u64;
            }
        }
        for news in &output.news {
            self.count("disk recognised");
            self.note("world", format_args!("replica {id}: {news:?}"));
        }
        for message in &output.messages {
            self.send(message);
        }
        if let Some(write) = output.write {
            self.write(id, write);
        }
        for fetch in output.fetches {
            self.count("fetch");
            let replica = self.replica(id);
            let entries = fetch.perform(&replica.disk, LAYOUT).ok();
            let (life, Submitted { window, latency, .. }) = (replica.life, replica.disk.take_window());
            self.scheduler.after(latency, Event::Fetched(id, life, window, fetch.number, entries));
        }
        if let Some(halt) = output.halted {
            self.checks.find(Gist::Replicas, format!("replica {id}: {halt}"));
        }
    }

    fn send(&mut self, message: &Message) {
        self.checks.said(message);
        let bytes: Bytes = encode(GROUP, message).pieces().flatten().copied().collect::<Vec<u8>>().into();
        for delay in self.network.arrivals(message.from, message.to) {
            self.scheduler.after(delay, Event::Deliver(message.to, bytes.clone()));
        }
        self.tempt(message);
    }

    fn write(&mut self, id: ReplicaId, write: Write) {
        let replica = &mut self.replicas[id as usize - 1];
        let Some(process) = &mut replica.process else { return };
        let result = process.write(&write);
        let (life, Submitted { window, latency, .. }) = (replica.life, replica.disk.take_window());
        let (replaces, refills) = (write.keep.is_some(), process.group.fence().is_some());
        let event = Event::Wrote(id, life, window, Box::new(write), result);
        self.scheduler.after(latency, event);
        if replaces {
            self.tempt_replacing(id);
        }
        if refills {
            self.tempt_refilling(id);
        }
    }

    pub(super) fn wrote(
        &mut self,
        id: ReplicaId,
        life: Life,
        window: WindowId,
        write: &Write,
        result: Result<Mark, String>,
    ) {
        if self.replica(id).life != life {
            return;
        }
        self.replica(id).disk.settle(window);
        match result {
            Ok(mark) => {
                self.note("disk", format_args!("{id} wrote {}, log ends with {}", write.number, mark.index));
                self.checks.wrote(id, write);
                self.with_process(id, |process| process.group.persisted(write.number));
                self.look_at_losses(id);
            }
            // Promise P3: it takes no part any more until it has read its log again.
            Err(cause) => {
                self.note("disk", format_args!("{id} failed to write: {cause}"));
                self.count("poisoned");
                self.crash(id, Some(false));
            }
        }
    }
}

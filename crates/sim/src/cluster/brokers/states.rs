//! What must be the same on all replicas: who leads a term, and the state after an entry, whatever the way by which each
//! came to it.

use std::collections::BTreeMap;

use steadfast_consensus::ReplicaId;
use steadfast_types::{LogIndex, Term};

use super::machine::Machine;
use crate::trace::Hasher;
use crate::watch::{Gist, Watch};

/// States by the last entry that was applied.
#[derive(Default)]
pub(super) struct States {
    leaders: BTreeMap<Term, ReplicaId>,
    digests: BTreeMap<LogIndex, (ReplicaId, u64)>,
}

impl States {
    /// A replica leads from now on.
    pub(super) fn leads(&mut self, id: ReplicaId, term: Term, watch: &mut Watch) {
        let first = *self.leaders.entry(term).or_insert(id);
        if first != id {
            watch.find(Gist::Leaders, format!("replicas {first} and {id} both lead in term {term}"));
        }
    }

    /// Compares all replicas with what was seen so far.
    pub(super) fn compare(&mut self, machines: &[Machine], watch: &mut Watch) {
        for machine in machines {
            let Some(node) = &machine.node else { continue };
            let (index, state) = node.broker().encoded_state();
            let mut digest = Hasher(0);
            digest.bytes(&state);
            let (first, seen) = *self.digests.entry(index).or_insert((machine.id, digest.0));
            if seen != digest.0 {
                let id = machine.id;
                watch.find(
                    Gist::Replicas,
                    format!("replicas {first} and {id} are in different states after entry {index}"),
                );
            }
        }
    }
}

//! Replicas on real sockets, good ones and others.

pub(super) mod group;
mod intruders;
mod logs;
mod proofs;
mod slow;

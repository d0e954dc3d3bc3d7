//! Replicas on real sockets, good ones and others.

mod group;

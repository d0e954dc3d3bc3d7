//! The requests in flight on one connection. A request's opaque is the number of its slot.

use std::time::Instant;

use super::template::FIRST_OPAQUE;

/// What is remembered of a request until it is answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Open {
    /// Number of its first message.
    pub(super) first_id: u64,
    /// Queue it went to.
    pub(super) queue: u32,
    /// When it was due: in a closed loop when it was made, in an open loop when the rate said so.
    pub(super) due: Instant,
    /// When it was made.
    pub(super) sent: Instant,
}

/// A fixed number of slots.
#[derive(Debug)]
pub(super) struct Slots {
    open: Vec<Option<Open>>,
    free: Vec<u32>,
}

impl Slots {
    /// Room for `count` requests.
    pub(super) fn new(count: u32) -> Self {
        Self { open: vec![None; count as usize], free: (0..count).rev().collect() }
    }

    /// Whether a further request has room.
    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Whether no request is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.free.len() == self.open.len()
    }

    /// Takes a slot, if there is room, and returns its opaque.
    pub(super) fn take(&mut self, open: Open) -> Option<u32> {
        let slot = self.free.pop()?;
        self.open[slot as usize] = Some(open);
        Some(FIRST_OPAQUE + slot)
    }

    /// Ends the request with this opaque; None if there is no such request.
    pub(super) fn answer(&mut self, opaque: i32) -> Option<Open> {
        let slot = u32::try_from(opaque).ok()?.checked_sub(FIRST_OPAQUE)?;
        let open = self.open.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        Some(open)
    }

    /// Ends all requests without an answer.
    pub(super) fn abandon(&mut self) -> Vec<Open> {
        let abandoned = self.open.iter_mut().filter_map(Option::take).collect();
        self.free = (0..self.open.len() as u32).rev().collect();
        abandoned
    }

    /// When the oldest request in flight was made.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.open.iter().flatten().map(|open| open.sent).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(first_id: u64) -> Open {
        Open { first_id, queue: 0, due: Instant::now(), sent: Instant::now() }
    }

    #[test]
    fn a_slot_is_answered_once() {
        let mut slots = Slots::new(2);
        let (a, b) = (slots.take(open(1)).unwrap(), slots.take(open(2)).unwrap());
        assert!(!slots.has_room() && slots.take(open(3)).is_none());
        assert_eq!(slots.answer(b as i32).unwrap().first_id, 2);
        assert!(slots.answer(b as i32).is_none());
        assert!(slots.answer(-1).is_none() && slots.answer(5).is_none());
        assert!(!slots.is_idle());
        assert_eq!(slots.abandon().len(), 1);
        assert!(slots.is_idle() && slots.answer(a as i32).is_none());
    }
}

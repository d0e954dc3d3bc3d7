//! Counters since the process started.

/// What was stored and served.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    pub(super) stored: u64,
    pub(super) stored_bytes: u64,
    pub(super) served: u64,
}

impl Statistics {
    /// A message became durable.
    pub(crate) fn stored(&mut self, bytes: u64) {
        self.stored += 1;
        self.stored_bytes += bytes;
    }

    /// Messages were given to a consumer.
    pub(crate) fn served(&mut self, messages: usize) {
        self.served += messages as u64;
    }
}

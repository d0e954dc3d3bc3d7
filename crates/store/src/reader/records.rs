//! Records that were read.

use bytes::Bytes;

/// Records in the order in which they were asked for. Those that lie side by side in the log are one piece of memory,
/// which is sent as it is.
#[derive(Debug, Clone, Default)]
pub struct Records {
    pieces: Vec<Bytes>,
    /// Bytes in each record; none goes from one piece into the next.
    sizes: Vec<usize>,
    bytes: usize,
}

impl Records {
    /// None yet, with room for the sizes of `count` of them.
    pub fn with_room(count: usize) -> Self {
        Self { sizes: Vec::with_capacity(count), ..Self::default() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// Bytes in all of them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = Bytes> {
        let mut pieces = self.pieces.iter();
        let mut rest = Bytes::new();
        self.sizes.iter().map(move |size| {
            if rest.is_empty() {
                rest = pieces.next().cloned().unwrap_or_default();
            }
            rest.split_to(*size)
        })
    }

    /// The bytes of all.
    pub fn into_pieces(self) -> Vec<Bytes> {
        self.pieces
    }

    /// Appends a record that is a piece of its own.
    pub fn push(&mut self, record: Bytes) {
        self.count(record.len());
        self.pieces.push(record);
    }

    /// Appends records that lie side by side in `piece`, by their sizes.
    pub fn push_all(&mut self, piece: Bytes, sizes: impl IntoIterator<Item = usize>) {
        sizes.into_iter().for_each(|size| self.count(size));
        self.pieces.push(piece);
    }

    /// Appends a record whose piece comes later, perhaps with more of them.
    pub(super) fn count(&mut self, size: usize) {
        self.sizes.push(size);
        self.bytes += size;
    }

    /// The piece of all records that were counted since the last one.
    pub(super) fn push_piece(&mut self, piece: Bytes) {
        self.pieces.push(piece);
    }
}

impl FromIterator<Bytes> for Records {
    fn from_iter<I: IntoIterator<Item = Bytes>>(records: I) -> Self {
        let mut all = Self::default();
        records.into_iter().for_each(|record| all.push(record));
        all
    }
}

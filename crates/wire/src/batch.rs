//! The body of SEND_BATCH_MESSAGE (320): records one after another, without a count.
//!
//! A record: total size (4 bytes), magic (4), body CRC (4), flag (4), body length (4), body, properties length
//! (2), properties. Magic and CRC are zero on the wire; the broker computes its own CRC.

use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};

/// Bytes of a record besides its body and its properties.
const FIXED: usize = 22;

/// One message of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// The user's flag, stored and returned untouched.
    pub flag: i32,
    /// The message body; shares the batch's buffer.
    pub body: Bytes,
    /// The properties string, `name \x01 value \x02` repeated.
    pub properties: &'a str,
}

/// Why a batch cannot be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A length reaches beyond the batch or is negative, or the batch ends inside a record.
    #[error("batch record is cut short")]
    Truncated,
    /// The total size of a record is not what its parts add up to.
    #[error("batch record says {claimed} bytes but has {actual}")]
    SizeMismatch {
        /// The record's total-size field.
        claimed: i32,
        /// What its parts add up to, in bytes.
        actual: usize,
    },
    /// Properties are not UTF-8.
    #[error("batch record has properties that are not UTF-8")]
    NotUtf8,
    /// Properties exceed the 32767 bytes their length field can express.
    #[error("properties of {0} bytes are over the limit of 32767")]
    PropertiesTooLong(usize),
}

impl From<TryGetError> for BatchError {
    fn from(_: TryGetError) -> Self {
        BatchError::Truncated
    }
}

/// Iterates over the records of `batch`; ends after the first error.
pub fn records(batch: &Bytes) -> Records<'_> {
    Records { batch, at: 0 }
}

/// Iterator over a batch, see [`records`].
#[derive(Debug, Clone)]
pub struct Records<'a> {
    batch: &'a Bytes,
    at: usize,
}

impl<'a> Records<'a> {
    /// Moves past `length` bytes and returns where they start.
    fn advance(&mut self, length: i32) -> Result<usize, BatchError> {
        let length = usize::try_from(length).map_err(|_| BatchError::Truncated)?;
        if length > self.batch.len() - self.at {
            return Err(BatchError::Truncated);
        }
        let start = self.at;
        self.at += length;
        Ok(start)
    }

    fn record(&mut self) -> Result<Record<'a>, BatchError> {
        let start = self.at;
        let fixed = self.advance(20)?;
        let mut fixed = &self.batch[fixed..];
        let claimed = fixed.try_get_i32()?;
        let _magic = fixed.try_get_i32()?;
        let _crc = fixed.try_get_i32()?;
        let flag = fixed.try_get_i32()?;
        let body = self.advance(fixed.try_get_i32()?)?;
        let body = self.batch.slice(body..self.at);
        let length = self.advance(2)?;
        let length = (&self.batch[length..]).try_get_i16()?;
        let properties = self.advance(i32::from(length))?;
        let properties =
            std::str::from_utf8(&self.batch[properties..self.at]).map_err(|_| BatchError::NotUtf8)?;
        let actual = self.at - start;
        if usize::try_from(claimed) != Ok(actual) {
            return Err(BatchError::SizeMismatch { claimed, actual });
        }
        Ok(Record { flag, body, properties })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at == self.batch.len() {
            return None;
        }
        let record = self.record();
        if record.is_err() {
            self.at = self.batch.len();
        }
        Some(record)
    }
}

/// Appends one record to `out`. The whole batch must stay under the frame limit, see [`crate::frame::MAX_FRAME`].
pub fn encode(flag: i32, body: &[u8], properties: &str, out: &mut BytesMut) -> Result<(), BatchError> {
    let properties_len =
        i16::try_from(properties.len()).map_err(|_| BatchError::PropertiesTooLong(properties.len()))?;
    out.reserve(FIXED + body.len() + properties.len());
    out.put_u32((FIXED + body.len() + properties.len()) as u32);
    out.put_u64(0);
    out.put_i32(flag);
    out.put_u32(body.len() as u32);
    out.put_slice(body);
    out.put_i16(properties_len);
    out.put_slice(properties.as_bytes());
    Ok(())
}

//! Room for what a connection brings: it follows what was sent, not what was announced.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Room for a read: starts small, since most connections are quiet, and grows with what arrives.
const ROOM_MIN: usize = 4 * 1024;
/// The most that one read takes.
const ROOM_MAX: usize = 256 * 1024;

/// The room that the next read of a connection gets.
#[derive(Debug)]
pub struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Room(ROOM_MIN)
    }
}

impl Room {
    /// Appends what has arrived to `buf`; 0 bytes at the stream's end. Nothing is lost if it is dropped before it is
    /// ready.
    pub async fn read(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        buf: &mut BytesMut,
    ) -> io::Result<usize> {
        self.make(buf);
        let spare = buf.capacity() - buf.len();
        let read = from.read_buf(buf).await?;
        self.0 = match self.0 {
            room if read == spare => (room * 2).min(ROOM_MAX),
            room if read < room / 4 => (room / 2).max(ROOM_MIN),
            room => room,
        };
        Ok(read)
    }

    /// A partial frame gets as much again as it has.
    fn make(&self, buf: &mut BytesMut) {
        if buf.is_empty() && buf.capacity() > 2 * self.0 {
            *buf = BytesMut::new();
        }
        let wanted = self.0.max(buf.len());
        if buf.capacity() - buf.len() < wanted / 2 {
            buf.reserve(wanted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_follows_what_was_sent() {
        let (mut room, mut buf) = (Room::default(), BytesMut::new());
        let mut sent = 0;
        while sent < 1 << 20 {
            // By and by, as somebody sends who has announced much.
            let some = vec![7; 1 + sent / 100];
            sent += room.read(&mut &some[..], &mut buf).await.unwrap();
            assert_eq!(buf.len(), sent);
            assert!(buf.capacity() <= 4 * sent + 2 * ROOM_MIN, "{} for {sent}", buf.capacity());
        }
        // What was large once does not stay so.
        buf.clear();
        for _ in 0..20 {
            room.read(&mut &b"x"[..], &mut buf).await.unwrap();
            buf.clear();
        }
        assert!(buf.capacity() <= 4 * ROOM_MIN, "{}", buf.capacity());
    }
}

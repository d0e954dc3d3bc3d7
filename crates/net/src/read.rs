//! The receiving half of a server's connection: bytes in, batches of frames out.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use bytes::BytesMut;
use steadfast_wire::frame::{self, Frame, FrameError};
use tokio::net::tcp::OwnedReadHalf;
use tokio::select;

use crate::connection::Connection;
use crate::room::Room;
use crate::server::{Activity, Handler};
use crate::unfinished::Unfinished;

/// First byte of a TLS record that opens a handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// Bytes that tell one protocol from another.
const PROTOCOL_MARK: usize = 4;

/// Why a connection ended, if not by the client's will.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The network's fault.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Not our protocol.
    #[error("not the remoting protocol: {0}")]
    Frame(#[from] FrameError),
    /// A TLS client.
    #[error(
        "the client speaks TLS, which this server does not: switch it off in the client (Java: \
         -Dtls.enable=false, or setUseTLS(false))"
    )]
    Tls,
    /// A web browser or health check.
    #[error("the client speaks HTTP; this port takes RocketMQ's remoting protocol only")]
    Http,
}

/// Reads until the connection ends.
pub(crate) async fn run<H: Handler>(
    mut socket: OwnedReadHalf,
    conn: &Arc<Connection>,
    (activity, unfinished): (&Activity, &Unfinished),
    handler: &H,
) -> Result<(), ReadError> {
    let mut buf = BytesMut::new();
    let mut frames = Vec::new();
    let mut room = Room::default();
    let mut is_first = true;
    let mut held = 0;
    let mut closing = pin!(conn.closing.notified());
    loop {
        let read = select! {
            // In this order, or who sends without a pause could not be told to go.
            biased;
            () = &mut closing => return Ok(()),
            read = room.read(&mut socket, &mut buf) => read?,
        };
        if read == 0 {
            return Ok(());
        }
        if is_first {
            refuse_other_protocols(&buf)?;
            is_first = buf.len() < PROTOCOL_MARK;
        }
        let split = split_all(&mut buf, &mut frames);
        let holds = if buf.is_empty() { 0 } else { buf.capacity() };
        if holds != held {
            unfinished.hold(conn, holds, !frames.is_empty());
            held = holds;
        }
        if !frames.is_empty() {
            activity.touch();
            handler.frames(conn, &mut frames);
            frames.clear();
        }
        split?;
        if conn.is_busy(1) {
            select! {
                () = until_answered(conn) => {}
                () = &mut closing => return Ok(()),
            }
        }
    }
}

fn split_all(buf: &mut BytesMut, frames: &mut Vec<Frame>) -> Result<(), FrameError> {
    while let Some(frame) = frame::split(buf)? {
        frames.push(frame);
    }
    Ok(())
}

async fn until_answered(conn: &Connection) {
    while conn.is_busy(2) {
        conn.answered.notified().await;
    }
}

fn refuse_other_protocols(first: &[u8]) -> Result<(), ReadError> {
    match first {
        [TLS_HANDSHAKE, ..] => Err(ReadError::Tls),
        [b'G', b'E', b'T', b' ', ..] | [b'H', b'E', b'A', b'D', ..] | [b'P', b'O', b'S', b'T', ..] => {
            Err(ReadError::Http)
        }
        _ => Ok(()),
    }
}

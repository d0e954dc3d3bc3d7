//! A remoting client: one connection, a table of the requests that wait for an answer, and their time-outs.
//!
//! Requests share the connection and may be answered in any order. A request ends in exactly one way: with its
//! response, by its time-out, or because the connection is gone. In the last two cases the server may have
//! carried it out or not. Requests that the server sends to its clients are ignored.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use steadfast_wire::frame::{self, Frame, FrameError, MAX_FRAME, Serialize};
use steadfast_wire::header::{Header, HeaderError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Requests that may wait to be written before [`Client::request`] waits too.
const WRITE_QUEUE: usize = 1024;
/// Bytes that are gathered into one write.
const WRITE_BYTES: usize = 256 * 1024;

/// Why a request got no response.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The connection could not be opened.
    #[error("cannot connect to {addr}")]
    Connect {
        /// Host and port.
        addr: String,
        /// The cause.
        source: io::Error,
    },
    /// No answer came in time.
    #[error("no answer from {addr} within {} ms", limit.as_millis())]
    TimedOut {
        /// Host and port.
        addr: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The connection was gone before the answer came.
    #[error("the connection to {addr} is closed: {reason}")]
    Closed {
        /// Host and port.
        addr: String,
        /// What ended it.
        reason: String,
    },
    /// Header and body together exceed [`MAX_FRAME`].
    #[error("a request of {0} bytes is over the frame limit of {MAX_FRAME}")]
    TooLarge(usize),
}

impl ClientError {
    /// Whether the request never left, so that the server cannot have carried it out.
    pub fn is_before_sending(&self) -> bool {
        matches!(self, ClientError::Connect { .. } | ClientError::TooLarge(_))
    }
}

/// A handle to a connection; clones share it. It closes when the last handle is gone.
#[derive(Debug, Clone)]
pub struct Client {
    addr: Arc<str>,
    serialize: Serialize,
    out: mpsc::Sender<BytesMut>,
    table: Arc<Table>,
}

/// A response, whatever its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The response code, see [`steadfast_wire::code::response`].
    pub code: i32,
    frame: Frame,
}

impl Response {
    /// The decoded header.
    pub fn header(&self) -> Result<Header<'_>, HeaderError> {
        Header::decode(self.frame.serialize, &self.frame.header)
    }

    /// The body; empty when there is none.
    pub fn body(&self) -> &Bytes {
        &self.frame.body
    }

    /// The error text, or an empty one.
    pub fn remark(&self) -> String {
        self.header().ok().and_then(|header| header.remark).map(String::from).unwrap_or_default()
    }
}

impl Client {
    /// Connects to `addr` (host and port); its requests carry headers in the given form.
    pub async fn connect(addr: &str, serialize: Serialize, limit: Duration) -> Result<Self, ClientError> {
        let failed = |source: io::Error| {
            let source = match source.kind() {
                io::ErrorKind::InvalidInput => io::Error::new(source.kind(), "this is not HOST:PORT"),
                _ => source,
            };
            ClientError::Connect { addr: addr.to_owned(), source }
        };
        let stream = timeout(limit, TcpStream::connect(addr))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(failed)?;
        let table = Arc::new(Table::default());
        let (out, queue) = mpsc::channel(WRITE_QUEUE);
        tokio::spawn(drive(stream, queue, Arc::clone(&table)));
        Ok(Self { addr: addr.into(), serialize, out, table })
    }

    /// Host and port, as given to [`Client::connect`].
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// Waits until the connection has ended, for whatever reason.
    pub async fn ended(&self) {
        self.out.closed().await;
    }

    /// Sends a request and waits for its response. The header's opaque is chosen here.
    pub async fn request(
        &self,
        mut header: Header<'_>,
        body: &[u8],
        limit: Duration,
    ) -> Result<Response, ClientError> {
        header.opaque = self.table.next.fetch_add(1, Ordering::Relaxed);
        let frame = self.encode(&header, body)?;
        let (waiting, answer) = self.table.open(header.opaque).map_err(|reason| self.closed(reason))?;
        let answered = timeout(limit, async {
            // A failed send means that the driver is gone; then the answer fails as well.
            let _ = self.out.send(frame).await;
            answer.await
        })
        .await;
        drop(waiting);
        match answered {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(_)) => Err(self.closed(self.table.reason())),
            Err(_) => Err(ClientError::TimedOut { addr: self.addr.to_string(), limit }),
        }
    }

    /// Hands over a request that gets no response. Success means that it was queued, not that it arrived.
    pub async fn oneway(&self, header: Header<'_>, body: &[u8]) -> Result<(), ClientError> {
        let mut header = header.oneway();
        header.opaque = self.table.next.fetch_add(1, Ordering::Relaxed);
        let frame = self.encode(&header, body)?;
        self.out.send(frame).await.map_err(|_| self.closed(self.table.reason()))
    }

    fn encode(&self, header: &Header<'_>, body: &[u8]) -> Result<BytesMut, ClientError> {
        let mut out = BytesMut::with_capacity(512 + body.len());
        frame::encode(self.serialize, header, body.len(), &mut out);
        out.put_slice(body);
        if out.len() - 4 > MAX_FRAME { Err(ClientError::TooLarge(out.len())) } else { Ok(out) }
    }

    fn closed(&self, reason: String) -> ClientError {
        ClientError::Closed { addr: self.addr.to_string(), reason }
    }
}

/// The requests that wait for an answer.
#[derive(Debug, Default)]
struct Table {
    next: AtomicI32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<i32, oneshot::Sender<Response>>,
    /// Why the connection ended; nothing can be opened any more.
    ended: Option<String>,
}

/// Takes a request out of the table, however its caller ends.
struct Waiting<'a> {
    table: &'a Table,
    opaque: i32,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.table.lock().waiting.remove(&self.opaque);
    }
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, opaque: i32) -> Result<(Waiting<'_>, oneshot::Receiver<Response>), String> {
        let mut state = self.lock();
        if let Some(reason) = &state.ended {
            return Err(reason.clone());
        }
        let (sender, receiver) = oneshot::channel();
        state.waiting.insert(opaque, sender);
        Ok((Waiting { table: self, opaque }, receiver))
    }

    /// Hands a frame to the request it answers. A late answer, or a request of the server, has no taker.
    fn answer(&self, frame: Frame) -> Result<(), HeaderError> {
        let header = Header::decode(frame.serialize, &frame.header)?;
        let (code, opaque) = (header.code, header.opaque);
        if header.is_response()
            && let Some(waiting) = self.lock().waiting.remove(&opaque)
        {
            let _ = waiting.send(Response { code, frame });
        }
        Ok(())
    }

    fn end(&self, reason: String) {
        let mut state = self.lock();
        state.ended = Some(reason);
        state.waiting.clear();
    }

    fn reason(&self) -> String {
        self.lock().ended.clone().unwrap_or_default()
    }
}

/// Reads and writes until the connection ends or all handles are gone.
async fn drive(stream: TcpStream, queue: mpsc::Receiver<BytesMut>, table: Arc<Table>) {
    let (reader, writer) = stream.into_split();
    let ended = tokio::select! {
        ended = read(reader, &table) => ended,
        ended = write(writer, queue) => ended,
    };
    table.end(ended.map_or_else(|error| error.to_string(), |()| "all handles are gone".to_owned()));
}

#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the server closed it")]
    ByPeer,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Header(#[from] HeaderError),
}

async fn read(mut reader: OwnedReadHalf, table: &Table) -> Result<(), Ended> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(64 * 1024);
        if reader.read_buf(&mut buffer).await? == 0 {
            return Err(Ended::ByPeer);
        }
        while let Some(frame) = frame::split(&mut buffer)? {
            table.answer(frame)?;
        }
    }
}

async fn write(mut writer: OwnedWriteHalf, mut queue: mpsc::Receiver<BytesMut>) -> Result<(), Ended> {
    while let Some(mut bytes) = queue.recv().await {
        while bytes.len() < WRITE_BYTES
            && let Ok(more) = queue.try_recv()
        {
            bytes.extend_from_slice(&more);
        }
        writer.write_all(&bytes).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use steadfast_wire::code::{request, response};
    use tokio::net::TcpListener;

    const LONG: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(20);

    /// A server that reads `count` requests and then answers those that `answers` picks, in its order.
    async fn server(count: usize, answers: &'static [usize]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = BytesMut::new();
            let mut frames = Vec::new();
            while frames.len() < count {
                match frame::split(&mut buffer).unwrap() {
                    Some(frame) => frames.push(frame),
                    None => assert_ne!(stream.read_buf(&mut buffer).await.unwrap(), 0),
                }
            }
            for index in answers {
                let frame = &frames[*index];
                let asked = Header::decode(frame.serialize, &frame.header).unwrap();
                let header = Header::response(response::SUCCESS, asked.opaque).with_remark("seen");
                let mut out = BytesMut::new();
                frame::encode(frame.serialize, &header, frame.body.len(), &mut out);
                out.put_slice(&frame.body);
                stream.write_all(&out).await.unwrap();
            }
            // Stays open until the client closes it.
            let _ = stream.read_buf(&mut buffer).await;
        });
        addr
    }

    fn asking() -> Header<'static> {
        Header::request(request::GET_MAX_OFFSET, 0)
    }

    #[tokio::test]
    async fn answers_in_any_order_find_their_requests() {
        for serialize in [Serialize::Json, Serialize::RocketMq] {
            let client = Client::connect(&server(2, &[1, 0]).await, serialize, LONG).await.unwrap();
            let (a, b) =
                tokio::join!(client.request(asking(), b"a", LONG), client.request(asking(), b"b", LONG));
            assert_eq!(a.unwrap().body().as_ref(), b"a");
            let b = b.unwrap();
            assert_eq!((b.code, b.body().as_ref(), b.remark().as_str()), (0, b"b".as_slice(), "seen"));
            assert!(client.table.lock().waiting.is_empty());
        }
    }

    #[tokio::test]
    async fn an_unanswered_request_times_out_and_leaves_the_table() {
        let client = Client::connect(&server(1, &[]).await, Serialize::Json, LONG).await.unwrap();
        let error = client.request(asking(), b"", SHORT).await.unwrap_err();
        assert!(matches!(error, ClientError::TimedOut { limit: SHORT, .. }), "{error}");
        assert!(client.table.lock().waiting.is_empty());
    }

    #[tokio::test]
    async fn a_closed_connection_ends_open_and_later_requests() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let client = Client::connect(&addr, Serialize::Json, LONG).await.unwrap();
        let (open, ()) = tokio::join!(client.request(asking(), b"", LONG), async {
            drop(listener.accept().await.unwrap());
        });
        assert!(matches!(open, Err(ClientError::Closed { .. })), "{open:?}");
        let later = client.request(asking(), b"", LONG).await.unwrap_err();
        assert!(matches!(later, ClientError::Closed { .. }), "{later}");
    }

    #[tokio::test]
    async fn an_oversized_request_is_refused_here() {
        let client = Client::connect(&server(1, &[]).await, Serialize::Json, LONG).await.unwrap();
        let error = client.request(asking(), &vec![0; MAX_FRAME], LONG).await.unwrap_err();
        assert!(matches!(error, ClientError::TooLarge(_)));
    }
}

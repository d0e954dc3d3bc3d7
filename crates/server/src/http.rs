//! A small HTTP server for probes and Prometheus: GET on a few fixed paths, one request a connection, everything
//! bounded. It speaks enough of HTTP/1.1 (RFC 9112) for curl, Kubernetes and Prometheus, and no more.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// Most bytes of a request's head.
const HEAD_MAX: usize = 8 * 1024;
/// Most connections at a time. For a further one the oldest is closed that has not sent its request; if all have, the
/// further one is.
const CONNECTIONS: usize = 32;
/// Longest time for a request to come, and for an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause when accepting fails, for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// For example "200 OK".
    pub(crate) status: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
}

impl Answer {
    /// Lines for people.
    pub(crate) fn text(status: &'static str, body: impl Into<String>) -> Self {
        Answer { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }
}

/// Answers requests for a path.
pub(crate) trait Pages: Send + Sync + 'static {
    /// The page at `path`, without its query.
    fn get(&self, path: &str) -> impl Future<Output = Answer> + Send;
}

/// A connection.
struct Open {
    task: AbortHandle,
    /// Its request has come.
    asked: Arc<AtomicBool>,
}

/// Serves for ever.
pub(crate) async fn serve<P: Pages>(listener: TcpListener, pages: Arc<P>) {
    let mut open: Vec<Open> = Vec::with_capacity(CONNECTIONS);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        open.retain(|connection| !connection.task.is_finished());
        if open.len() == CONNECTIONS {
            let Some(idle) = open.iter().position(|connection| !connection.asked.load(Relaxed)) else {
                continue;
            };
            open.remove(idle).task.abort();
        }
        let (pages, asked) = (Arc::clone(&pages), Arc::new(AtomicBool::new(false)));
        let has_asked = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            // Whoever goes away in the middle is not our concern.
            let _ = timeout(3 * PATIENCE, converse(stream, &*pages, &has_asked)).await;
        });
        open.push(Open { task: task.abort_handle(), asked });
    }
}

async fn converse<P: Pages>(mut stream: TcpStream, pages: &P, asked: &AtomicBool) -> std::io::Result<()> {
    let head = timeout(PATIENCE, head(&mut stream)).await;
    asked.store(true, Relaxed);
    let (answer, with_body) = match head {
        Err(_) => return Ok(()),
        Ok(head) => match head?.as_deref().map(parse) {
            None => (Answer::text("431 Request Header Fields Too Large", "the request is too long\n"), true),
            Some(None) => (Answer::text("400 Bad Request", "this is not HTTP/1\n"), true),
            Some(Some(("GET", path))) => (pages.get(path).await, true),
            Some(Some(("HEAD", path))) => (pages.get(path).await, false),
            Some(Some(_)) => (Answer::text("405 Method Not Allowed", "only GET is answered here\n"), true),
        },
    };
    let Answer { status, content_type, body } = answer;
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    if with_body {
        stream.write_all(body.as_bytes()).await?;
    }
    stream.shutdown().await
}

/// Reads up to the empty line that ends the head; None if it is too long.
async fn head(stream: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= HEAD_MAX {
            return Ok(None);
        }
        let mut chunk = [0; 1024];
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&chunk[..read]);
    }
    Ok(Some(head))
}

/// Method and path of a request.
fn parse(head: &[u8]) -> Option<(&str, &str)> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let is_http = version.starts_with("HTTP/1.") && words.next().is_none();
    let path = target.split(['?', '#']).next()?;
    (is_http && path.starts_with('/')).then_some((method, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Pages for Fixed {
        async fn get(&self, _path: &str) -> Answer {
            Answer::text("200 OK", "ok\n")
        }
    }

    /// A probe that is not answered in time has the process killed.
    #[tokio::test]
    async fn connections_that_ask_nothing_keep_nobody_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("its address");
        tokio::spawn(serve(listener, Arc::new(Fixed)));
        let mut idle = Vec::new();
        for _ in 0..3 * CONNECTIONS {
            idle.push(TcpStream::connect(addr).await.expect("a connection"));
        }
        let ask = async {
            let mut stream = TcpStream::connect(addr).await?;
            stream.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.map(|_| answer)
        };
        let answer = timeout(PATIENCE / 2, ask).await.expect("in time").expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok\n"), "{answer}");
        // The oldest were closed, the newest were not.
        assert_eq!(idle[0].read(&mut [0]).await.expect("the end"), 0);
        assert!(
            idle[3 * CONNECTIONS - 1]
                .try_read(&mut [0])
                .is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock)
        );
    }

    #[test]
    fn requests_are_read_or_refused() {
        for (head, expected) in [
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", Some(("GET", "/metrics"))),
            ("GET /metrics?name=x HTTP/1.0\r\n\r\n", Some(("GET", "/metrics"))),
            ("HEAD / HTTP/1.1\r\n\r\n", Some(("HEAD", "/"))),
            ("GET http://a/metrics HTTP/1.1\r\n\r\n", None),
            ("GET /metrics HTTP/2.0\r\n\r\n", None),
            ("GET /a b HTTP/1.1\r\n\r\n", None),
            ("\r\n\r\n", None),
        ] {
            assert_eq!(parse(head.as_bytes()), expected, "{head:?}");
        }
        assert_eq!(parse(b"GET /\xff HTTP/1.1\r\n\r\n"), None);
    }
}

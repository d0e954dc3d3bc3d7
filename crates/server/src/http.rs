//! A small HTTP server for probes and Prometheus: GET on a few fixed paths, one request a connection, everything
//! bounded. It speaks enough of HTTP/1.1 (RFC 9112) for curl, Kubernetes and Prometheus, and no more.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Most bytes of a request's head.
const HEAD_MAX: usize = 8 * 1024;
/// Most connections at a time; further ones wait to be accepted.
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

/// Serves for ever.
pub(crate) async fn serve<P: Pages>(listener: TcpListener, pages: Arc<P>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let pages = Arc::clone(&pages);
                tokio::spawn(async move {
                    // Whoever goes away in the middle is not our concern.
                    let _ = timeout(3 * PATIENCE, converse(stream, &*pages)).await;
                    drop(slot);
                });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn converse<P: Pages>(mut stream: TcpStream, pages: &P) -> std::io::Result<()> {
    let (answer, with_body) = match timeout(PATIENCE, head(&mut stream)).await {
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

//! A stream of frames gives the same frames whether it arrives whole or in pieces.

use bytes::BytesMut;
use steadfast_wire::batch;
use steadfast_wire::frame::{self, Frame, FrameError, MAX_FRAME};
use steadfast_wire::header::Header;

/// The first byte is the size of the pieces, the rest is the stream.
pub(crate) fn run(data: &[u8]) {
    let Some((&piece, stream)) = data.split_first() else { return };
    let (frames, end) = split_pieces(stream, stream.len().max(1));
    assert_eq!((&frames, &end), (&split_pieces(stream, usize::from(piece).max(1)).0, &end));

    let consumed: usize = frames.iter().map(|frame| 8 + frame.header.len() + frame.body.len()).sum();
    assert!(consumed <= stream.len());
    if let Some(FrameError::TooLarge { length }) = end {
        assert!(length as usize > MAX_FRAME);
    }
    for frame in &frames {
        let _ = Header::decode(frame.serialize, &frame.header);
        check_batch(frame);
    }
}

fn split_pieces(stream: &[u8], piece: usize) -> (Vec<Frame>, Option<FrameError>) {
    let (mut buf, mut frames) = (BytesMut::new(), Vec::new());
    for piece in stream.chunks(piece) {
        buf.extend_from_slice(piece);
        loop {
            match frame::split(&mut buf) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// A batch that reads to its end is written the same again, but for the fields that are zero on the wire.
fn check_batch(frame: &Frame) {
    let mut again = BytesMut::new();
    for record in batch::records(&frame.body) {
        let Ok(record) = record else { return };
        assert!(batch::encode(record.flag, &record.body, record.properties, &mut again).is_ok());
    }
    assert_eq!(again.len(), frame.body.len());
    let read = |bytes| batch::records(bytes).map(|record| format!("{record:?}")).collect::<Vec<_>>();
    assert_eq!(read(&frame.body), read(&again.freeze()));
}

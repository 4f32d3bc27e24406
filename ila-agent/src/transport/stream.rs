//! The streams of a connection: frames, one behind the other.

use ila_proto::gossip::frame::{Frame, Read};
use quinn::{RecvStream, SendStream};

use super::TransportError;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 16;

/// What is read from a peer.
#[derive(Debug)]
pub struct Reader {
    stream: RecvStream,
    unread: Vec<u8>,
}

/// What is written to one.
#[derive(Debug)]
pub struct Writer {
    stream: SendStream,
}

impl Reader {
    pub(super) const fn new(stream: RecvStream) -> Self {
        Self { stream, unread: Vec::new() }
    }

    /// The next frame that this version knows.
    pub async fn read(&mut self) -> Result<Frame, TransportError> {
        loop {
            match Frame::read(&self.unread)? {
                Read::Frame(frame, taken) => {
                    self.unread.drain(..taken);
                    return Ok(frame);
                }
                Read::Unknown(_, taken) => drop(self.unread.drain(..taken)),
                Read::Part => {
                    let chunk = self.stream.read_chunk(CHUNK, true).await?;
                    self.unread.extend_from_slice(&chunk.ok_or(TransportError::Ended)?.bytes);
                }
            }
        }
    }
}

impl Writer {
    pub(super) const fn new(stream: SendStream) -> Self {
        Self { stream }
    }

    /// Writes a frame, as soon as the other side takes it.
    pub async fn write(&mut self, frame: &Frame) -> Result<(), TransportError> {
        Ok(self.stream.write_all(&frame.write()?).await?)
    }
}

//! The streams of a connection: frames, one behind the other.

use std::{sync::Arc, time::Duration};

use ila_proto::gossip::{
    frame::{Frame, HEADER, Read, Version},
    wire,
};
use quinn::{RecvStream, SendStream};

use super::{Counts, Reason, TransportError};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 16;

/// How long the rest of a frame may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is read from a peer.
#[derive(Debug)]
pub struct Reader {
    stream: RecvStream,
    unread: Vec<u8>,
    version: Version,
    counts: Arc<Counts>,
}

/// What is written to one.
#[derive(Debug)]
pub struct Writer {
    stream: SendStream,
    version: Version,
    counts: Arc<Counts>,
}

impl Reader {
    pub(super) const fn new(stream: RecvStream, version: Version, counts: Arc<Counts>) -> Self {
        Self { stream, unread: Vec::new(), version, counts }
    }

    /// The next frame that the version has which is spoken. After an error there is none.
    pub async fn read(&mut self) -> Result<Frame, TransportError> {
        loop {
            match Frame::read(&self.unread, self.version) {
                Ok(Read::Frame(frame, taken)) => {
                    self.unread.drain(..taken);
                    return Ok(frame);
                }
                Ok(Read::Unknown(_, taken)) => {
                    self.counts.count(Reason::FrameUnknown);
                    self.unread.drain(..taken);
                }
                Ok(Read::Part) if self.unread.is_empty() => self.read_more().await?,
                Ok(Read::Part) => self.read_rest().await?,
                Err(malformed) => {
                    self.counts.count(if is_too_long(&self.unread) {
                        Reason::FrameTooLong
                    } else {
                        Reason::FrameMalformed
                    });
                    return Err(malformed.into());
                }
            }
        }
    }

    /// Reads until the frame that has begun is whole, or will never be one.
    async fn read_rest(&mut self) -> Result<(), TransportError> {
        let rest = async {
            while is_part(&self.unread) {
                self.read_more().await?;
            }
            Ok(())
        };
        match tokio::time::timeout(PATIENCE, rest).await {
            Ok(Err(TransportError::Ended)) => {
                self.counts.count(Reason::FrameTruncated);
                Err(TransportError::Ended)
            }
            Ok(read) => read,
            Err(_) => {
                self.counts.count(Reason::FrameTimeout);
                Err(TransportError::Slow)
            }
        }
    }

    async fn read_more(&mut self) -> Result<(), TransportError> {
        let chunk = self.stream.read_chunk(CHUNK, true).await?.ok_or(TransportError::Ended)?;
        self.counts.received(chunk.bytes.len());
        self.unread.extend_from_slice(&chunk.bytes);
        Ok(())
    }
}

/// Whether there is more of the frame to come that begins there.
fn is_part(bytes: &[u8]) -> bool {
    length(bytes).is_none_or(|it| it <= wire::MAX_BYTES && bytes.len() < HEADER + it)
}

/// Whether the frame that begins there says that it is longer than any may be.
fn is_too_long(bytes: &[u8]) -> bool {
    length(bytes).is_some_and(|it| it > wire::MAX_BYTES)
}

fn length(bytes: &[u8]) -> Option<usize> {
    let [_, length @ ..] = bytes.first_chunk::<HEADER>()?;
    Some(usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX))
}

impl Writer {
    pub(super) const fn new(stream: SendStream, version: Version, counts: Arc<Counts>) -> Self {
        Self { stream, version, counts }
    }

    /// Writes a frame, as soon as the other side takes it.
    pub async fn write(&mut self, frame: Frame) -> Result<(), TransportError> {
        let bytes = frame.spoken(self.version).write()?;
        self.stream.write_all(&bytes).await?;
        self.counts.sent(bytes.len());
        Ok(())
    }
}

//! Messages on a stream: JSON, its length in four bytes before it.

use ila_proto::enrol::{EXPORTER_LABEL, Exporter, MAX_MESSAGE};
use quinn::{Connection, ConnectionError, ReadExactError, RecvStream, SendStream, WriteError};
use serde::{Serialize, de::DeserializeOwned};

/// Why a message was not sent or not understood.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The connection has ended.
    #[error("the connection has ended: {0}")]
    Connection(#[from] ConnectionError),
    /// The stream has ended.
    #[error("the message has ended before its end: {0}")]
    Read(#[from] ReadExactError),
    /// Nobody reads it.
    #[error("the message is not taken: {0}")]
    Write(#[from] WriteError),
    /// It is longer than messages are.
    #[error("a message of {0} bytes is too long")]
    TooLong(usize),
    /// It is no such message.
    #[error("a message is not understood: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The session exports nothing.
    #[error("the connection cannot be told from others")]
    Exporter,
}

/// Sends a message.
pub async fn send(stream: &mut SendStream, message: &impl Serialize) -> Result<(), WireError> {
    let bytes = serde_json::to_vec(message)?;
    let length = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= MAX_MESSAGE);
    let length = length.ok_or(WireError::TooLong(bytes.len()))?;
    stream.write_all(&length.to_be_bytes()).await?;
    Ok(stream.write_all(&bytes).await?)
}

/// Waits for a message.
pub async fn receive<T: DeserializeOwned>(stream: &mut RecvStream) -> Result<T, WireError> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_MESSAGE {
        return Err(WireError::TooLong(length));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// What tells this connection from all others.
pub fn exporter(connection: &Connection) -> Result<Exporter, WireError> {
    let mut exporter = Exporter::default();
    let exported = connection.export_keying_material(&mut exporter, EXPORTER_LABEL, b"");
    exported.map(|()| exporter).map_err(|_| WireError::Exporter)
}

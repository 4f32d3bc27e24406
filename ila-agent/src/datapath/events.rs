//! The programs' reports of dropped packets.

use std::{fmt, io, ptr};

use aya::maps::{Map, MapData, RingBuf};
use ila_proto::abi::{Event, MAP_EVENTS};
use tokio::io::{Interest, unix::AsyncFd};

use super::{DatapathError, Tables};

/// The reader of the ring buffer.
pub struct Events {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    /// The reader of these tables' ring buffer, of which there is one.
    pub fn of(tables: &mut Tables) -> Result<Self, DatapathError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| DatapathError::Map {
            map: MAP_EVENTS,
            source,
        };
        let data = tables.take_events().ok_or(DatapathError::Missing(MAP_EVENTS))?;
        let ring = RingBuf::try_from(Map::RingBuf(data)).map_err(|error| failed(error.into()))?;
        // SAFETY: the map's descriptor is the ring's own and stays open with it.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        Ok(Self { ring: ring.map_err(|error| failed(error.to_string().into()))? })
    }

    /// Waits for events and takes all that there are.
    pub async fn read(&mut self) -> io::Result<Vec<Event>> {
        let mut ready = self.ring.readable_mut().await?;
        let mut events = Vec::new();
        while let Some(record) = ready.get_inner_mut().next() {
            if record.len() == size_of::<Event>() {
                // SAFETY: the record has the size of an event, which is made
                // of integers only, and is read whatever its alignment.
                events.push(unsafe { ptr::read_unaligned(record.as_ptr().cast::<Event>()) });
            }
        }
        ready.clear_ready();
        Ok(events)
    }
}

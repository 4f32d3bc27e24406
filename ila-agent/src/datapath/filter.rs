//! Our clsact filter on an interface: where it is, and which program is there.

use std::io;

use aya::programs::{
    TcAttachType,
    tc::{SchedClassifierLink, TcHandle},
};
use ila_proto::api::InterfaceName;
use nix::net::if_::if_nametoindex;
use rtnetlink::{
    packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        tc::{self, TcAttribute, TcFilterBpfOption, TcMessage, TcOption},
    },
    sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE},
};

/// Where it is among others, so that it is found again. All agents use the same
/// place, so that two on one interface are noticed.
pub const PRIORITY: u16 = 0x494c;
/// The same within the priority.
pub const HANDLE: TcHandle = TcHandle::new(0, HANDLE_MINOR);
const HANDLE_MINOR: u16 = 1;

/// Where messages in a datagram start (`NLMSG_ALIGNTO`).
const ALIGNMENT: usize = 4;

/// The filter, whether it is there or not.
pub fn at(interface: &InterfaceName) -> io::Result<SchedClassifierLink> {
    SchedClassifierLink::attached(interface.as_str(), TcAttachType::Ingress, PRIORITY, HANDLE, None)
}

/// The number of the program that it runs, ours or another agent's; none if
/// there is no filter.
pub fn program(interface: &InterfaceName) -> io::Result<Option<u32>> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.send_to(&request(if_nametoindex(interface.as_str())?), &SocketAddr::new(0, 0), 0)?;
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = &datagram[..];
        while !rest.is_empty() {
            let message = NetlinkMessage::deserialize(rest).map_err(io::Error::other)?;
            match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewTrafficFilter(filter))
                    if filter.header.handle == u32::from(HANDLE_MINOR).into() =>
                {
                    return Ok(program_of(&filter));
                }
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::Done(_) => return Ok(None),
                _ => {}
            }
            let length = (message.header.length as usize).next_multiple_of(ALIGNMENT);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

/// Asks for the filters of our priority. A single one could be asked for as
/// well, but where it is not there the kernel's answers differ with the reason.
fn request(index: u32) -> Vec<u8> {
    let mut filters = TcMessage::with_index(index.cast_signed());
    let ingress = tc::TcHandle { minor: tc::TcHandle::MIN_INGRESS, ..tc::TcHandle::CLSACT };
    filters.header.parent = ingress;
    filters.header.info = u32::from(PRIORITY) << 16;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let inner = RouteNetlinkMessage::GetTrafficFilter(filters);
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(inner));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn program_of(filter: &TcMessage) -> Option<u32> {
    let options = filter.attributes.iter().filter_map(|attribute| match attribute {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    });
    options.flatten().find_map(|option| match option {
        TcOption::Bpf(TcFilterBpfOption::ProgId(number)) => Some(*number),
        _ => None,
    })
}

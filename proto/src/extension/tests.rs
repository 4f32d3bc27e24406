use std::cell::RefCell;

use etherparse::{
    IpAuthHeader, IpFragOffset, IpNumber, Ipv6ExtensionsSlice, Ipv6FragmentHeader, Ipv6RawExtHeader,
};
use proptest::prelude::*;

use super::*;

const TCP: u8 = 6;
const ICMPV6: u8 = 58;

/// What `upper` finds in a packet with these bytes behind its fixed header.
fn walk(next_header: u8, bytes: &[u8]) -> Upper {
    upper(next_header, |offset| bytes.get(offset..offset.checked_add(4)?)?.try_into().ok())
}

const fn tcp_at(offset: usize) -> Upper {
    Upper::Header { protocol: TCP, offset }
}

/// A header of so many bytes, whose second byte is `length`.
fn header(next: u8, length: u8, bytes: usize) -> Vec<u8> {
    let mut header = vec![0; bytes];
    (header[0], header[1]) = (next, length);
    header
}

/// A fragment header with an offset in units of eight bytes.
fn fragment(next: u8, offset: u16, more: bool) -> Vec<u8> {
    let offset = IpFragOffset::try_new(offset).expect("13 bits fit");
    Ipv6FragmentHeader::new(IpNumber(next), offset, more, 0x11a0_f4a6).to_bytes().to_vec()
}

/// The bytes of the header it stands for that are read, and no others.
const READ: usize = 4;

#[test]
fn five_headers_are_walked_past() {
    let known: Vec<u8> = (0..=255).filter(|next| is_extension(*next)).collect();
    // Hop-by-hop options, routing, fragment, authentication, destination options.
    assert_eq!(known, [0, 43, 44, 51, 60]);
}

#[test]
fn what_is_no_extension_header_is_found_where_it_is_without_a_look() {
    for next in (0..=255).filter(|next| !is_extension(*next)) {
        let found = upper(next, |offset| panic!("read at {offset}"));
        assert_eq!(found, Upper::Header { protocol: next, offset: 0 });
    }
}

#[test]
fn each_header_has_its_unit_of_length() {
    for (kind, length, bytes) in [
        (HOP_BY_HOP, 0, 8),
        (HOP_BY_HOP, 1, 16),
        (HOP_BY_HOP, 255, 2048),
        (ROUTING, 0, 8),
        (ROUTING, 2, 24),
        (ROUTING, 255, 2048),
        (DESTINATION, 0, 8),
        (DESTINATION, 7, 64),
        (DESTINATION, 255, 2048),
        // Units of four bytes, less two.
        (AUTHENTICATION, 0, 8),
        (AUTHENTICATION, 1, 12),
        (AUTHENTICATION, 4, 24),
        (AUTHENTICATION, 255, 1028),
        // Always of eight bytes: the second byte is reserved.
        (FRAGMENT, 0, 8),
        (FRAGMENT, 1, 8),
        (FRAGMENT, 255, 8),
    ] {
        let bytes_of_header = header(TCP, length, bytes);
        assert_eq!(walk(kind, &bytes_of_header), tcp_at(bytes), "{kind} with {length}");
    }
}

#[test]
fn the_first_fragment_has_the_header_and_later_ones_do_not() {
    for more in [false, true] {
        assert_eq!(walk(FRAGMENT, &fragment(TCP, 0, more)), tcp_at(8));
        for offset in [1, 2, 0x20, 0x100, 0x1000, 0x1fff] {
            let later = fragment(TCP, offset, more);
            assert_eq!(walk(FRAGMENT, &later), Upper::LaterFragment, "{offset:#x}");
        }
    }
    // The two bits beside the last are reserved, and none of the offset.
    for flags in 0..8 {
        assert_eq!(walk(FRAGMENT, &[TCP, 0, 0, flags]), tcp_at(8));
        assert_eq!(walk(FRAGMENT, &[TCP, 0, 0, 8 | flags]), Upper::LaterFragment);
    }
}

#[test]
fn only_a_fragment_header_has_an_offset() {
    for kind in [HOP_BY_HOP, ROUTING, DESTINATION] {
        assert_eq!(walk(kind, &[TCP, 0, 0xff, 0xff]), tcp_at(8));
    }
    assert_eq!(walk(AUTHENTICATION, &[TCP, 4, 0xff, 0xff]), tcp_at(24));
}

/// One of each kind, in the order of RFC 8200 section 4.1, before ICMPv6; with
/// the offset of each, and of what follows.
fn one_of_each() -> (Vec<u8>, [usize; 6]) {
    let chain = [
        header(ROUTING, 1, 16),
        header(FRAGMENT, 2, 24),
        fragment(AUTHENTICATION, 0, true),
        header(DESTINATION, 4, 24),
        header(ICMPV6, 0, 8),
    ];
    (chain.concat(), [0, 16, 40, 48, 72, 80])
}

#[test]
fn all_kinds_are_walked_past_in_a_row() {
    let (chain, [.., end]) = one_of_each();
    let read = RefCell::new(Vec::new());
    let found = upper(HOP_BY_HOP, |offset| {
        read.borrow_mut().push(offset);
        chain[offset..offset + READ].try_into().ok()
    });
    assert_eq!(found, Upper::Header { protocol: ICMPV6, offset: end });
    assert_eq!(read.into_inner(), [0, 16, 40, 48, 72]);
}

#[test]
fn a_chain_that_is_cut_short_is_unknown_wherever_it_is_cut() {
    let (chain, starts) = one_of_each();
    let last = starts[4];
    for length in 0..=chain.len() {
        let expected = if length < last + READ {
            Upper::Unknown
        } else {
            // Whether the packet reaches that far its reader sees.
            Upper::Header { protocol: ICMPV6, offset: chain.len() }
        };
        assert_eq!(walk(HOP_BY_HOP, &chain[..length]), expected, "{length} bytes");
    }
}

#[test]
fn a_later_fragment_is_one_wherever_it_stands() {
    let chain = [header(FRAGMENT, 0, 8), fragment(DESTINATION, 5, true)].concat();
    assert_eq!(walk(HOP_BY_HOP, &chain), Upper::LaterFragment);
    // Cut before the offset it could be any.
    assert_eq!(walk(HOP_BY_HOP, &chain[..11]), Upper::Unknown);
    assert_eq!(walk(HOP_BY_HOP, &chain[..12]), Upper::LaterFragment);
}

#[test]
fn more_headers_than_anybody_sends_are_not_walked_past() {
    let chain = |count: usize| {
        let mut chain = header(DESTINATION, 0, 8).repeat(count);
        chain[8 * (count - 1)] = TCP;
        chain
    };
    for count in 1..=MOST {
        assert_eq!(walk(DESTINATION, &chain(count)), tcp_at(8 * count), "{count}");
    }
    for count in [MOST + 1, MOST + 2, 100] {
        assert_eq!(walk(DESTINATION, &chain(count)), Upper::Unknown, "{count}");
    }
    // Nor is one that goes round in itself.
    assert_eq!(upper(DESTINATION, |_| Some([DESTINATION, 0, 0, 0])), Upper::Unknown);
}

// Against somebody else's walker.

/// A header of one kind, made by etherparse, given what follows it.
#[derive(Clone, Debug)]
enum Link {
    HopByHop(Vec<u8>),
    Routing(Vec<u8>),
    Destination(Vec<u8>),
    Fragment(u16, bool),
    Authentication(Vec<u8>),
}

impl Link {
    fn number(&self) -> u8 {
        match self {
            Self::HopByHop(_) => HOP_BY_HOP,
            Self::Routing(_) => ROUTING,
            Self::Destination(_) => DESTINATION,
            Self::Fragment(..) => FRAGMENT,
            Self::Authentication(_) => AUTHENTICATION,
        }
    }

    fn bytes(&self, next: u8) -> Vec<u8> {
        let fits = "the content has a length that it may have";
        match self {
            Self::HopByHop(content) | Self::Routing(content) | Self::Destination(content) => {
                let header = Ipv6RawExtHeader::new_raw(IpNumber(next), content).expect(fits);
                header.to_bytes().to_vec()
            }
            Self::Fragment(offset, more) => fragment(next, *offset, *more),
            Self::Authentication(check) => {
                IpAuthHeader::new(IpNumber(next), 1, 2, check).expect(fits).to_bytes().to_vec()
            }
        }
    }
}

fn contents() -> impl Strategy<Value = Vec<u8>> {
    (0..6_usize).prop_flat_map(|units| prop::collection::vec(any::<u8>(), 6 + 8 * units))
}

/// Chains that somebody could send, hop-by-hop options first if at all, before
/// any protocol that is no extension header.
fn chains() -> impl Strategy<Value = (Vec<Link>, u8)> {
    let offset = prop_oneof![3 => Just(0), 1 => 0..0x2000_u16];
    let check = (0..6_usize).prop_flat_map(|words| prop::collection::vec(any::<u8>(), 4 * words));
    let link = prop_oneof![
        contents().prop_map(Link::Routing),
        contents().prop_map(Link::Destination),
        (offset, any::<bool>()).prop_map(|(offset, more)| Link::Fragment(offset, more)),
        check.prop_map(Link::Authentication),
    ];
    let first = prop::option::of(contents().prop_map(Link::HopByHop));
    let last = any::<u8>().prop_filter("no extension header", |next| !is_extension(*next));
    (first, prop::collection::vec(link, 0..MOST), last)
        .prop_map(|(first, links, last)| (first.into_iter().chain(links).collect(), last))
}

/// The number of the first header and the bytes of all.
fn bytes_of(links: &[Link], last: u8) -> (u8, Vec<u8>) {
    links.iter().rev().fold((last, Vec::new()), |(next, behind), link| {
        (link.number(), [link.bytes(next), behind].concat())
    })
}

/// As etherparse has it, which does not stop at a later fragment.
fn walk_of_etherparse(first: u8, bytes: &[u8]) -> Option<Upper> {
    let (all, next, rest) = Ipv6ExtensionsSlice::from_slice(IpNumber(first), bytes).ok()?;
    let is_later = all.into_iter().any(|header| {
        matches!(header, etherparse::Ipv6ExtensionSlice::Fragment(it) if it.fragment_offset().value() != 0)
    });
    Some(if is_later {
        Upper::LaterFragment
    } else {
        Upper::Header { protocol: next.0, offset: bytes.len() - rest.len() }
    })
}

proptest! {
    #[test]
    fn chains_are_walked_as_etherparse_does((links, last) in chains(), payload: [u8; 8]) {
        let (first, mut bytes) = bytes_of(&links, last);
        bytes.extend(payload);
        let given = walk(first, &bytes);
        prop_assert_eq!(Some(given), walk_of_etherparse(first, &bytes));
        let is_later = links.iter().any(|link| matches!(link, Link::Fragment(1.., _)));
        let end = Upper::Header { protocol: last, offset: bytes.len() - 8 };
        prop_assert_eq!(given, if is_later { Upper::LaterFragment } else { end });
    }

    /// Cut short, a header is never found earlier than it was, nor another one.
    #[test]
    fn what_is_found_in_a_chain_that_is_cut_short_is_what_is_there(
        (links, last) in chains(),
        at: prop::sample::Index,
    ) {
        let (first, bytes) = bytes_of(&links, last);
        let given = walk(first, &bytes[..at.index(bytes.len() + 1)]);
        prop_assert!(given == Upper::Unknown || given == walk(first, &bytes), "{given:?}");
    }

    /// Whatever comes off the wire. More cases: `PROPTEST_CASES`.
    #[test]
    fn on_arbitrary_bytes_it_agrees_with_etherparse_wherever_that_can_tell(
        first in prop_oneof![any::<u8>(), prop::sample::select(&[0_u8, 43, 44, 51, 60][..])],
        bytes in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(&[0_u8, 1, 6, 43, 44, 51, 58, 60][..])],
            0..256,
        ),
    ) {
        let read = RefCell::new(Vec::new());
        let given = upper(first, |offset| {
            let four = bytes.get(offset..offset.checked_add(READ)?)?.try_into().ok()?;
            read.borrow_mut().push(offset);
            Some(four)
        });
        let read = read.into_inner();
        prop_assert!(read.len() <= MOST);
        prop_assert!(read.windows(2).all(|pair| pair[1] >= pair[0] + UNIT));
        match given {
            // Right behind the last header that was read, by the length that
            // that one has.
            Upper::Header { offset, .. } => {
                let last = read.last().map_or(0..=0, |last| last + UNIT..=last + 256 * UNIT);
                prop_assert!(last.contains(&offset), "{offset} is not in {last:?}");
            }
            Upper::LaterFragment => prop_assert!(!read.is_empty()),
            Upper::Unknown => {}
        }
        let told = Ipv6ExtensionsSlice::from_slice(IpNumber(first), &bytes);
        if told.is_ok_and(|(all, ..)| all.into_iter().count() <= MOST) {
            prop_assert_eq!(Some(given), walk_of_etherparse(first, &bytes));
        }
    }
}

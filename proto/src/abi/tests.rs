use proptest::prelude::*;

use super::*;
use crate::{
    forward::{Path, SourceMode},
    testing::{address, host, prefix},
    translate::ChecksumMode,
};

fn domains() -> impl Strategy<Value = u32> {
    0..u32::try_from(MAX_DOMAINS).expect("there are few")
}

// Keys.

#[test]
fn only_type_1_without_c_bit_has_a_key() {
    for (bits, has_key) in [
        (0x2000_0000_0000_0000, true),
        (0x2000_0000_0000_00b1, true),
        (0x2fff_ffff_ffff_ffff, true),
        (0x3000_0000_0000_00b1, false),
        (0x3fff_ffff_ffff_ffff, false),
        (0x0000_0000_0000_00b1, false),
        (0x1000_0000_0000_00b1, false),
        (0x1fff_ffff_ffff_ffff, false),
        (0x4000_0000_0000_00b1, false),
        (0x6000_0000_0000_00b1, false),
        (0x8000_0000_0000_00b1, false),
        (0xa000_0000_0000_00b1, false),
        (0xc000_0000_0000_00b1, false),
        (0xe000_0000_0000_00b1, false),
        (0xffff_ffff_ffff_ffff, false),
        (0, false),
    ] {
        for domain in 0..4 {
            let key = MappingKey::new(domain, Identifier::from_bits(bits));
            assert_eq!(key.is_some(), has_key, "{domain}: {bits:#x}");
        }
    }
}

/// What outlives an agent, as it lies in memory.
#[test]
fn a_key_has_the_domain_in_place_of_the_type() {
    let identifier = Identifier::from_bits(0x2123_4567_89ab_cdef);
    for (domain, key) in
        [(0, 0x0123_4567_89ab_cdef), (1, 0x1123_4567_89ab_cdef), (3, 0x3123_4567_89ab_cdef)]
    {
        assert_eq!(MappingKey::new(domain, identifier), Some(MappingKey(key)), "{domain}");
    }
    let locator = Locator::from_bits(0x2001_0db8_000a_000b);
    assert_eq!(LocatorKey::from(locator), LocatorKey(0x2001_0db8_000a_000b));
}

proptest! {
    #[test]
    fn different_containers_have_different_keys(
        first in (domains(), any::<u64>()),
        second in (domains(), any::<u64>()),
        bit in prop::option::of(0..60_u32),
    ) {
        // Of another domain or not, of an identifier that is the same but for
        // one bit, or of any other.
        let second = (second.0, bit.map_or(second.1, |bit| first.1 ^ 1 << bit));
        let [first, second] =
            [first, second].map(|(domain, bits)| (domain, Identifier::locally_unique(bits)));
        let key = |(domain, identifier)| MappingKey::new(domain, identifier).expect("it has one");
        prop_assert_eq!(key(first) == key(second), first == second);
        let same_elsewhere = (first.0 ^ 1, first.1);
        prop_assert_ne!(key(first), key(same_elsewhere));
    }

    #[test]
    fn nothing_else_has_a_key(domain in domains(), bits: u64) {
        let identifier = Identifier::from_bits(bits);
        let may = bits >> 60 == 2;
        prop_assert_eq!(MappingKey::new(domain, identifier).is_some(), may);
    }
}

// Values.

proptest! {
    #[test]
    fn a_place_here_is_what_was_said(interface in 1..=u32::MAX, mac: Mac) {
        let place = Place::Here { interface, mac };
        prop_assert_eq!(MappingValue::new(place).place(), place);
    }

    #[test]
    fn a_place_elsewhere_is_what_was_said(locator: u64, delta: u16) {
        let place = Place::There {
            locator: Locator::from_bits(locator),
            to_ila: ChecksumDelta::from_value(delta),
        };
        prop_assert_eq!(MappingValue::new(place).place(), place);
    }
}

#[test]
fn a_place_lies_in_memory_as_the_figure_has_it() {
    let here = Place::Here { interface: 7, mac: [0x02, 0x49, 0x4c, 0x41, 0x00, 0x01] };
    let expected = MappingValue { place: 0x0249_4c41_0001, to_ila: 0, padding: 0, interface: 7 };
    assert_eq!(MappingValue::new(here), expected);

    let locator = Locator::from_bits(0x2001_0db8_000a_000b);
    let there = Place::There { locator, to_ila: ChecksumDelta::from_value(0xdceb) };
    let expected =
        MappingValue { place: 0x2001_0db8_000a_000b, to_ila: 0xdceb, padding: 0, interface: 0 };
    assert_eq!(MappingValue::new(there), expected);
}

#[test]
fn values_have_the_types_that_they_are_stored_without() {
    let domain = Domain { sir_prefix: 1, locator: 2, to_ila: 3, to_sir: 4, padding: 0 };
    assert_eq!(domain.sir_prefix(), SirPrefix::from_bits(1));
    assert_eq!(domain.locator(), Locator::from_bits(2));
    assert_eq!(domain.to_ila(), ChecksumDelta::from_value(3));
    assert_eq!(domain.to_sir(), ChecksumDelta::from_value(4));
    let value = LocatorValue { domain: 1, to_sir: 2, padding: 0 };
    assert_eq!(value.to_sir(), ChecksumDelta::from_value(2));
}

// Configuration.

#[test]
fn a_prefix_is_looked_up_among_its_own_kind() {
    let config = host(ChecksumMode::NeutralMap).config;
    for (text, sir, locator) in [
        ("fd00:db8:0:1::", Some(0), None),
        ("fd00:db8:0:2::", Some(1), None),
        ("2001:db8:a:a::", None, Some(0)),
        ("2001:db8:b:a::", None, Some(1)),
        // Another host's, and others.
        ("2001:db8:a:b::", None, None),
        ("fd00:db8:0:3::", None, None),
        ("fd00:db8::", None, None),
        ("ffff:ffff:ffff:ffff::", None, None),
        // The domains that are left over have a prefix and a locator of zero.
        ("::", None, None),
    ] {
        assert_eq!(config.domain_of_sir(prefix(text)), sir, "{text}");
        assert_eq!(config.domain_of_locator(prefix(text)), locator, "{text}");
    }
}

#[test]
fn the_last_domain_is_found_as_well() {
    let mut config = HostConfig::default();
    for (index, domain) in (1..).zip(&mut config.domains) {
        (domain.sir_prefix, domain.locator) = (index, 0x100 + index);
    }
    for index in 0..4 {
        let high = u64::from(index) + 1;
        assert_eq!(config.domain_of_sir(high), Some(index));
        assert_eq!(config.domain_of_locator(0x100 + high), Some(index));
        assert_eq!(config.domain(index).sir_prefix, high);
    }
    assert_eq!(config.domain_of_sir(5), None);
    assert_eq!(config.domain_of_locator(0x105), None);
}

#[test]
fn an_empty_configuration_serves_nobody() {
    let config = HostConfig::default();
    assert_eq!(config.domain_of_sir(0), None);
    assert_eq!(config.domain_of_locator(0), None);
    assert_eq!(config.address(), None);
    assert_eq!(ChecksumMode::from_number(config.checksum_mode), ChecksumMode::default());
    assert_eq!(config.source_mode, SourceMode::default().number());
    assert_eq!(config.path, Path::default().number());
}

#[test]
fn no_index_of_a_domain_is_out_of_bounds() {
    let config = host(ChecksumMode::NeutralMap).config;
    for index in [4, 5, 0x8000_0000, u32::MAX] {
        assert!(config.domains.contains(config.domain(index)), "{index}");
    }
}

#[test]
fn a_host_has_an_address_unless_it_is_unspecified() {
    for text in ["2001:db8:a:a::1", "2001:db8:a:a::", "fe80::1"] {
        let Address { high, low } = address(text);
        let config = HostConfig { address: [high, low], ..HostConfig::default() };
        assert_eq!(config.address(), Some(address(text)));
    }
}

#[test]
fn counts_begin_at_zero() {
    let InterfaceCounts { fates, error_second, errors } = InterfaceCounts::default();
    assert_eq!(
        (fates, error_second, errors),
        ([FateCount { packets: 0, bytes: 0 }; FATE_SLOTS], 0, 0)
    );
    assert_eq!(FATE_SLOTS, fates.len());
}

/// A layout is what an object and an agent of two builds agree on: whatever
/// changes here changes `ABI_VERSION`.
#[test]
fn fields_lie_where_the_figures_have_them() {
    use std::mem::offset_of;
    assert_eq!(ABI_VERSION, 4);
    for (field, given, offset) in [
        ("MappingValue::to_ila", offset_of!(MappingValue, to_ila), 8),
        ("MappingValue::interface", offset_of!(MappingValue, interface), 12),
        ("LocatorValue::to_sir", offset_of!(LocatorValue, to_sir), 4),
        ("Domain::locator", offset_of!(Domain, locator), 8),
        ("Domain::to_ila", offset_of!(Domain, to_ila), 16),
        ("Domain::to_sir", offset_of!(Domain, to_sir), 18),
        ("Uplink::mac", offset_of!(Uplink, mac), 4),
        ("HostConfig::uplinks", offset_of!(HostConfig, uplinks), 96),
        ("HostConfig::locator_spaces", offset_of!(HostConfig, locator_spaces), 144),
        ("LocatorSpace::mask", offset_of!(LocatorSpace, mask), 8),
        ("HostConfig::address", offset_of!(HostConfig, address), 208),
        ("HostConfig::checksum_mode", offset_of!(HostConfig, checksum_mode), 224),
        ("HostConfig::source_mode", offset_of!(HostConfig, source_mode), 226),
        ("HostConfig::path", offset_of!(HostConfig, path), 228),
        ("InterfaceCounts::error_second", offset_of!(InterfaceCounts, error_second), 1024),
        ("InterfaceCounts::errors", offset_of!(InterfaceCounts, errors), 1032),
        ("Event::interface", offset_of!(Event, interface), 4),
        ("Event::source", offset_of!(Event, source), 8),
        ("Event::destination", offset_of!(Event, destination), 24),
        ("Event::length", offset_of!(Event, length), 40),
        ("Event::next_header", offset_of!(Event, next_header), 44),
        ("Event::hop_limit", offset_of!(Event, hop_limit), 45),
    ] {
        assert_eq!(given, offset, "{field}");
    }
}

//! The fates of a packet. Each has a number that is never reused, a name that
//! never changes, and a counter; each packet that meets a program of ours
//! meets exactly one.

/// Fates are numbered below this.
pub const FATE_SLOTS: usize = 64;

/// What becomes of the packet, whatever the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Handed on: to the host's routing, to a container or to an uplink.
    Passed,
    /// Answered in its place.
    Answered,
    /// Not seen again.
    Dropped,
}

macro_rules! fates {
    ($($variant:ident = $number:literal, $name:literal, $outcome:ident, $about:literal;)*) => {
        /// What became of a packet and why.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Fate {
            $(#[doc = $about] $variant = $number,)*
        }

        impl Fate {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The number under which it is counted.
            #[must_use]
            pub const fn number(self) -> u32 {
                self as u32
            }

            /// The name under which it is shown.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What becomes of such a packet.
            #[must_use]
            pub const fn outcome(self) -> Outcome {
                match self { $(Self::$variant => Outcome::$outcome,)* }
            }

            /// One sentence for people.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)* }
            }
        }
    };
}

fates! {
    EgressTranslated = 0, "egress-translated", Passed, "from a container, SIR destination rewritten to its ILA address";
    EgressLocal = 1, "egress-local", Passed, "from a container, to a container on the same host";
    EgressNotSir = 2, "egress-not-sir", Passed, "from a container, to a destination outside the SIR prefix";
    EgressNotIpv6 = 3, "egress-not-ipv6", Dropped, "from a container, not IPv6, which is all that the overlay carries";
    EgressTruncated = 4, "egress-truncated", Dropped, "from a container, shorter than an IPv6 header";
    EgressUnknownIdentifier = 5, "egress-unknown-identifier", Dropped, "from a container, to an identifier that no mapping names; answered with destination unreachable";
    EgressStoreFailed = 6, "egress-store-failed", Dropped, "from a container, the kernel refused to rewrite it";
    EgressSource = 7, "egress-source", Dropped, "from a container, with a source address that is not its own";
    EgressLocator = 8, "egress-locator", Dropped, "from a container, straight to a locator, where only translation may send";
    EgressHopLimit = 9, "egress-hop-limit", Dropped, "from a container, hop limit used up; answered with time exceeded";
    EgressTooBig = 10, "egress-too-big", Dropped, "from a container, larger than its way carries; answered with packet too big";
    EgressNoRoute = 11, "egress-no-route", Dropped, "from a container, no route from here to the locator, or over an uplink only that is down; answered with destination unreachable";
    EgressTagged = 12, "egress-tagged", Dropped, "from a container, with the tag of a VLAN";
    EgressLinkLayer = 13, "egress-link-layer", Dropped, "from a container, in a frame to another link-layer address than the host's, or to many for one destination";
    EgressProhibited = 14, "egress-prohibited", Dropped, "from a container, the host's routing forbids it: a route to the locator that is `prohibit` or `blackhole`, or forwarding turned off; answered with destination unreachable but for `blackhole`";
    EgressNotUplink = 15, "egress-not-uplink", Dropped, "from a container, the route to the locator leads to none of the uplinks; answered with destination unreachable";

    NdpAnswered = 16, "ndp-answered", Answered, "neighbour solicitation answered in place";
    NdpUnknownTarget = 17, "ndp-unknown-target", Dropped, "neighbour solicitation for an address that is neither the gateway nor mapped";
    NdpDuplicateProbe = 18, "ndp-duplicate-probe", Dropped, "duplicate address detection of a container for an address that is its own or nobody's, never answered";
    NdpOwnAddress = 19, "ndp-own-address", Dropped, "neighbour solicitation of a container for its own address";
    NdpInvalid = 20, "ndp-invalid", Dropped, "neighbour solicitation with a hop limit, code, length, checksum, option, source or target that none has";
    NdpReplyFailed = 21, "ndp-reply-failed", Dropped, "the kernel refused to turn a solicitation into its answer";
    NdpNotForHost = 22, "ndp-not-for-host", Dropped, "router discovery, advertisement or redirect of a container, from which the host must not learn";
    NdpDefended = 23, "ndp-defended", Answered, "duplicate address detection of a container for an address that another has, answered so that it fails";

    IngressRestored = 32, "ingress-restored", Passed, "from an uplink, ILA destination restored to the SIR address";
    IngressNotLocator = 33, "ingress-not-locator", Passed, "from an uplink, to a destination outside this host's locator";
    IngressHost = 34, "ingress-host", Passed, "from an uplink, to a plain address of the host under its locator";
    IngressNotIpv6 = 35, "ingress-not-ipv6", Passed, "from an uplink, not IPv6";
    IngressTruncated = 36, "ingress-truncated", Dropped, "from an uplink, shorter than an IPv6 header";
    IngressUnknownIdentifier = 37, "ingress-unknown-identifier", Dropped, "from an uplink, to an identifier that no mapping names; answered with destination unreachable";
    IngressStoreFailed = 38, "ingress-store-failed", Dropped, "from an uplink, the kernel refused to rewrite it";
    IngressForwarded = 39, "ingress-forwarded", Passed, "from an uplink, to an identifier that lives elsewhere, sent on to its locator";
    IngressSir = 40, "ingress-sir", Passed, "from an uplink, to the SIR address of a container here, delivered as it is";
    IngressSource = 41, "ingress-source", Dropped, "from an uplink, with a source that no router hands on, or at a locator that does not hold its identifier";
    IngressHopLimit = 42, "ingress-hop-limit", Dropped, "from an uplink, hop limit used up; answered with time exceeded";
    IngressNoRoute = 43, "ingress-no-route", Dropped, "from an uplink, to be sent on, no route from here to the locator, or over an uplink only that is down; answered with destination unreachable";
    IngressTooBig = 44, "ingress-too-big", Dropped, "from an uplink, to be sent on, larger than the way carries; answered with packet too big";
    IngressTagged = 45, "ingress-tagged", Passed, "from an uplink, with the tag of a VLAN that is not the uplink's";
    IngressError = 46, "ingress-error", Passed, "from an uplink, ICMPv6 error, the packet quoted in it restored as well";
    IngressLinkLayer = 47, "ingress-link-layer", Passed, "from an uplink, in a frame to another link-layer address than the host's, or to many for one destination";
    IngressProhibited = 48, "ingress-prohibited", Dropped, "from an uplink, to be sent on, the host's routing forbids it: a route to the locator that is `prohibit` or `blackhole`, or forwarding turned off; answered with destination unreachable but for `blackhole`";
    IngressNotUplink = 49, "ingress-not-uplink", Dropped, "from an uplink, to be sent on, the route to the locator leads to none of the uplinks; answered with destination unreachable";
}

impl core::fmt::Display for Fate {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_distinct_and_have_a_slot() {
        for pair in Fate::ALL.windows(2) {
            assert!(pair[0].number() < pair[1].number(), "{pair:?}");
        }
        assert!(Fate::ALL.iter().all(|fate| (fate.number() as usize) < FATE_SLOTS));
    }

    /// The numbers are read by dashboards and by programs of other versions:
    /// a fate can be added, never renumbered or renamed.
    #[test]
    fn numbers_and_names_stay() {
        let known = [
            (0, "egress-translated"),
            (1, "egress-local"),
            (2, "egress-not-sir"),
            (3, "egress-not-ipv6"),
            (4, "egress-truncated"),
            (5, "egress-unknown-identifier"),
            (6, "egress-store-failed"),
            (7, "egress-source"),
            (8, "egress-locator"),
            (9, "egress-hop-limit"),
            (10, "egress-too-big"),
            (11, "egress-no-route"),
            (12, "egress-tagged"),
            (13, "egress-link-layer"),
            (14, "egress-prohibited"),
            (15, "egress-not-uplink"),
            (16, "ndp-answered"),
            (17, "ndp-unknown-target"),
            (18, "ndp-duplicate-probe"),
            (19, "ndp-own-address"),
            (20, "ndp-invalid"),
            (21, "ndp-reply-failed"),
            (22, "ndp-not-for-host"),
            (23, "ndp-defended"),
            (32, "ingress-restored"),
            (33, "ingress-not-locator"),
            (34, "ingress-host"),
            (35, "ingress-not-ipv6"),
            (36, "ingress-truncated"),
            (37, "ingress-unknown-identifier"),
            (38, "ingress-store-failed"),
            (39, "ingress-forwarded"),
            (40, "ingress-sir"),
            (41, "ingress-source"),
            (42, "ingress-hop-limit"),
            (43, "ingress-no-route"),
            (44, "ingress-too-big"),
            (45, "ingress-tagged"),
            (46, "ingress-error"),
            (47, "ingress-link-layer"),
            (48, "ingress-prohibited"),
            (49, "ingress-not-uplink"),
        ];
        let now: Vec<_> = Fate::ALL.iter().map(|fate| (fate.number(), fate.name())).collect();
        assert_eq!(now, known);
    }

    #[test]
    fn the_reference_page_has_every_fate() {
        let page = include_str!("../../../docs/reference/counters.md");
        for fate in Fate::ALL {
            let outcome = format!("{:?}", fate.outcome()).to_lowercase();
            let (number, name, about) = (fate.number(), fate.name(), fate.about());
            let row = format!("| {number} | `{name}` | {outcome} | {about} |");
            assert!(page.contains(&row), "no row {row}");
        }
    }
}

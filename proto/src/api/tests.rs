use std::{fmt::Debug, str::FromStr};

use proptest::{prelude::*, string::string_regex};
use schemars::schema_for;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;

fn parse<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().expect(text)
}

// What is said.

fn container() -> Container {
    Container {
        name: parse("web"),
        identifier: parse("2000:0:0:b1"),
        address: parse("fd00:db8:0:1:2000::b1"),
        netns: "/run/netns/web".into(),
        interface: parse("eth0"),
        host_interface: parse("ila2a"),
        mtu: 1500,
        labels: BTreeMap::from([("app".to_owned(), "shop".to_owned())]),
    }
}

const CONTAINER: &str = r#""name":"web","identifier":"2000:0:0:b1","address":"fd00:db8:0:1:2000::b1","netns":"/run/netns/web","interface":"eth0","host_interface":"ila2a","mtu":1500,"labels":{"app":"shop"}"#;

fn mapping() -> Mapping {
    Mapping {
        identifier: parse("2000:0:0:b1"),
        address: parse("fd00:db8:0:1:2000::b1"),
        locator: parse("2001:db8:a:1::/64"),
        ila_address: parse("2001:db8:a:1:3000::cda6"),
        source: MappingSource::Mesh,
        node: Some(parse("h1")),
        epoch: Some(3),
        age_seconds: Some(4),
    }
}

const MAPPING: &str = r#""identifier":"2000:0:0:b1","address":"fd00:db8:0:1:2000::b1","locator":"2001:db8:a:1::/64","ila_address":"2001:db8:a:1:3000::cda6","source":"mesh","node":"h1","epoch":3,"age_seconds":4"#;

fn node() -> Node {
    Node {
        name: parse("h1"),
        id: "0011".to_owned(),
        state: NodeState::Alive,
        round_trip_micros: Some(250),
        protocol: Some(2),
        heard_millis: 5,
        mappings: 6,
        version: "0.1.0".to_owned(),
        domains: vec![Domain {
            sir_prefix: parse("fd00:db8:0:1::/64"),
            locator: parse("2001:db8:a:1::/64"),
        }],
        addresses: vec![parse("[2001:db8:ffff:1::2]:7741")],
    }
}

const NODE: &str = r#""name":"h1","id":"0011","state":"alive","round_trip_micros":250,"protocol":2,"heard_millis":5,"mappings":6,"version":"0.1.0","domains":[{"sir_prefix":"fd00:db8:0:1::/64","locator":"2001:db8:a:1::/64"}],"addresses":["[2001:db8:ffff:1::2]:7741"]"#;

/// The names of all fields in a JSON text, those of labels left out.
fn field_names(json: &Value, names: &mut Vec<String>) {
    match json {
        Value::Object(fields) => {
            for (name, value) in fields {
                names.push(name.clone());
                if name != "labels" {
                    field_names(value, names);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| field_names(item, names)),
        _ => {}
    }
}

/// The names of all properties that a JSON schema describes.
fn property_names(schema: &Value, names: &mut Vec<String>) {
    match schema {
        Value::Object(keywords) => {
            for (keyword, value) in keywords {
                if let ("properties", Value::Object(properties)) = (keyword.as_str(), value) {
                    names.extend(properties.keys().cloned());
                }
                property_names(value, names);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| property_names(item, names)),
        _ => {}
    }
}

/// Holds a value to its golden text in both directions, and the schema of its
/// type to the names in that text: no more, no fewer.
fn is_said_as<T>(value: &T, golden: &str)
where
    T: Serialize + DeserializeOwned + JsonSchema + PartialEq + Debug,
{
    assert_eq!(serde_json::to_string(value).expect("it can be written"), golden);
    assert_eq!(&serde_json::from_str::<T>(golden).expect("it can be read"), value);

    let (mut said, mut described) = (Vec::new(), Vec::new());
    field_names(&serde_json::from_str(golden).expect("it is JSON"), &mut said);
    property_names(schema_for!(T).as_value(), &mut described);
    for names in [&mut said, &mut described] {
        names.sort();
        names.dedup();
    }
    assert_eq!(said, described, "names in the text, names in the schema");
}

#[test]
fn a_request_for_a_container_is_said_so() {
    let everything = AddContainer {
        name: parse("web"),
        netns: "/run/netns/web".into(),
        interface: parse("net1"),
        sir_prefix: Some(parse("fd00:db8:0:2::/64")),
        identifier: Some(parse("2000:0:0:b1")),
        labels: BTreeMap::from([
            ("app".to_owned(), "shop".to_owned()),
            ("tier".to_owned(), "1".to_owned()),
        ]),
    };
    is_said_as(
        &everything,
        r#"{"name":"web","netns":"/run/netns/web","interface":"net1","sir_prefix":"fd00:db8:0:2::/64","identifier":"2000:0:0:b1","labels":{"app":"shop","tier":"1"}}"#,
    );
}

#[test]
fn a_request_needs_a_name_and_a_namespace_only() {
    let least = r#"{"name":"web","netns":"/run/netns/web"}"#;
    let request: AddContainer = serde_json::from_str(least).expect("it is enough");
    assert_eq!(request.interface.as_str(), "eth0");
    assert_eq!((request.sir_prefix, request.identifier), (None, None));
    assert!(request.labels.is_empty());
    assert_eq!(
        serde_json::to_string(&request).expect("it can be written"),
        r#"{"name":"web","netns":"/run/netns/web","interface":"eth0"}"#
    );
}

#[test]
fn a_container_is_said_so() {
    is_said_as(&Versioned::new(container()), &format!(r#"{{"v":1,{CONTAINER}}}"#));
}

#[test]
fn containers_are_said_so() {
    is_said_as(
        &Versioned::new(ContainerList { containers: vec![container()] }),
        &format!(r#"{{"v":1,"containers":[{{{CONTAINER}}}]}}"#),
    );
}

#[test]
fn a_mapping_is_said_so() {
    is_said_as(&Versioned::new(mapping()), &format!(r#"{{"v":1,{MAPPING}}}"#));
}

#[test]
fn mappings_are_said_so() {
    is_said_as(
        &Versioned::new(MappingList { mappings: vec![mapping()] }),
        &format!(r#"{{"v":1,"mappings":[{{{MAPPING}}}]}}"#),
    );
}

const COUNTER: &str = r#"{"number":5,"name":"egress-unknown-identifier","outcome":"dropped","packets":18446744073709551615,"bytes":1234,"about":"from a container"}"#;

#[test]
fn counters_are_said_so() {
    let counter = Counter {
        number: 5,
        name: "egress-unknown-identifier".to_owned(),
        outcome: "dropped".to_owned(),
        packets: u64::MAX,
        bytes: 1234,
        about: "from a container".to_owned(),
    };
    is_said_as(
        &Versioned::new(CounterList {
            counters: vec![counter.clone()],
            interfaces: vec![
                InterfaceCounters {
                    interface: parse("ila2a"),
                    container: Some(parse("web")),
                    counters: vec![counter],
                },
                InterfaceCounters { interface: parse("up0"), container: None, counters: vec![] },
            ],
        }),
        &format!(
            r#"{{"v":1,"counters":[{COUNTER}],"interfaces":[{{"interface":"ila2a","container":"web","counters":[{COUNTER}]}},{{"interface":"up0","counters":[]}}]}}"#
        ),
    );
}

const PARTY: &str = r#"{"identifier":"2000:0:0:b1","address":"fd00:db8:0:1:2000::b1","locator":"2001:db8:b:1::/64"}"#;

#[test]
fn a_dropped_packet_is_said_so() {
    let party = Party {
        identifier: parse("2000:0:0:b1"),
        address: parse("fd00:db8:0:1:2000::b1"),
        locator: Some(parse("2001:db8:b:1::/64")),
    };
    let packet = DroppedPacket {
        fate: "ingress-source".to_owned(),
        about: "from an uplink".to_owned(),
        interface: "up0".to_owned(),
        container: Some(parse("web")),
        source: Some(parse("2001:db8:c:1:3000::1")),
        destination: Some(parse("2001:db8:a:1:3000::2")),
        sender: Some(party.clone()),
        receiver: Some(party),
        locator: Some(parse("2001:db8:b:1::/64")),
        next_header: 17,
        hop_limit: 63,
        length: 100,
        missed: 0,
    };
    is_said_as(
        &Versioned::new(packet),
        &format!(
            r#"{{"v":1,"fate":"ingress-source","about":"from an uplink","interface":"up0","container":"web","source":"2001:db8:c:1:3000::1","destination":"2001:db8:a:1:3000::2","sender":{PARTY},"receiver":{PARTY},"locator":"2001:db8:b:1::/64","next_header":17,"hop_limit":63,"length":100,"missed":0}}"#
        ),
    );
}

#[test]
fn a_status_is_said_so() {
    let status = Status {
        version: "0.1.0".to_owned(),
        node: parse("h1"),
        sir_prefix: parse("fd00:db8:0:1::/64"),
        locator: parse("2001:db8:a:1::/64"),
        domains: vec![Domain {
            sir_prefix: parse("fd00:db8:0:1::/64"),
            locator: parse("2001:db8:a:1::/64"),
        }],
        checksum_mode: ChecksumMode::NeutralMapAuto,
        source: SourceMode::Locator,
        path: Path::Slow,
        uplinks: vec![parse("up0"), parse("up1")],
        uplink_states: vec![
            Uplink { interface: parse("up0"), state: UplinkState::Up, seconds: 4 },
            Uplink { interface: parse("up1"), state: UplinkState::NoCarrier, seconds: 3 },
        ],
        routes_asked: Some("there are several uplinks".to_owned()),
        hook: Hook::Tcx,
        mtu: 1500,
        containers: 2,
        mappings: 3,
        uptime_seconds: 4,
        mesh: Some(MeshStatus {
            converged: true,
            nodes: 5,
            down: 1,
            links: 4,
            refused: Some("full".to_owned()),
            taken: 6,
            duplicates: 7,
            repairs: 8,
            rejected: vec![Rejected { reason: "forged".to_owned(), count: 9 }],
            sent_bytes: 10,
            received_bytes: 11,
            certificate: Some(CertificateStatus {
                valid_until: "2027-01-01T00:00:00Z".to_owned(),
                renewal_failed: Some("nobody answers".to_owned()),
                untimely: true,
            }),
            alarms: vec![AlarmReport {
                alarm: "set-back".to_owned(),
                about: "an old disk".to_owned(),
                count: 12,
                seconds_ago: 13,
            }],
        }),
    };
    is_said_as(
        &Versioned::new(status),
        r#"{"v":1,"version":"0.1.0","node":"h1","sir_prefix":"fd00:db8:0:1::/64","locator":"2001:db8:a:1::/64","domains":[{"sir_prefix":"fd00:db8:0:1::/64","locator":"2001:db8:a:1::/64"}],"checksum_mode":"neutral-map-auto","source":"locator","path":"slow","uplinks":["up0","up1"],"uplink_states":[{"interface":"up0","state":"up","seconds":4},{"interface":"up1","state":"no-carrier","seconds":3}],"routes_asked":"there are several uplinks","hook":"tcx","mtu":1500,"containers":2,"mappings":3,"uptime_seconds":4,"mesh":{"converged":true,"nodes":5,"down":1,"links":4,"refused":"full","taken":6,"duplicates":7,"repairs":8,"rejected":[{"reason":"forged","count":9}],"sent_bytes":10,"received_bytes":11,"certificate":{"valid_until":"2027-01-01T00:00:00Z","renewal_failed":"nobody answers","untimely":true},"alarms":[{"alarm":"set-back","about":"an old disk","count":12,"seconds_ago":13}]}}"#,
    );
}

#[test]
fn nodes_are_said_so() {
    is_said_as(
        &Versioned::new(NodeList { nodes: vec![node()] }),
        &format!(r#"{{"v":1,"nodes":[{{{NODE}}}]}}"#),
    );
}

#[test]
fn a_change_of_a_mapping_is_said_so() {
    let Mapping { identifier, address, .. } = mapping();
    is_said_as(
        &Versioned::new(MappingChange { identifier, address, mapping: Some(mapping()) }),
        &format!(
            r#"{{"v":1,"identifier":"2000:0:0:b1","address":"fd00:db8:0:1:2000::b1","mapping":{{{MAPPING}}}}}"#
        ),
    );
}

#[test]
fn how_a_mapping_has_come_about_is_said_so() {
    let origin = MappingOrigin {
        mapping: Some(mapping()),
        holder: Some(node()),
        right: Some("home".to_owned()),
        by: Some(parse("h3")),
        disputed_by: vec![parse("h4")],
        installed_millis: Some(7),
    };
    is_said_as(
        &Versioned::new(origin),
        &format!(
            r#"{{"v":1,"mapping":{{{MAPPING}}},"holder":{{{NODE}}},"right":"home","by":"h3","disputed_by":["h4"],"installed_millis":7}}"#
        ),
    );
}

#[test]
fn a_refusal_is_said_so_with_and_without_a_hint() {
    let mut refusal = ErrorReply {
        code: ErrorCode::NameTaken,
        message: "container `web` exists".to_owned(),
        hint: Some("remove it first".to_owned()),
    };
    is_said_as(
        &Versioned::new(refusal.clone()),
        r#"{"v":1,"code":"name-taken","message":"container `web` exists","hint":"remove it first"}"#,
    );
    refusal.hint = None;
    let golden = r#"{"v":1,"code":"name-taken","message":"container `web` exists"}"#;
    assert_eq!(serde_json::to_string(&Versioned::new(refusal.clone())).expect("it is"), golden);
    let read: Versioned<ErrorReply> = serde_json::from_str(golden).expect("it can be read");
    assert_eq!(read.reply, refusal);
}

#[test]
fn every_choice_has_a_word_that_never_changes() {
    fn words<T>(known: &[(T, &str)])
    where
        T: Serialize + DeserializeOwned + JsonSchema + PartialEq + Debug,
    {
        for (choice, word) in known {
            let json = format!("\"{word}\"");
            assert_eq!(serde_json::to_string(choice).expect("it is a string"), json);
            assert_eq!(&serde_json::from_str::<T>(&json).expect("it is known"), choice);
        }
        assert!(serde_json::from_str::<T>("\"another\"").is_err());
        let schema = schema_for!(T);
        let described = schema.get("oneOf").and_then(Value::as_array).expect("it has choices");
        assert_eq!(described.len(), known.len());
        for ((_, word), described) in known.iter().zip(described) {
            assert_eq!(described["const"], *word);
        }
    }
    words(&[
        (ErrorCode::BadRequest, "bad-request"),
        (ErrorCode::TooLarge, "too-large"),
        (ErrorCode::TooSlow, "too-slow"),
        (ErrorCode::UnknownPath, "unknown-path"),
        (ErrorCode::NotFound, "not-found"),
        (ErrorCode::NameTaken, "name-taken"),
        (ErrorCode::IdentifierTaken, "identifier-taken"),
        (ErrorCode::InterfaceTaken, "interface-taken"),
        (ErrorCode::Busy, "busy"),
        (ErrorCode::NoNamespace, "no-namespace"),
        (ErrorCode::Kernel, "kernel"),
        (ErrorCode::ShuttingDown, "shutting-down"),
    ]);
    words(&[
        (MappingSource::Local, "local"),
        (MappingSource::Static, "static"),
        (MappingSource::Mesh, "mesh"),
    ]);
    words(&[
        (NodeState::This, "this"),
        (NodeState::Alive, "alive"),
        (NodeState::Down, "down"),
        (NodeState::Hidden, "hidden"),
    ]);
    words(&[(Hook::Tcx, "tcx"), (Hook::Clsact, "clsact")]);
}

// What is understood.

#[test]
fn a_reply_with_fields_of_a_later_agent_is_understood() {
    let later = format!(r#"{{"later":[1],"v":1,{CONTAINER}}}"#);
    let read: Versioned<Container> = serde_json::from_str(&later).expect("fields may be added");
    assert_eq!(read, Versioned::new(container()));
}

#[test]
fn a_reply_without_its_version_is_not_understood() {
    let error = serde_json::from_str::<Versioned<Container>>(&format!("{{{CONTAINER}}}"))
        .expect_err("no version");
    assert!(error.to_string().contains("missing field `v`"), "{error}");
}

#[test]
fn a_bad_request_is_refused_with_what_is_wrong() {
    let long = format!(r#"{{"name":"web","netns":"/n","interface":"{}"}}"#, "e".repeat(16));
    for (json, wrong) in [
        ("", "EOF"),
        ("[]", "invalid length"),
        ("null", "invalid type: null"),
        (r#"{"name":"web"}"#, "missing field `netns`"),
        (r#"{"netns":"/n"}"#, "missing field `name`"),
        (r#"{"name":"web","netns":"/n","mtu":1500}"#, "unknown field `mtu`"),
        (r#"{"v":1,"name":"web","netns":"/n"}"#, "unknown field `v`"),
        (r#"{"name":"web","name":"web","netns":"/n"}"#, "duplicate field `name`"),
        (r#"{"name":7,"netns":"/n"}"#, "invalid type: integer `7`"),
        (r#"{"name":"","netns":"/n"}"#, "`` cannot be a container's name"),
        (r#"{"name":"../web","netns":"/n"}"#, "`../web` cannot be a container's name"),
        (r#"{"name":"web","netns":"/n","interface":"a/b"}"#, "`a/b` cannot be an interface's name"),
        (&long, "`eeeeeeeeeeeeeeee` cannot be an interface's name"),
        (r#"{"name":"web","netns":"/n","identifier":"web"}"#, "`web` is not an identifier"),
        (r#"{"name":"web","netns":"/n","identifier":"3000:0:0:1"}"#, "`3000:0:0:1` cannot be used"),
        (r#"{"name":"web","netns":"/n","identifier":"2000:0:0:0"}"#, "`2000:0:0:0` cannot be used"),
        (r#"{"name":"web","netns":"/n","identifier":"0:0:0:1"}"#, "`0:0:0:1` cannot be used"),
        (r#"{"name":"web","netns":"/n","identifier":1}"#, "invalid type: integer `1`"),
        (r#"{"name":"web","netns":"/n","labels":{"a":1}}"#, "invalid type: integer `1`"),
        (r#"{"name":"web","netns":"/n","labels":["a"]}"#, "expected a map"),
    ] {
        let error = serde_json::from_str::<AddContainer>(json).expect_err(json).to_string();
        assert!(error.contains(wrong), "{json}: {error}");
    }
}

#[test]
fn an_identifier_of_null_is_as_good_as_none() {
    let json = r#"{"name":"web","netns":"/n","identifier":null}"#;
    let request: AddContainer = serde_json::from_str(json).expect("null is none");
    assert_eq!((request.sir_prefix, request.identifier), (None, None));
}

// Names.

#[test]
fn names_of_containers_and_nodes_are_plain() {
    let longest = "n".repeat(128);
    for good in ["a", "0", "web", "Web-1.example_x", "7f0c", "a.", "a-", "a_", &longest] {
        assert_eq!(parse::<ContainerName>(good).as_str(), good);
        assert_eq!(parse::<NodeName>(good).as_str(), good);
    }
    let too_long = "n".repeat(129);
    for bad in [
        "", ".", "..", "-", "_", ".web", "-web", "_web", "a/b", "/", "a b", " a", "a\n", "a\0",
        "a\\b", "a:b", "a%d", "é", "aé", "ａ", &too_long,
    ] {
        let container = bad.parse::<ContainerName>().expect_err(bad);
        assert_eq!(container, NameError::Container(bad.to_owned()));
        assert!(
            container.to_string().starts_with(&format!("`{bad}` cannot be a container's name"))
        );
        let node = bad.parse::<NodeName>().expect_err(bad);
        assert_eq!(node, NameError::Node(bad.to_owned()));
        assert!(node.to_string().starts_with(&format!("`{bad}` cannot be a node's name")));
    }
}

#[test]
fn names_of_interfaces_are_those_that_the_kernel_takes() {
    for good in [
        "a",
        "eth0",
        "...",
        "-",
        "e@f",
        "eth0.100",
        "All",
        "defaults",
        "exactly15bytes_",
        "ééééééé",
    ] {
        assert_eq!(parse::<InterfaceName>(good).as_str(), good);
    }
    for bad in [
        "",
        ".",
        "..",
        "all",
        "default",
        "a/b",
        "/",
        "eth0:1",
        "a b",
        " ",
        "a\tb",
        "a\n",
        "a\u{b}b",
        "a\u{85}b",
        "a\u{2028}b",
        "a\0",
        "a\u{a0}b",
        "exactly_16_bytes",
        "éééééééé",
    ] {
        let error = bad.parse::<InterfaceName>().expect_err(bad);
        assert_eq!(error, NameError::Interface(bad.to_owned()));
        assert!(error.to_string().starts_with(&format!("`{bad}` cannot be an interface's name")));
    }
}

/// The kernel takes `eth%d` for a template and makes `eth0` of it, and refuses
/// any other use of `%`.
#[test]
fn an_interface_is_not_named_by_a_template() {
    for bad in ["eth%d", "%d", "a%b", "100%"] {
        assert!(bad.parse::<InterfaceName>().is_err(), "{bad}");
    }
}

/// The kernel looks at bytes: a0 is white space to it, also as part of a
/// letter such as `à`, which is c3 a0.
#[test]
fn an_interface_is_not_named_with_a_byte_that_the_kernel_takes_for_white_space() {
    for bad in ["à", "aàb", "\u{6e0}"] {
        assert!(bad.bytes().any(|byte| byte == 0xa0));
        assert!(bad.parse::<InterfaceName>().is_err(), "{bad}");
    }
}

#[test]
fn a_name_keeps_to_its_column() {
    assert_eq!(format!("{:6}|", parse::<ContainerName>("web")), "web   |");
    assert_eq!(format!("{:>6}|", parse::<InterfaceName>("eth0")), "  eth0|");
}

// Whatever comes.

fn pattern(schema: &schemars::Schema) -> impl Strategy<Value = String> {
    let pattern = schema.get("pattern").and_then(Value::as_str).expect("it has a pattern");
    string_regex(pattern.trim_matches(['^', '$'])).expect("the pattern is valid")
}

/// A request with any texts where texts belong.
fn requests() -> impl Strategy<Value = String> {
    (any::<String>(), any::<String>(), any::<String>(), any::<Option<String>>()).prop_map(
        |(name, netns, interface, identifier)| {
            serde_json::json!({
                "name": name, "netns": netns, "interface": interface, "identifier": identifier,
            })
            .to_string()
        },
    )
}

proptest! {
    #[test]
    fn whatever_the_request_it_is_understood_or_refused(
        text in prop_oneof![any::<String>(), requests(), "[\\[\\]{}\",:0-9a-z\\\\]{0,64}"],
    ) {
        if let Ok(request) = serde_json::from_str::<AddContainer>(&text) {
            let again = serde_json::to_string(&request).expect("it can be written");
            prop_assert_eq!(serde_json::from_str::<AddContainer>(&again).expect("and read"), request);
        }
    }

    #[test]
    fn whatever_the_text_it_is_a_name_or_not(text in "[a-z./: \\PC]{0,17}") {
        if let Ok(name) = text.parse::<InterfaceName>() {
            prop_assert!((1..=15).contains(&name.as_str().len()));
        }
        prop_assert_eq!(text.parse::<ContainerName>().is_ok(), text.parse::<NodeName>().is_ok());
        if let Ok(name) = text.parse::<ContainerName>() {
            prop_assert_eq!(name.to_string(), text);
        }
    }

    #[test]
    fn what_the_schema_admits_is_a_name(
        container in pattern(&schema_for!(ContainerName)),
        node in pattern(&schema_for!(NodeName)),
    ) {
        prop_assert_eq!(parse::<ContainerName>(&container).to_string(), container);
        prop_assert_eq!(parse::<NodeName>(&node).to_string(), node);
    }
}

use super::*;

const TWO: &str = include_str!("../../topologies/two-hosts.toml");

fn refusal(text: &str) -> String {
    Topology::parse("dir/bad.toml", text).expect_err(text).to_string()
}

#[test]
fn the_built_in_ones_are_right() {
    for (name, _) in BUILT_IN {
        let topology = Topology::builtin(name).expect(name);
        assert_eq!(topology.name, name);
        assert!(topology.hosts.iter().all(|host| host.containers.len() == 2));
    }
    assert_eq!(Topology::builtin("two-hosts").unwrap().hosts.len(), 2);
    assert_eq!(Topology::builtin("three-hosts").unwrap().hosts.len(), 3);
}

#[test]
fn everything_is_read() {
    let topology = Topology::parse(
        "dir/all.toml",
        r#"
            sir_prefix = "fd00:db8:0:1::/64"
            checksum_mode = "neutral-map-auto"
            mappings = "static"
            hook = "clsact"
            path = "slow"
            source = "locator"
            mtu = 9000
            [router]
            strict_sources = true
            sir_via = "h2"
            on_link_locators = false
            [[host]]
            name = "h1"
            locator = "2001:db8:a:1::/64"
            uplinks = 2
            vlan = 100
            mtu = 1400
            [[host.domain]]
            sir_prefix = "fd00:db8:0:2::/64"
            locator = "2001:db8:a:2::/64"
            [[host.container]]
            name = "a-1"
            identifier = "2000:0:0:00a1"
            sir_prefix = "fd00:db8:0:2::/64"
            [[host]]
            name = "h2"
            locator = "2001:db8:b:1::/64"
        "#,
    )
    .unwrap();
    let domain = Domain {
        sir_prefix: "fd00:db8:0:2::/64".parse().unwrap(),
        locator: "2001:db8:a:2::/64".parse().unwrap(),
    };
    let container = Container {
        name: "a-1".into(),
        identifier: "2000:0:0:a1".parse().unwrap(),
        sir_prefix: Some(domain.sir_prefix),
    };
    let h1 = Host {
        name: "h1".into(),
        locator: "2001:db8:a:1::/64".parse().unwrap(),
        uplinks: 2,
        vlan: Some(100),
        mtu: Some(1400),
        domains: vec![domain],
        containers: vec![container],
    };
    let h2 = Host {
        name: "h2".into(),
        locator: "2001:db8:b:1::/64".parse().unwrap(),
        uplinks: 1,
        vlan: None,
        mtu: None,
        domains: vec![],
        containers: vec![],
    };
    let expected = Topology {
        name: "all".into(),
        sir_prefix: "fd00:db8:0:1::/64".parse().unwrap(),
        checksum_mode: Some(ChecksumMode::NeutralMapAuto),
        mappings: Mappings::Static,
        hook: Some(Hook::Clsact),
        path: Some(PathMode::Slow),
        source: Some(SourceMode::Locator),
        mtu: 9000,
        router: Router {
            strict_sources: true,
            sir_via: Some("h2".into()),
            on_link_locators: false,
        },
        hosts: vec![h1, h2],
    };
    assert_eq!(topology, expected);
    let (host, container) = topology.containers().next().unwrap();
    assert_eq!(topology.domain_of(host, container), domain);
    assert_eq!(topology.address(container).to_string(), "fd00:db8:0:2:2000::a1");
    assert_eq!(topology.sir_prefixes().len(), 2);
    let on_link = TWO.replacen("[[host]]", "[router]\non_link_locators = true\n[[host]]", 1);
    assert!(Topology::parse("on-link.toml", &on_link).unwrap().router.on_link_locators);
    let json = serde_json::to_string(&expected).unwrap();
    assert_eq!(serde_json::from_str::<Topology>(&json).unwrap(), expected);
}

/// Replaces the first by the second in two-hosts.toml, and expects the third
/// to be said of it.
fn check(table: &[(&str, &str, &str)]) {
    for (good, bad, expected) in table {
        assert!(TWO.contains(good), "{good}");
        let text = TWO.replacen(good, bad, 1);
        assert_eq!(refusal(&text), format!("dir/bad.toml: {expected}"), "{bad}");
    }
}

#[test]
fn a_wrong_value_is_named_with_file_line_key_and_reason() {
    check(&[
        (
            r#"sir_prefix = "fd00:db8:0:1::/64""#,
            r#"sir_prefix = "fd00:db8::/48""#,
            "line 7: `sir_prefix`: `fd00:db8::/48` is not 64 bits long, as SIR prefixes and \
             locators are",
        ),
        (
            r#"sir_prefix = "fd00:db8:0:1::/64""#,
            r#"sir_prefix = "2001:db8:ffff:7::/64""#,
            "line 7: `sir_prefix`: 2001:db8:ffff:7::/64 lies in 2001:db8:ffff::/48, which the \
             lab numbers its links from",
        ),
        (
            r#"name = "a1""#,
            r#"name = "A1""#,
            "line 14: `name`: `A1` cannot be a node's name: 1 to 10 of a-z, 0-9 and `-`, the \
             first no `-`",
        ),
        (
            r#"name = "a1""#,
            r#"name = "-a1""#,
            "line 14: `name`: `-a1` cannot be a node's name: 1 to 10 of a-z, 0-9 and `-`, the \
             first no `-`",
        ),
        (
            r#"name = "a1""#,
            r#"name = "a1234567890""#,
            "line 14: `name`: `a1234567890` cannot be a node's name: 1 to 10 of a-z, 0-9 and \
             `-`, the first no `-`",
        ),
        (r#"name = "a1""#, r#"name = "rt""#, "line 14: `name`: `rt` is the name of the router"),
        (r#"name = "a2""#, r#"name = "h1""#, "line 18: `name`: `h1` stands on line 10 already"),
        (
            r#""2000:0:0:b2""#,
            r#""2000:0:0:00a1""#,
            "line 31: `identifier`: `2000:0:0:00a1` stands on line 15 already",
        ),
        (
            r#""2000:0:0:b2""#,
            r#""3000:0:0:b2""#,
            "line 31: `identifier`: `3000:0:0:b2` is not for containers: the first group of \
             their identifiers is 2000 to 2fff",
        ),
        (
            r#""2001:db8:b:1::/64""#,
            r#""2001:db8:a:1::/64""#,
            "line 23: `locator`: `2001:db8:a:1::/64` stands on line 11 already",
        ),
        (
            r#""2001:db8:b:1::/64""#,
            r#""fd00:db8:0:1::/64""#,
            "line 23: `locator`: fd00:db8:0:1::/64 is a SIR prefix; a locator is another one",
        ),
        (
            r#""2001:db8:b:1::/64""#,
            r#""2001:db8:ffff::/64""#,
            "line 23: `locator`: 2001:db8:ffff::/64 lies in 2001:db8:ffff::/48, which the lab \
             numbers its links from",
        ),
        (
            r#"locator = "2001:db8:b:1::/64""#,
            "locator = \"2001:db8:b:1::/64\"\nmtu = 1279",
            "line 24: `mtu`: 1279 is not between 1280 and 65535",
        ),
        (
            r#"locator = "2001:db8:b:1::/64""#,
            "locator = \"2001:db8:b:1::/64\"\nuplinks = 0",
            "line 24: `uplinks`: 0 is not between 1 and 4",
        ),
        (
            r#"locator = "2001:db8:b:1::/64""#,
            "locator = \"2001:db8:b:1::/64\"\nvlan = 4095",
            "line 24: `vlan`: 4095 is not between 1 and 4094",
        ),
        (
            "[[host]]",
            "[router]\nsir_via = \"a1\"\n[[host]]",
            "line 10: `sir_via`: `a1` is no host of this topology",
        ),
        (
            "[[host]]\nname = \"h1\"",
            "[router]\non_link_locators = true\n[[host]]\nuplinks = 2\nname = \"h1\"",
            "line 10: `on_link_locators`: a prefix is on one link, and host `h1` has several",
        ),
    ]);
}

#[test]
fn a_wrong_domain_is_named_with_file_line_key_and_reason() {
    let domain = |sir_prefix: &str, locator: &str| {
        let locator = format!("locator = \"2001:db8:{locator}::/64\"");
        format!(
            "locator = \"2001:db8:b:1::/64\"\n[[host.domain]]\n\
             sir_prefix = \"fd00:db8:0:{sir_prefix}::/64\"\n{locator}"
        )
    };
    let good = r#"locator = "2001:db8:b:1::/64""#;
    check(&[
        (
            good,
            &domain("1", "b:2"),
            "line 25: `sir_prefix`: fd00:db8:0:1::/64 is the SIR prefix that every host serves",
        ),
        (
            good,
            &format!("{}{}", domain("2", "b:2"), &domain("2", "b:3")[good.len()..]),
            "line 28: `sir_prefix`: `fd00:db8:0:2::/64` stands on line 25 already",
        ),
        (
            good,
            &domain("2", "a:1"),
            "line 26: `locator`: `2001:db8:a:1::/64` stands on line 11 already",
        ),
        (
            r#"identifier = "2000:0:0:a1""#,
            "identifier = \"2000:0:0:a1\"\nsir_prefix = \"fd00:db8:0:2::/64\"",
            "line 16: `sir_prefix`: the container's host does not serve fd00:db8:0:2::/64",
        ),
    ]);
    let text = TWO.replace("2001:db8:a:1::/64", "fd00:db8:0:2::/64");
    assert_eq!(
        refusal(&text.replace(good, &domain("2", "b:2"))),
        "dir/bad.toml: line 11: `locator`: fd00:db8:0:2::/64 is a SIR prefix; a locator is \
         another one"
    );
    // Each SIR prefix has identifiers of its own.
    let text = TWO
        .replace(good, &domain("2", "b:2"))
        .replace(r#""2000:0:0:b2""#, "\"2000:0:0:a1\"\nsir_prefix = \"fd00:db8:0:2::/64\"");
    assert_eq!(Topology::parse("two.toml", &text).unwrap().containers().count(), 4);
}

#[test]
fn wrong_toml_is_named_with_file_line_key_and_reason() {
    check(&[
        (
            "[[host]]\nname = \"h2\"",
            "[[host]]\nnmae = \"h2\"",
            "line 22: `nmae`: unknown field `nmae`, expected one of `name`, `locator`, \
             `uplinks`, `vlan`, `mtu`, `domain`, `container`",
        ),
        ("[[host]]\nname = \"h2\"", "[[host]]", "line 21: `host`: missing field `name`"),
        (
            r#"locator = "2001:db8:b:1::/64""#,
            "locator = 7",
            "line 23: `locator`: invalid type: integer `7`, expected a string",
        ),
        (
            r#"locator = "2001:db8:b:1::/64""#,
            "locator = ",
            "line 23: `locator`: string values must be quoted, expected literal string",
        ),
        (
            "sir_prefix",
            "mtu = 1279\nsir_prefix",
            "line 7: `mtu`: 1279 is not between 1280 and 65535",
        ),
        (
            "sir_prefix",
            "hook = \"xdp\"\nsir_prefix",
            "line 7: `hook`: unknown variant `xdp`, expected one of `auto`, `tcx`, `clsact`",
        ),
        (
            "sir_prefix",
            "path = \"past\"\nsir_prefix",
            "line 7: `path`: unknown variant `past`, expected `fast` or `slow`",
        ),
        (
            "sir_prefix",
            "source = \"host\"\nsir_prefix",
            "line 7: `source`: unknown variant `host`, expected `sir` or `locator`",
        ),
        (
            "sir_prefix",
            "router = 1\nsir_prefix",
            "line 7: `router`: invalid type: integer `1`, expected struct RawRouter",
        ),
        (
            "sir_prefix",
            "checksum_mode = \"none\"\nsir_prefix",
            "line 7: `checksum_mode`: unknown variant `none`, expected one of `neutral-map`, \
             `neutral-map-auto`, `no-action`",
        ),
    ]);
}

#[test]
fn there_are_one_to_two_hundred_hosts() {
    let head = "sir_prefix = \"fd00:db8:0:1::/64\"\n";
    assert_eq!(
        refusal(head),
        "dir/bad.toml: line 1: `sir_prefix`: a topology needs a [[host]] at least"
    );
    let hosts = |count| {
        (1..=count).fold(head.to_owned(), |text, n| {
            format!("{text}[[host]]\nname = \"h{n}\"\nlocator = \"2001:db8:a:{n:x}::/64\"\n")
        })
    };
    assert_eq!(Topology::parse("many.toml", &hosts(200)).unwrap().hosts.len(), 200);
    assert_eq!(refusal(&hosts(201)), "dir/bad.toml: line 602: `host`: a lab has at most 200 hosts");
}

#[test]
fn a_topology_is_built_in_or_a_file() {
    assert_eq!(Topology::load("two-hosts").unwrap().name, "two-hosts");
    assert_eq!(
        Topology::load("no-hosts").unwrap_err().to_string(),
        "no built-in topology is called `no-hosts`, only two-hosts and three-hosts; \
         for a file give a path with a `/` or the ending .toml"
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.toml");
    fs::write(&path, TWO).unwrap();
    assert_eq!(Topology::load(path.to_str().unwrap()).unwrap().name, "mine");
    let missing = dir.path().join("none.toml");
    let error = Topology::load(missing.to_str().unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("cannot read the topology /"), "{error}");
}

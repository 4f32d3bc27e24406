use std::time::Duration;

use ila_proto::gossip::frame::Version;

use super::*;

const GOOD: &str = r#"
node = "h1"
sir_prefix = "fd00:db8:0:1::/64"
locator = "2001:db8:a:1::/64"
uplinks = ["up0", "up1"]
locator_spaces = []

[[mapping]]
identifier = "2000:0:0:b1"
locator = "2001:db8:b:2::/64"
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("agent.toml"), text)
}

#[test]
fn what_is_left_out_has_the_documented_default() {
    let config = parse(GOOD).expect("the configuration is valid");
    assert_eq!(config.node.as_str(), "h1");
    assert_eq!(config.checksum_mode, ChecksumMode::NeutralMap);
    assert_eq!(config.hook, None);
    assert_eq!(config.runtime_dir, Path::new("/run/ila"));
    assert_eq!(config.bpf_dir, Path::new("/sys/fs/bpf/ila"));
    assert_eq!(config.source, forward::SourceMode::Sir);
    assert_eq!(config.path, forward::Path::Fast);
    assert_eq!(config.domains.len(), 1);
    assert_eq!(config.uplinks.len(), 2);
    assert_eq!(config.mappings.len(), 1);
}

#[test]
fn a_mapping_to_the_own_locator_is_fine() {
    let text = GOOD.replace("2001:db8:b:2::/64", "2001:db8:a:1::/64");
    assert_eq!(parse(&text).expect("it keeps the identifier for this host").mappings.len(), 1);
}

/// Each bad line, in place of the good one, and what the error says of it.
#[test]
fn errors_name_the_line_the_key_and_the_reason() {
    let node = r#"node = "h1""#;
    let sir = r#"sir_prefix = "fd00:db8:0:1::/64""#;
    let locator = r#"locator = "2001:db8:a:1::/64""#;
    let uplinks = r#"uplinks = ["up0", "up1"]"#;
    let identifier = r#"identifier = "2000:0:0:b1""#;
    let cases: &[(&str, &str, &str, &[&str])] = &[
        (node, "", "1", &["missing field `node`"]),
        (node, "node = 7", "2", &["node = 7", "string"]),
        (node, r#"node = "a/b""#, "2", &["node =", "`a/b` cannot be a node's name"]),
        (node, "colour = 1", "2", &["unknown field `colour`"]),
        (node, "node = \"h1", "2", &["line 2"]),
        (sir, r#"sir_prefix = "fd00::/48""#, "3", &["sir_prefix", "fd00::/48", "is a /48"]),
        (sir, r#"sir_prefix = "fd00:db8::1/64""#, "3", &["sir_prefix", "bits set behind"]),
        (sir, r#"sir_prefix = "10.0.0.0/8""#, "3", &["sir_prefix", "not an IPv6 prefix"]),
        (sir, r#"sir_prefix = "fe80::/64""#, "3", &["sir_prefix", "could route"]),
        (sir, r#"sir_prefix = "2001:db8:a:1::/64""#, "4", &["`locator`", "is a SIR prefix"]),
        (locator, r#"locator = "2001:db8:a::/63""#, "4", &["locator", "is a /63"]),
        (uplinks, "uplinks = []", "5", &["`uplinks`", "at least one"]),
        (uplinks, r#"uplinks = ["up0", "up0"]"#, "5", &["`uplinks`", "up0 is named twice"]),
        (uplinks, r#"uplinks = ["a/b"]"#, "5", &["uplinks", "`a/b` cannot be an interface"]),
        (uplinks, r#"uplinks = ["sixteen-bytes-ab"]"#, "5", &["sixteen-bytes-ab", "15 bytes"]),
        (identifier, r#"identifier = "2000:0:0:0""#, "9", &["identifier", "last group is 0"]),
        (identifier, r#"identifier = "2000:0:0:ffff""#, "9", &["identifier", "0 or ffff"]),
        (identifier, r#"identifier = "0:0:0:1""#, "9", &["identifier", "type 1"]),
        (identifier, r#"identifier = "3000:0:0:1""#, "9", &["identifier", "C-bit"]),
        (identifier, r#"identifier = "2000::1""#, "9", &["identifier", "not an identifier"]),
        (r#""2001:db8:b:2::/64""#, r#""fd00:db8:0:1::/64""#, "10", &["`locator`", "SIR prefix"]),
    ];
    for (good, bad, line, says) in cases {
        assert!(GOOD.contains(good), "{good}");
        let text = GOOD.replacen(good, bad, 1);
        let error = parse(&text).expect_err(bad).to_string();
        assert!(error.contains("agent.toml"), "{bad}: {error}");
        for part in *says {
            assert!(error.contains(part), "{bad}: no {part:?} in: {error}");
        }
        if !says[0].starts_with("missing") {
            assert!(error.contains(&format!("line {line}")), "{bad}: no line {line} in: {error}");
        }
    }
}

#[test]
fn a_mapping_given_twice_is_an_error_at_the_second() {
    let twice =
        format!("{GOOD}\n[[mapping]]\nidentifier = \"2000:0:0:b1\"\nlocator = \"2001:db8:c::/64\"");
    let error = parse(&twice).expect_err("two locators for one").to_string();
    assert!(error.contains("line 13: `identifier`: 2000:0:0:b1 is mapped twice"), "{error}");
}

#[test]
fn a_host_serves_several_sir_prefixes_each_with_its_own_locator() {
    let more = "[[domain]]\nsir_prefix = \"fd00:db8:0:2::/64\"\nlocator = \"2001:db8:a:2::/64\"\n\
                [[mapping]]\nsir_prefix = \"fd00:db8:0:2::/64\"\nidentifier = \"2000:0:0:b1\"\n\
                locator = \"2001:db8:b:3::/64\"\n";
    let good = format!("{GOOD}{more}");
    let config = parse(&good).expect("the configuration is valid");
    assert_eq!(config.domains.len(), 2);
    // One identifier in two SIR prefixes is two containers.
    assert_eq!(config.mappings.len(), 2);
    assert_eq!(config.domain_of("fd00:db8:0:2::/64".parse().expect("a prefix")), Some(1));
    for (found, bad, line, says) in [
        ("fd00:db8:0:2::/64", "fd00:db8:0:1::/64", 12, "`sir_prefix`: is stated twice"),
        ("2001:db8:a:2::/64", "2001:db8:a:1::/64", 13, "`locator`: is that of another SIR prefix"),
        ("2001:db8:a:2::/64", "fd00:db8:0:1::/64", 13, "`locator`: is a SIR prefix"),
        ("2001:db8:b:3::/64", "2001:db8:b:2::/64", 17, "`locator`: is that of another SIR prefix"),
        ("2001:db8:b:3::/64", "2001:db8:a:1::/64", 17, "`locator`: is that of another SIR prefix"),
    ] {
        let error = parse(&good.replacen(found, bad, 1)).expect_err(bad).to_string();
        assert!(error.contains(&format!("line {line}: {says}")), "{bad}: {error}");
    }
    let (start, end) = good.split_at(good.rfind("fd00:db8:0:2").expect("it is there"));
    let foreign = format!("{start}{}", end.replacen("fd00:db8:0:2", "fd00:db8:0:3", 1));
    let error = parse(&foreign).expect_err("a prefix of others").to_string();
    assert!(error.contains("line 15: `sir_prefix`: is none that this host serves"), "{error}");
}

#[test]
fn there_are_no_more_domains_and_uplinks_than_the_programs_have_places_for() {
    let domain = |index| {
        format!("[[domain]]\nsir_prefix = \"fd01:{index}::/64\"\nlocator = \"2001:{index}::/64\"\n")
    };
    let with = |count: usize| GOOD.to_owned() + &(1..count).map(domain).collect::<String>();
    assert_eq!(parse(&with(MAX_DOMAINS)).expect("they fit").domains.len(), MAX_DOMAINS);
    let error = parse(&with(MAX_DOMAINS + 1)).expect_err("one too many").to_string();
    assert!(error.contains("`sir_prefix`: a host serves at most 4 SIR prefixes"), "{error}");
    let uplinks = GOOD.replace(r#""up1""#, r#""up1", "up2", "up3", "up4""#);
    let error = parse(&uplinks).expect_err("one too many").to_string();
    assert!(error.contains("line 5: `uplinks`: has at most 4 interfaces"), "{error}");
}

/// So many mappings, each with its own line, to so many locators besides that of
/// the host.
fn stated(mappings: u32, locators: u32) -> Vec<Mapping> {
    let spanned = |line: u32| line as usize..line as usize + 1;
    let mapping = |number: u32| Mapping {
        sir_prefix: None,
        identifier: Spanned::new(
            spanned(number),
            Identifier::locally_unique(u64::from(number) << 16 | 1),
        ),
        locator: Spanned::new(
            spanned(number),
            Locator::from_bits(0x2001_0db8 << 32 | u64::from(number % locators) << 8),
        ),
    };
    (0..mappings).map(mapping).collect()
}

/// Programs ask the tables, and what does not fit would be found out by the
/// kernel only.
#[test]
fn there_are_no_more_mappings_and_locators_than_the_tables_have_room_for() {
    let domain = Domain {
        sir_prefix: "fd00:db8:0:1::/64".parse().expect("a prefix"),
        locator: "2001:db9:a:1::/64".parse().expect("a locator"),
    };
    let check = |mappings, locators| check_mappings(&[domain], stated(mappings, locators));
    // That of the host is one of them.
    for (mappings, locators) in [(MAX_STATED, 1), (MAX_LOCATORS - 1, MAX_LOCATORS - 1)] {
        let checked = check(mappings, locators).unwrap_or_else(|it| panic!("{}", it.reason));
        assert_eq!(checked.len(), mappings as usize);
    }
    for (mappings, locators, key, says) in [
        (MAX_STATED + 1, 1, "identifier", "is one more than the 1032192 that can be mapped"),
        (MAX_LOCATORS, MAX_LOCATORS, "locator", "is one more than the 131072 that there can be"),
    ] {
        let problem = check(mappings, locators).expect_err("it is one too many");
        // The last one, and behind its first byte.
        assert_eq!((problem.at, problem.key), (mappings as usize, key));
        assert_eq!(problem.reason, says);
    }
}

#[test]
fn locators_are_taken_from_prefixes_that_are_no_longer_than_they_are() {
    const NONE: &str = "locator_spaces = []";
    let stated = |line: &str| parse(&format!("{line}\n{}", GOOD.replacen(NONE, "", 1)));
    let with = |spaces: &str| stated(&format!("locator_spaces = [{spaces}]"));
    let config = with(r#""2001:db8::/32", "2001:db9:1:2::/64""#).expect("both are prefixes");
    assert_eq!(config.locator_spaces.len(), 2);
    for (bad, says) in [
        (r#""2001:db8::/65""#, "2001:db8::/65 is no prefix of locators"),
        (r#""::/0""#, "::/0 is no prefix of locators"),
        (r#""2001:db8::1/32""#, "has bits set behind its end; use 2001:db8::/32"),
        (r#""1::/16", "2::/16", "3::/16", "4::/16", "5::/16""#, "has at most 4"),
    ] {
        let error = with(bad).expect_err(bad).to_string();
        assert!(error.contains("line 1: `locator_spaces`") && error.contains(says), "{error}");
    }
    let error = with(r#""2001:db8::""#).expect_err("no length").to_string();
    assert!(error.contains("line 1") && error.contains("locator_spaces"), "{error}");
}

#[test]
fn a_host_in_no_mesh_has_to_be_told_where_locators_are() {
    const NONE: &str = "locator_spaces = []";
    let without = GOOD.replacen(NONE, "", 1);
    let error = parse(&without).expect_err("nobody knows").to_string();
    assert!(error.contains("`locator_spaces`: is missing, and there is no `mesh`"), "{error}");
    let mesh = format!("{without}[mesh]\nidentity = \"/etc/ila/identity\"\n");
    assert_eq!(parse(&mesh).expect("the mesh knows").locator_spaces, []);
}

#[test]
fn a_mesh_has_documented_defaults_and_addresses_that_can_be_reached() {
    let with = |lines: &str| parse(&format!("{GOOD}[mesh]\n{lines}"));
    let mesh = with("identity = \"/i\"").expect("it is valid").mesh.expect("it is stated");
    let expected = MeshConfig {
        identity: "/i".into(),
        listen: "[::]:7741".parse().expect("an address"),
        addresses: Vec::new(),
        seeds: Vec::new(),
        grace: Duration::from_secs(600),
        max_protocol: Version::LATEST,
    };
    assert_eq!(mesh, expected);
    let held = with("identity = \"/i\"\nmax_protocol = 1").expect("it is valid").mesh;
    assert_eq!(held.map(|it| it.max_protocol), Some(Version::One));
    assert_eq!(parse(GOOD).expect("it is valid").mesh, None);
    for (bad, line, says) in [
        ("identity = \"i\"", 12, "`identity`: must be an absolute path"),
        ("identity = \"/i\"\nseeds = [\"[::]:1\"]", 13, "`seeds`: nobody can connect to [::]:1"),
        ("identity = \"/i\"\naddresses = [\"[::1]:0\"]", 13, "`addresses`: nobody can"),
        ("identity = \"/i\"\nseeds = [\"[ff02::1]:9\"]", 13, "`seeds`: nobody can"),
        ("identity = \"/i\"\nseeds = [\"host\"]", 13, "invalid socket address"),
        (
            "identity = \"/i\"\nmax_protocol = 0",
            13,
            "`max_protocol`: this agent speaks the versions",
        ),
        ("identity = \"/i\"\nmax_protocol = 3", 13, "speaks the versions 1 to 2, not 3"),
        ("identity = \"/i\"\nmax_protocol = -1", 13, "speaks the versions 1 to 2, not -1"),
        ("identity = \"/i\"\nmax_protocol = \"1\"", 13, "invalid type"),
        ("listen = \"[::]:1\"", 11, "missing field `identity`"),
    ] {
        let error = with(bad).expect_err(bad).to_string();
        assert!(error.contains(&format!("line {line}")) && error.contains(says), "{bad}: {error}");
    }
}

#[test]
fn the_folder_for_pins_must_be_absolute() {
    let error = parse(&format!("bpf_dir = \"bpf\"\n{GOOD}")).expect_err("relative").to_string();
    assert!(error.contains("line 1: `bpf_dir`: must be an absolute path"), "{error}");
}

#[test]
fn a_runtime_directory_must_be_absolute_and_leave_room_for_the_socket() {
    let long = format!("runtime_dir = \"/{}\"", "x".repeat(97));
    for (line, says) in [("runtime_dir = \"run\"", "absolute"), (&long, "too long")] {
        let error = parse(&format!("{line}\n{GOOD}")).expect_err(line).to_string();
        assert!(error.contains("line 1: `runtime_dir`") && error.contains(says), "{error}");
    }
    let fits = format!("runtime_dir = \"/{}\"\n{GOOD}", "x".repeat(95));
    assert!(parse(&fits).is_ok());
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::read(Path::new("/nonexistent/agent.toml")).expect_err("no such file");
    assert!(error.to_string().contains("/nonexistent/agent.toml"), "{error}");
}

#[test]
fn a_file_that_is_no_text_is_named_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("agent.toml");
    fs::write(&path, b"node = \"h1\"\nsir_prefix = \"\xff\"\n").expect("it can be written");
    let error = Config::read(&path).expect_err("it is no text").to_string();
    assert!(error.contains("agent.toml: line 2: is not UTF-8"), "{error}");
}

#[test]
fn the_mesh_is_a_table_of_its_own() {
    let with = |lines: &str| format!("{GOOD}[mesh]\nidentity = \"/etc/ila/identity\"\n{lines}");
    let mesh = parse(&with("")).expect("it is valid").mesh.expect("it is there");
    assert_eq!(mesh.listen.to_string(), "[::]:7741");
    assert!(mesh.addresses.is_empty() && mesh.seeds.is_empty());
    let seeds = with("seeds = [\"[2001:db8::2]:7741\"]\n");
    let mesh = parse(&seeds).expect("it is valid").mesh.expect("it is there");
    assert_eq!(mesh.seeds, ["[2001:db8::2]:7741".parse().expect("an address")]);
    for bad in ["listen = \"nowhere\"\n", "seed = []\n"] {
        parse(&with(bad)).expect_err(bad);
    }
}

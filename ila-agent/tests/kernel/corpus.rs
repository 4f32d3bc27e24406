//! Whole packets as text. They are in the program, for that is all of this that
//! the second kernel is given.

use std::{collections::BTreeSet, fs, path::Path};

macro_rules! corpus {
    ($($name:literal)*) => {
        [$(($name, include_str!(concat!("corpus/", $name, ".hex")))),*]
    };
}

const CORPUS: [(&str, &str); 37] = corpus! {
    "advertisement-hidden"
    "arp"
    "arriving-auto"
    "arriving-both-auto"
    "arriving-both-map"
    "arriving-both-no"
    "arriving-map"
    "arriving-no"
    "authentication"
    "echo-to-unknown"
    "error-at-locator-auto"
    "error-at-locator-map"
    "error-at-locator-no"
    "error-at-sir-auto"
    "error-at-sir-map"
    "error-at-sir-no"
    "error-hidden-map"
    "error-hidden-no"
    "error-of-container"
    "fragment-later"
    "last-hop"
    "no-longer-here"
    "probe-beside"
    "probe-own"
    "redirect-last-hop"
    "seven-headers"
    "six-headers"
    "solicitation-gateway"
    "solicitation-longest"
    "solicitation-too-long"
    "solicitation-uplink-auto"
    "solicitation-uplink-map"
    "solicitation-uplink-no"
    "tcp-to-beside"
    "too-big"
    "udp-to-remote"
    "vlan"
};

/// The packets with their names.
pub fn packets() -> Vec<(&'static str, Vec<u8>)> {
    CORPUS.iter().map(|(name, text)| (*name, packet(text))).collect()
}

/// The digits of all lines that do not start with `#`.
fn packet(text: &str) -> Vec<u8> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let digits: String = lines.flat_map(str::split_whitespace).collect();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("it is hex");
    (0..digits.len()).step_by(2).map(byte).collect()
}

#[test]
fn every_file_of_the_corpus_is_in_it_and_says_what_it_is() {
    for (name, text) in CORPUS {
        assert!(text.starts_with("# "), "{name}");
        assert!(packet(text).len() > 14, "{name}");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel/corpus");
    // The second kernel does not have the source.
    let Ok(files) = fs::read_dir(folder) else { return };
    let files: BTreeSet<_> = files
        .map(|file| file.expect("it can be read").path())
        .map(|path| path.file_stem().expect("it is a file").to_string_lossy().into_owned())
        .collect();
    let known = CORPUS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(files, known, "left the folder, right the list in corpus.rs");
}

//! Inputs that are checked for ever, and that others are made from.

use std::{fs, path::Path};

/// Those whose name starts so.
pub fn all(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/decoders/corpus");
    let files = fs::read_dir(folder).expect("it is there");
    let mut files: Vec<_> = files.map(|file| file.expect("it is there").path()).collect();
    files.sort();
    let name = |file: &&std::path::PathBuf| {
        file.file_name().is_some_and(|it| it.to_string_lossy().starts_with(target))
    };
    let found: Vec<_> = files
        .iter()
        .filter(name)
        .map(|file| bytes(&fs::read_to_string(file).expect("it can be read")))
        .collect();
    assert!(!found.is_empty(), "the corpus has something of {target}");
    found
}

/// The digits of all lines that do not start with `#`.
fn bytes(text: &str) -> Vec<u8> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let digits: String = lines.flat_map(str::split_whitespace).collect();
    let pairs = (0..digits.len() / 2).map(|at| &digits[2 * at..2 * at + 2]);
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("it is hexadecimal")).collect()
}

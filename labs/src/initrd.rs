//! The files of a machine that boots from memory, in the format that the
//! kernel unpacks (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, error::Doing as _};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// An archive being written.
#[derive(Debug, Default)]
pub struct Initrd {
    bytes: Vec<u8>,
    entries: u32,
    known: BTreeSet<PathBuf>,
}

impl Initrd {
    /// Adds an empty directory.
    pub fn add_directory(&mut self, path: &str) {
        self.add(Path::new(path), DIRECTORY, &[]);
    }

    /// Adds a symbolic link.
    pub fn add_link(&mut self, path: &str, target: &str) {
        self.add(Path::new(path), LINK, target.as_bytes());
    }

    /// Adds a file that can be run.
    pub fn add_script(&mut self, path: &str, text: &str) {
        self.add(Path::new(path), PROGRAM, text.as_bytes());
    }

    /// Adds a file of this machine under another path.
    pub fn add_file(&mut self, path: &Path, file: &Path) -> Result<(), Error> {
        let content = fs::read(file).doing(|| format!("read {}", file.display()))?;
        self.add(path, PROGRAM, &content);
        Ok(())
    }

    /// Adds a program of this machine, and the libraries that it is linked to
    /// at the paths where it looks for them.
    pub fn add_program(&mut self, path: &Path, program: &Path) -> Result<(), Error> {
        self.add_file(path, program)?;
        let ldd = Command::new("ldd").arg(program).output();
        let ldd = ldd.doing(|| format!("run ldd on {}", program.display()))?;
        // It fails for a program without libraries, which has then none.
        let words = String::from_utf8_lossy(&ldd.stdout);
        for library in words.split_whitespace().filter(|word| word.starts_with('/')) {
            self.add_file(Path::new(library), Path::new(library))?;
        }
        Ok(())
    }

    /// The archive.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.write("TRAILER!!!", 0, &[]);
        self.bytes
    }

    /// Adds an entry behind the directories that it lies in, once.
    fn add(&mut self, path: &Path, mode: u32, content: &[u8]) {
        if !self.known.insert(path.to_owned()) {
            return;
        }
        if let Some(parent) = path.parent().filter(|it| it.parent().is_some()) {
            self.add(parent, DIRECTORY, &[]);
        }
        let name = path.display().to_string();
        self.write(name.trim_start_matches('/'), mode, content);
    }

    fn write(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let size = |bytes: usize| u32::try_from(bytes).expect("the kernel takes 4 GiB at most");
        let (content_size, name_size) = (size(content.len()), size(name.len() + 1));
        // inode, mode, owner, group, links, time, size, four device numbers,
        // length of the name, checksum
        let header = [self.entries, mode, 0, 0, 1, 0, content_size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend(b"070701");
        self.bytes.extend(header.iter().flat_map(|field| format!("{field:08x}").into_bytes()));
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_its_directories_before_it_and_comes_once() {
        let mut initrd = Initrd::default();
        initrd.add_script("/a/b/run", "#!");
        initrd.add_script("/a/b/run", "another");
        let archive = String::from_utf8(initrd.finish()).expect("all of it is ASCII");
        // Inode, mode, owner, group, links, time and size of the first entry.
        let first = "07070100000001000041ed0000000000000000000000010000000000000000";
        assert_eq!(archive[..first.len()], *first);
        let at = |entry: &str| archive.find(entry).expect("it is there");
        assert!(at("a\0") < at("a/b\0") && at("a/b\0") < at("a/b/run\0"));
        assert!(archive.contains("#!") && !archive.contains("another"));
        assert!(archive.len().is_multiple_of(4) && archive.contains("TRAILER!!!\0"));
    }

    #[test]
    fn a_program_brings_its_libraries() {
        let mut initrd = Initrd::default();
        let own = std::env::current_exe().expect("this is one");
        initrd.add_program(Path::new("/own"), &own).expect("it can be read");
        assert!(initrd.known.iter().any(|path| path.display().to_string().contains("libc.so")));
    }
}

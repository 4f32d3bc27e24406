//! Where the data plane lies in the BPF file system, so that it outlives the
//! agent.
//!
//! ```text
//!  BPF_DIR/vABI/                      changes with the layout of what is shared
//!    maps-MEANING/ILA_MAPPINGS …      the tables; one folder per SIR prefixes and checksum mode
//!    programs-CONTENT/ila_egress …    the programs and the array in which they find each other;
//!                                     one folder per object and configuration
//!    programs-CONTENT-0/ …            such a folder that was not whole, while interfaces run
//!                                     what is in it
//!    links/INTERFACE                  a TCX link
//!    filters/INTERFACE/               marks an interface that has a clsact filter of ours
//! ```

use std::{
    fs::{self, DirBuilder, File},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    os::{
        fd::AsFd as _,
        unix::{ffi::OsStrExt as _, fs::DirBuilderExt as _},
    },
    path::{Path, PathBuf},
};

use aya::programs::{ProgramError, loaded_programs};
use ila_proto::{
    abi::{
        ABI_VERSION, EVENT_BYTES, HostConfig, MAP_TAILS, MAX_INTERFACES, MAX_LOCATORS, MAX_MAPPINGS,
    },
    api::InterfaceName,
};
use nix::{
    fcntl::{Flock, FlockArg},
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use super::{DatapathError, Plain, bpf};

/// How the name of a folder of programs starts, in every layout.
const PROGRAMS: &str = "programs-";

/// The same for one of tables.
const MAPS: &str = "maps-";

/// Where the BPF file system is on every distribution.
const BPF_FS: &str = "/sys/fs/bpf";

/// The folder of one agent, which is ours until this value is dropped.
#[derive(Debug)]
pub struct Pins {
    root: PathBuf,
    _lock: Flock<File>,
}

impl Pins {
    /// Makes the folder if need be and locks it.
    pub fn lock(bpf_dir: &Path) -> Result<Self, DatapathError> {
        mount_bpf_fs(bpf_dir)?;
        make(bpf_dir)?;
        if !is_bpf_fs(bpf_dir)? {
            return Err(DatapathError::NotBpfFs(bpf_dir.to_owned()));
        }
        let folder = File::open(bpf_dir).map_err(pin("open", bpf_dir))?;
        match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { root: bpf_dir.to_owned(), _lock: lock }),
            Err((_, nix::Error::EWOULDBLOCK)) => Err(DatapathError::Taken(bpf_dir.to_owned())),
            Err((_, errno)) => Err(pin("lock", bpf_dir)(errno.into())),
        }
    }

    /// The folder of the tables for these SIR prefixes and this checksum mode.
    /// Were it shared with others, programs that still run would read what is
    /// not meant for them. A hash that another compiler computes otherwise
    /// makes new tables, which are filled before any program reads them.
    pub fn maps(&self, config: &HostConfig) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        config.domains.map(|domain| domain.sir_prefix).hash(&mut hasher);
        config.checksum_mode.hash(&mut hasher);
        // Nor what another build made smaller or larger.
        [MAX_MAPPINGS, MAX_LOCATORS, MAX_INTERFACES, EVENT_BYTES].hash(&mut hasher);
        self.current().join(format!("{MAPS}{:016x}", hasher.finish()))
    }

    /// The folder of the programs that `object` and `config` make.
    pub fn programs(&self, object: &[u8], config: &HostConfig) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        object.hash(&mut hasher);
        Plain(*config).bytes().hash(&mut hasher);
        self.current().join(format!("{PROGRAMS}{:016x}", hasher.finish()))
    }

    /// The link of an interface.
    pub fn link(&self, interface: &InterfaceName) -> PathBuf {
        self.links().join(file_name(interface))
    }

    /// The links of an interface that agents of other layouts have left.
    pub fn former_links(&self, interface: &InterfaceName) -> Result<Vec<PathBuf>, DatapathError> {
        let name = file_name(interface);
        let links = self.former()?.into_iter().map(|version| version.join("links").join(&name));
        Ok(links.filter(|path| path.exists()).collect())
    }

    /// Notes that an interface has a clsact filter.
    pub fn mark_filter(&self, interface: &InterfaceName) -> Result<(), DatapathError> {
        make(&self.filters().join(file_name(interface)))
    }

    /// Takes the note back; none is fine.
    pub fn unmark_filter(&self, interface: &InterfaceName) -> Result<(), DatapathError> {
        remove(&self.filters().join(file_name(interface)))
    }

    /// The interfaces with a link, in any layout.
    pub fn linked(&self) -> Result<Vec<InterfaceName>, DatapathError> {
        self.interfaces("links")
    }

    /// The interfaces with a filter, in any layout.
    pub fn filtered(&self) -> Result<Vec<InterfaceName>, DatapathError> {
        self.interfaces("filters")
    }

    /// Whether an agent with these pins has loaded the program with that number.
    /// It is pinned here, in any layout: programs are before they are attached,
    /// until none runs them. Or it uses what is pinned here, and only its own pin
    /// was removed; no other agent's program acts by our tables.
    pub fn owns(&self, program: u32) -> Result<bool, DatapathError> {
        let mut pinned = Vec::new();
        for version in self.layouts()? {
            for folder in list(&version)? {
                if starts_with(&folder, PROGRAMS) || starts_with(&folder, MAPS) {
                    pinned.extend(list(&folder)?);
                }
            }
        }
        let (programs, maps): (Vec<_>, Vec<_>) = pinned.into_iter().partition(|it| is_program(it));
        if numbers(&programs)?.contains(&program) {
            return Ok(true);
        }
        let used = maps_of(program).map_err(|error| {
            pin("tell whose program runs, for", &self.root)(io::Error::other(error))
        })?;
        Ok(numbers(&maps)?.iter().any(|map| used.contains(map)))
    }

    /// Removes everything that is not the link of one of `links`, the mark of
    /// one of `filters`, `maps` or `programs`.
    pub fn retain(
        &self,
        interfaces: impl Fn(&InterfaceName) -> bool,
        maps: &Path,
        programs: &Path,
    ) -> Result<(), DatapathError> {
        for version in self.former()? {
            remove(&version)?;
        }
        for entry in list(&self.current())? {
            if entry != maps
                && entry != programs
                && entry != self.links()
                && entry != self.filters()
            {
                remove(&entry)?;
            }
        }
        for folder in [self.links(), self.filters()] {
            for entry in list(&folder)? {
                if !interface_of(&entry).is_some_and(|interface| interfaces(&interface)) {
                    remove(&entry)?;
                }
            }
        }
        Ok(())
    }

    /// Removes everything that agents have put there.
    pub fn clear(&self) -> Result<(), DatapathError> {
        self.layouts()?.iter().try_for_each(|version| remove(version))
    }

    /// Makes the folder of the links.
    pub fn make_links(&self) -> Result<(), DatapathError> {
        make(&self.links())
    }

    fn interfaces(&self, kind: &str) -> Result<Vec<InterfaceName>, DatapathError> {
        let mut found = Vec::new();
        for version in self.layouts()? {
            found.extend(list(&version.join(kind))?.iter().filter_map(|entry| interface_of(entry)));
        }
        Ok(found)
    }

    fn current(&self) -> PathBuf {
        self.root.join(format!("v{ABI_VERSION}"))
    }

    /// The folders of all layouts. What else is there is not ours: the folder of
    /// another agent, or, where `bpf_dir` is that of all, anybody's.
    fn layouts(&self) -> Result<Vec<PathBuf>, DatapathError> {
        let mut entries = list(&self.root)?;
        entries.retain(|entry| {
            let name = entry.file_name().and_then(|name| name.to_str());
            let number = name.and_then(|name| name.strip_prefix('v'));
            number.is_some_and(|number| number.parse::<u32>().is_ok())
        });
        Ok(entries)
    }

    fn former(&self) -> Result<Vec<PathBuf>, DatapathError> {
        let mut versions = self.layouts()?;
        versions.retain(|version| *version != self.current());
        Ok(versions)
    }

    fn links(&self) -> PathBuf {
        self.current().join("links")
    }

    fn filters(&self) -> PathBuf {
        self.current().join("filters")
    }
}

/// The numbers of the programs, or of the maps, that are pinned at `paths`.
pub fn numbers(paths: &[PathBuf]) -> Result<Vec<u32>, DatapathError> {
    let number = |path: &PathBuf| {
        let number = bpf::open_pin(path).and_then(|object| bpf::object_number(object.as_fd()));
        number.map_err(pin("open what is pinned at", path))
    };
    paths.iter().map(number).collect()
}

/// The numbers of the maps that a program uses; none if it is gone.
fn maps_of(program: u32) -> Result<Vec<u32>, ProgramError> {
    // Others come and go meanwhile, which are errors here.
    match loaded_programs().flatten().find(|it| it.id() == program) {
        Some(program) => Ok(program.map_ids()?.unwrap_or_default()),
        None => Ok(Vec::new()),
    }
}

/// Gives a folder of programs, if it is there, another name. Removed, the
/// programs in it that are attached would not find each other any more.
pub fn set_aside(folder: &Path) -> Result<(), DatapathError> {
    let name = folder.to_string_lossy();
    let mut places = (0..).map(|number| PathBuf::from(format!("{name}-{number}")));
    let free = places.find(|it| !it.exists()).expect("there is no end of numbers");
    match fs::rename(folder, free) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(pin("rename", folder)(error)),
        _ => Ok(()),
    }
}

/// Removes a pin, or a folder with all that is in it; none is fine.
pub fn remove(path: &Path) -> Result<(), DatapathError> {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|it| it.is_dir());
    let removed = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(pin("remove", path)(error)),
        _ => Ok(()),
    }
}

/// An error about what is pinned at `path`.
pub fn pin(what: &'static str, path: &Path) -> impl Fn(io::Error) -> DatapathError {
    let path = path.to_owned();
    move |source| DatapathError::Pin { what, path: path.clone(), source }
}

/// Whether a program is pinned there, and not a map.
fn is_program(path: &Path) -> bool {
    path.parent().is_some_and(|folder| starts_with(folder, PROGRAMS)) && !path.ends_with(MAP_TAILS)
}

fn starts_with(path: &Path, prefix: &str) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(prefix.as_bytes()))
}

/// The file system reserves dots, and interfaces have no colons.
fn file_name(interface: &InterfaceName) -> String {
    interface.as_str().replace('.', ":")
}

fn interface_of(path: &Path) -> Option<InterfaceName> {
    path.file_name()?.to_str()?.replace(':', ".").parse().ok()
}

/// What is in a folder; nothing if there is no such folder.
fn list(folder: &Path) -> Result<Vec<PathBuf>, DatapathError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(pin("list", folder))?,
    };
    let paths: Result<_, _> = entries.map(|entry| entry.map(|it| it.path())).collect();
    paths.map_err(pin("list", folder))
}

/// Makes a folder and those above it.
pub fn make(folder: &Path) -> Result<(), DatapathError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(pin("create", folder))
}

/// Mounts the BPF file system where it belongs, on machines that do not.
fn mount_bpf_fs(bpf_dir: &Path) -> Result<(), DatapathError> {
    let place = Path::new(BPF_FS);
    if !bpf_dir.starts_with(place) || is_bpf_fs(place)? {
        return Ok(());
    }
    mount(Some("bpf"), place, Some("bpf"), MsFlags::empty(), None::<&str>)
        .map_err(|errno| pin("mount the BPF file system on", place)(errno.into()))?;
    tracing::info!("BPF file system mounted on {BPF_FS}");
    Ok(())
}

fn is_bpf_fs(path: &Path) -> Result<bool, DatapathError> {
    let found = statfs(path).map_err(|errno| pin("look at", path)(errno.into()))?;
    Ok(found.filesystem_type() == BPF_FS_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Programs and maps can have the same numbers.
    #[test]
    fn maps_beside_programs_are_taken_for_none() {
        for (path, expected) in [
            ("/b/v3/programs-1/ila_egress", true),
            ("/b/v3/programs-1-0/ila_egress", true),
            ("/b/v3/programs-1/ILA_TAILS", false),
            ("/b/v3/maps-1/ILA_MAPPINGS", false),
        ] {
            assert_eq!(is_program(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn the_names_of_interfaces_come_back_from_those_of_pins() {
        for name in ["up0", "up0.100", "ila000000000001"] {
            let interface: InterfaceName = name.parse().expect("it is one");
            let file = file_name(&interface);
            assert!(!file.contains('.'), "{file}");
            assert_eq!(interface_of(&Path::new("/x").join(file)), Some(interface));
        }
    }
}

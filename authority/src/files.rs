//! Files that are there whole or not at all, and stay.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use crate::CaError;

/// For its owner only.
pub const SECRET: u32 = 0o600;
/// For all to read.
pub const OPEN: u32 = 0o644;

/// More than any file here has but the record, which is read by lines.
const MAX_BYTES: u64 = 64 * 1024;

/// A short text.
pub fn read(file: &Path) -> Result<String, CaError> {
    let read = || {
        let mut text = String::new();
        File::open(file)?.take(MAX_BYTES).read_to_string(&mut text)?;
        Ok(text)
    };
    read().map_err(|error| CaError::io("read", file, error))
}

/// Writes a file beside its place, and moves it there once it is on the disk.
pub fn write(file: &Path, bytes: &[u8], mode: u32) -> Result<(), CaError> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let beside = file.with_file_name(format!(".{name}.new"));
    let write = || -> io::Result<()> {
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // A new file, for one that is there may be open to others.
        let mut new = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        // Whatever the umask says.
        new.set_permissions(Permissions::from_mode(mode))?;
        new.write_all(bytes)?;
        new.sync_all()?;
        fs::rename(&beside, file)?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&beside);
        CaError::io("write", file, error)
    })
}

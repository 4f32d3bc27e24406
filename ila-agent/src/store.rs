//! Which containers there are, one file each, for the agent that comes next.
//!
//! The files lie in the runtime directory: like the links that they speak of,
//! they end with the boot. A record is written before the first link is made,
//! so that whatever an agent left half-made when it was killed is known.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use ila_proto::api::{Container, ContainerName};
use serde::{Deserialize, Serialize};

/// A record could not be written, read or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {path}")]
pub struct StoreError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// How far a container has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// Being made or removed: what is there of it is to be removed.
    Unfinished,
    /// Made and connected.
    Ready,
}

/// A container as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// How far it has come.
    pub progress: Progress,
    /// The container.
    pub container: Container,
}

/// The folder of records.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// Opens the store in `runtime_dir`.
    pub fn open(runtime_dir: &Path) -> Result<Self, StoreError> {
        let folder = runtime_dir.join("containers");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(failed("create", &folder))?;
        Ok(Self { folder })
    }

    /// Writes a record, whole or not at all.
    pub fn write(&self, record: &Record) -> Result<(), StoreError> {
        let path = self.path(&record.container.name);
        // Names cannot start with a dot, so this is no record's.
        let unfinished = self.folder.join(".writing");
        let json = serde_json::to_vec(record).map_err(io::Error::from);
        json.and_then(|json| fs::write(&unfinished, json))
            .and_then(|()| fs::rename(&unfinished, &path))
            .map_err(failed("write", &path))
    }

    /// Removes a record; one that is not there is fine.
    pub fn remove(&self, name: &ContainerName) -> Result<(), StoreError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// All records. One that cannot be read is said in the log and left out:
    /// it is not worth keeping all others from their containers.
    pub fn read_all(&self) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed("list", &self.folder))? {
            let path = entry.map_err(failed("list", &self.folder))?.path();
            if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
                continue;
            }
            match fs::read(&path).and_then(|json| Ok(serde_json::from_slice(&json)?)) {
                Ok(record) => records.push(record),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "unreadable container record left out");
                }
            }
        }
        Ok(records)
    }

    fn path(&self, name: &ContainerName) -> PathBuf {
        self.folder.join(name.as_str())
    }
}

fn failed(what: &'static str, path: &Path) -> impl Fn(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError { what, path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, progress: Progress) -> Record {
        let text = format!(
            r#"{{"name":"{name}","identifier":"2000:0:0:1","address":"fd00::2000:0:0:1",
            "netns":"/run/netns/{name}","interface":"eth0","host_interface":"ila000000000001",
            "mtu":1500}}"#
        );
        let container = serde_json::from_str(&text).expect("it is a container");
        Record { progress, container }
    }

    #[test]
    fn what_is_written_is_read_until_it_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("it can be made");
        store.write(&record("a", Progress::Unfinished)).expect("it can be written");
        store.write(&record("a", Progress::Ready)).expect("it can be replaced");
        // Another store on the same folder: the agent that comes next.
        let next = Store::open(folder.path()).expect("it is there");
        let records = next.read_all().expect("it can be read");
        assert_eq!(records, [record("a", Progress::Ready)]);
        for _ in 0..2 {
            next.remove(&records[0].container.name).expect("it may be gone already");
        }
        assert_eq!(next.read_all().expect("it can be read"), []);
    }

    #[test]
    fn a_record_that_cannot_be_read_does_not_hide_the_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("it can be made");
        store.write(&record("good", Progress::Ready)).expect("it can be written");
        for (name, text) in [("empty", ""), ("cut", "{\"progress\":"), (".writing", "x")] {
            fs::write(folder.path().join("containers").join(name), text).expect("it is written");
        }
        let records = store.read_all().expect("the folder can be read");
        assert_eq!(records, [record("good", Progress::Ready)]);
    }
}

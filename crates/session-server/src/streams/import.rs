//! Streams of an earlier Threadkeep, which kept them in files of `durable-streams-server`'s own
//! (`acid/`).
//!
//! These streams are taken over once, at the first start, with the offsets that readers remember;
//! then the old files are removed, so that a session that is deleted later is really gone.
//! Producers' numbers are not taken over: each start of the server begins a new epoch anyway.

use std::{fs, path::Path};

use durable_streams_server::{
    AcidStorage, Storage,
    config::AcidBackend,
    protocol::{error::Error, offset::Offset},
};
use serde::Deserialize;

use super::store::{Create, StreamStore};

/// The part of `layout.json` that opening needs.
#[derive(Deserialize)]
struct Layout {
    shard_count: usize,
}

/// Whether there are such streams in `folder`.
pub(super) fn found(folder: &Path) -> bool {
    folder.join("acid").exists()
}

/// Takes the streams of `folder/acid` over, where there are any. A stream that is there already is
/// left as it is, so an import that was interrupted goes on.
pub(super) fn acid(folder: &Path, store: &StreamStore) -> Result<(), String> {
    let old = folder.join("acid");
    if !old.exists() {
        return Ok(());
    }
    let failed = |error: &dyn std::fmt::Display| {
        format!("the streams of an earlier version in {} cannot be read: {error}", old.display())
    };
    let layout = fs::read(old.join("layout.json")).map_err(|error| failed(&error))?;
    let layout: Layout = serde_json::from_slice(&layout).map_err(|error| failed(&error))?;
    let acid = AcidStorage::new(folder, layout.shard_count, u64::MAX, u64::MAX, AcidBackend::File)
        .map_err(|error| failed(&error))?;
    let streams = acid.list_streams().map_err(|error| failed(&error))?;
    let count = streams.len();
    for (name, head) in streams {
        let items = acid.read(&name, &Offset::start()).map_err(|error| failed(&error))?.messages;
        let create = Create { name, config: head.config, items, close: head.closed };
        match store.create(create) {
            Ok(_) | Err(Error::ConfigMismatch | Error::StreamPathBlocked(_)) => {}
            Err(error) => return Err(failed(&error)),
        }
    }
    drop(acid);
    fs::remove_dir_all(&old).map_err(|error| failed(&error))?;
    tracing::info!(count, "streams of an earlier version were taken over");
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use durable_streams_server::storage::StreamConfig;

    use super::*;
    use crate::config::StreamLimits;

    #[test]
    fn streams_of_an_earlier_version_are_taken_over_with_their_offsets() {
        let dir = tempfile::tempdir().unwrap();
        let json = || StreamConfig::new("application/json".to_owned());
        let acid = AcidStorage::new(dir.path(), 4, 1 << 30, 1 << 30, AcidBackend::File).unwrap();
        acid.create_stream("sessions/a", json()).unwrap();
        acid.create_stream("sessions/b", json()).unwrap();
        let first = acid.append("sessions/a", Bytes::from_static(b"{\"n\":1}"), "application/json");
        first.unwrap();
        let middle = acid.head("sessions/a").unwrap().next_offset;
        acid.append("sessions/a", Bytes::from_static(b"{\"n\":2}"), "application/json").unwrap();
        acid.close_stream("sessions/b").unwrap();
        let end = acid.head("sessions/a").unwrap().next_offset;
        drop(acid);

        let store = StreamStore::open(dir.path(), StreamLimits::default()).unwrap();
        super::acid(dir.path(), &store).unwrap();
        let (page, _) = store.page("sessions/a", &middle).unwrap();
        assert_eq!(
            (page.messages, page.next_offset),
            (vec![Bytes::from_static(b"{\"n\":2}")], end)
        );
        assert!(store.head("sessions/b").unwrap().closed);
        assert!(!dir.path().join("acid").exists());
        super::acid(dir.path(), &store).unwrap();
    }
}

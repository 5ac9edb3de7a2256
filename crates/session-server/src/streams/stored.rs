//! The sessions that a folder has, without a server.

use std::{collections::HashSet, path::Path};

use super::{import, store::StreamStore, stream_name};
use crate::{config::StreamLimits, error::ServerError};

/// The ids of the sessions whose streams a server keeps in its data folder, as long as none runs
/// there.
///
/// # Errors
///
/// [`ServerError::Streams`] when the streams cannot be opened.
pub fn stored_sessions(data_dir: &Path) -> Result<HashSet<String>, ServerError> {
    let path = data_dir.join("streams");
    if !StreamStore::found(&path) && !import::found(&path) {
        return Ok(HashSet::new());
    }
    let names = || {
        let store = StreamStore::open(&path, StreamLimits::default())?;
        import::acid(&path, &store)?;
        store.list().map_err(|error| error.to_string())
    };
    let names = names().map_err(|reason| ServerError::Streams { path: path.clone(), reason })?;
    let prefix = stream_name("");
    Ok(names
        .into_iter()
        .filter_map(|(name, _)| name.strip_prefix(&prefix).map(str::to_owned))
        .collect())
}

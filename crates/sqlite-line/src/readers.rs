//! Connections that read, each read one snapshot.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use crate::error::Error;
use crate::file::reader;

/// Readers kept open; more are opened when needed and closed after use.
pub(crate) struct Readers {
    file: PathBuf,
    cache: Option<u32>,
    keeps: usize,
    /// `None` once they are closed.
    idle: Mutex<Option<Vec<Connection>>>,
}

impl Readers {
    pub(crate) fn new(file: PathBuf, cache: Option<u32>, keeps: usize) -> Self {
        Self { file, cache, keeps, idle: Mutex::new(Some(Vec::new())) }
    }

    /// Reads on the calling thread, from what is committed.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let idle = self.lock().as_mut().ok_or(Error::Closed)?.pop();
        let db = idle.map_or_else(|| reader(&self.file, self.cache), Ok)?;
        let result = {
            // One snapshot for everything that `work` reads.
            let snapshot = db.unchecked_transaction()?;
            work(&snapshot)
        };
        if let Some(idle) = self.lock().as_mut()
            && idle.len() < self.keeps
        {
            idle.push(db);
        }
        Ok(result?)
    }

    pub(crate) fn close(&self) {
        self.lock().take();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Vec<Connection>>> {
        // What is in it stays valid when a holder panicked.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

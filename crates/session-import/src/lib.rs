//! Reads the chats that other apps export or keep on this computer, as sessions.
//!
//! [`Import::open`] looks at a file, a folder or a zip and says what is in it; [`Import::read`] hands on one session after
//! the other. Memory is bounded by one conversation, not by the file. One bad item costs itself and is counted. The same
//! conversation has the same [`Session::key`] each time it is read.
//!
//! Everything that is read is hostile: nothing is fetched, no path inside an import is read or written, what unpacks is
//! bounded, JSON has at most 127 levels.
//!
//! ```no_run
//! use session_import::{Import, Report};
//!
//! let import = Import::open("conversations.zip".as_ref())?;
//! let mut report = Report::begin(std::io::stdout(), import.format(), false)?;
//! import.read(&mut report).ok();
//! report.end()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Design
//!
//! | step | module |
//! | --- | --- |
//! | path → files | `tree`: a file, a folder, zips in them; gzip and zstd are unpacked, UTF-16 (`utf16`) is read |
//! | files → formats | `shape` notes which fields stand where, `detect` tells formats by them |
//! | file → items | `json`: elements of a list, lines; `db`: rows |
//! | items → paths | `dag`: up by parents |
//! | entries → messages | `turns`: all between two entries of a person is one message |
//! | all of it, for one format | `formats` |
//! | session → what is printed, or written | `report`, `rows` |

mod dag;
mod db;
mod detect;
mod format;
mod formats;
mod html;
mod json;
mod media;
mod model;
mod report;
mod rows;
mod shape;
mod sink;
mod source;
mod text;
mod time;
mod tree;
mod turns;
mod utf16;

use std::collections::BTreeMap;
use std::path::Path;

pub use format::Format;
pub use model::{Branch, Call, CallState, File, Message, Part, Problem, Role, Session, Source};
pub use report::{Report, printed};
pub use rows::{MISSING, Row, other_rows, rows};
pub use sink::{Sink, Stop};
pub use tree::Error;

use source::Input;
use tree::{Entry, Tree};

/// What is to be imported, and whose it is.
pub struct Import {
    tree: Tree,
    found: Vec<(Format, Vec<Entry>)>,
}

impl Import {
    /// Looks at a path. Nothing is read beyond what tells formats apart.
    ///
    /// # Errors
    ///
    /// The path cannot be read. That nothing in it is known is no error.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let tree = Tree::open(path)?;
        let mut found: BTreeMap<Format, Vec<Entry>> = BTreeMap::new();
        for entry in &tree.entries {
            if let Some(format) = detect::detect(&tree, entry) {
                found.entry(format).or_default().push(entry.clone());
            }
        }
        // The one with the most bytes first.
        let mut found: Vec<(Format, Vec<Entry>)> = found.into_iter().collect();
        let size = |entries: &[Entry]| entries.iter().map(|entry| entry.size).sum::<u64>();
        found.sort_by_key(|(_, entries)| std::cmp::Reverse(size(entries)));
        Ok(Self { tree, found })
    }

    /// The format of most of it; `None` when nothing in it is known.
    pub fn format(&self) -> Option<Format> {
        self.found.first().map(|(format, _)| *format)
    }

    /// All formats in it.
    pub fn formats(&self) -> Vec<Format> {
        self.found.iter().map(|(format, _)| *format).collect()
    }

    /// Bytes of the files that will be read, as they lie there.
    pub fn size(&self) -> u64 {
        self.found.iter().flat_map(|(_, entries)| entries).map(|entry| entry.size).sum()
    }

    /// Hands on the items of raw logs as they stand there, and the key of the log that each is of. Agents, who is there and
    /// what the server keeps for itself are left out: an import brings a conversation, nobody who acts.
    ///
    /// # Errors
    ///
    /// `take` wants no more of them.
    pub fn raw_items(
        &self,
        take: &mut dyn FnMut(&str, String) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        for (_, entries) in self.found.iter().filter(|(format, _)| *format == Format::Threadkeep) {
            for entry in entries {
                formats::raw_items(&self.tree, entry, take)?;
            }
        }
        Ok(())
    }

    /// Reads all sessions, one after the other.
    ///
    /// # Errors
    ///
    /// `sink` wants no more of them.
    pub fn read(&self, sink: &mut dyn Sink) -> Result<(), Stop> {
        for problem in &self.tree.problems {
            sink.problem(problem.clone());
        }
        for (format, entries) in &self.found {
            let mut input = Input { tree: &self.tree, entries: entries.clone(), sink };
            formats::read(*format, &mut input)?;
        }
        Ok(())
    }
}

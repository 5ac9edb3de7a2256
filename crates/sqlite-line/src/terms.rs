//! Terms on which a job is committed.

/// The part that a job has in the room on a full disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Room {
    /// The job is committed only where enough is left for a deletion behind it.
    #[default]
    Leaves,
    /// The job is so small that it may have what is there, but not the reserve.
    Takes,
    /// The job makes room, and may have the reserve for it.
    Frees,
}

/// Terms on which a job is committed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms {
    /// Bytes that the job is about to write; large jobs share no commit.
    pub size: usize,
    /// The job is on the disk itself before it is answered: a power cut does not lose it.
    pub durable: bool,
    /// Whatever the job deletes is overwritten.
    pub overwrites: bool,
    /// The job's part of the room on a full disk.
    pub room: Room,
}

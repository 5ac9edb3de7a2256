//! The engine of a durable AI session: follows a stream, keeps its rows on disk, publishes diffs

//! A client for Durable Streams: append-only, replayable logs over HTTP

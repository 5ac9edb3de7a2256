//! The session server: writes the streams, runs agents, checks who may do what

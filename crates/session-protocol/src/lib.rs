//! The contract of a durable AI session: events, chunk dialects and their fold into messages

//! Headers of the API that HTTP does not define. Those of the streams themselves are Durable Streams'.

/// Header that names who acts, for callers without a named token and where the body does not say so.
pub const ACTOR_ID: &str = "x-actor-id";

/// Header that says what kind of actor acts: [`USER`]. Written for upstream's proxies; no server of ours reads it.
pub const ACTOR_TYPE: &str = "x-actor-type";

/// Value of [`ACTOR_TYPE`] and of a message's `actorType` for a person.
pub const USER: &str = "user";

//! The outbox of one session: what the person asked for, in order, until the stream shows it.
//!
//! An entry is on the disk before the person is told that it is accepted, and it leaves only when
//! its echo is read from the stream, in the same transaction as that batch, or by the person's hand
//! (L6). A 200 from the server only makes it *sent*: if the echo does not come, it is sent again,
//! which is harmless, because every intent carries the id it is recognised by. A deletion has no
//! echo but the server's answer, and a stop that was accepted twice without an echo leaves, because
//! what it would stop had ended by itself.
//!
//! ```text
//!            ┌──────────── temporary failure, backoff ───────────┐
//!            ▼                                                    │
//! queued ─▶ sending ─▶ sent ─▶ (echo: gone)                       │
//!   ▲          └──────────────────────────────────────────────────┘
//!   │          └─▶ wedged: refused for good, with the reason; the person retries,
//!   └────────────── edits or discards
//! ```
//!
//! Entries leave one after the other: the next is sent only when the server has the one before it.
//! A wedged entry is passed over, except the one that makes the session, without which nothing else
//! makes sense. What goes wrong on the way is judged in [`send`].
//!
//! - A request is noted on the disk before it begins. What the server may have by any of them
//!   cannot be edited any more, also after a restart; it can be retried and discarded.
//! - While a change or a discard is being saved, the entry is held: nothing is sent that the person
//!   has been told is different by then.
//! - A wait ends at once when anything gets through, when the network changes and when the machine
//!   wakes up; what a server asked for (`Retry-After`) is kept to all the same.

mod entry;
mod send;

pub(crate) use entry::{Outbox, OutboxEntry, text_of};
pub(crate) use send::{SendOutcome, Sender};

//! The feed: what one window is told, in the order it happened.
//!
//! A window pulls: it says the last number it has, and gets everything since as one batch, or waits
//! for something to happen. Reading takes nothing away; the number it asks after is what it
//! acknowledges. A window that asks after a number the queue has already let go of, or with
//! another epoch, is told to start over.
//!
//! Two kinds of changes travel in a feed. *States* (servers, approvals that wait, the shown
//! session's meta and draft) are not queued: the feed remembers when each last changed and reads
//! the present value when it hands out a batch. The list of sessions is a state in rows: the window
//! has a head of it ([`Feed::list`]), each row of which remembers when it last changed, so that a
//! batch has only those that did. *Edits* (diffs and notices) are queued, patches to the same part
//! merge while nobody has read them, and a queue that grows past its cap drops its diffs for one
//! `Reset`, asked for when somebody reads again (L4: never a gap).
//!
//! Everything that a window knows of a session comes this way. Showing a session begins with a
//! `Reset`; moving on in it ([`Feed::page`]) brings `Extend` and `Trim`, so that what stays, stays
//! in place.

mod batch;
mod handle;
mod head;
mod queue;

pub use batch::{FeedBatch, FeedChange};
pub use handle::Feed;
pub(crate) use handle::{FeedShared, Place, Sources};
pub use head::{HeadChange, HeadRow, ListQuery};

//! Programs that speak the Agent Client Protocol (ACP), from the side that starts them.
//!
//! ```text
//!   Command ─▶ Peer ─▶ Message ─▶ Turn ─▶ chunks of a session
//! ```
//!
//! [`discover`] looks for the agents of this computer, and [`Face`] keeps what can be chosen of one.
//! [`Peer`] (of `rpc-process`) runs a program and speaks JSON-RPC with it, [`Phase`] says what may be said when, and [`Turn`] makes AG-UI
//! chunks of what an agent says in one prompt. Nothing here knows sessions, streams or who may do what.
//!
//! Everything that an agent says is hostile input: lines, what is held, what is kept of a call and what a turn may say are
//! bounded, and nothing costs in proportion to what came before.

mod caps;
mod face;
mod find;
mod phase;
mod turn;

pub use face::Face;
pub use find::{Found, KNOWN, Known, discover, path_for};
pub use phase::{Event, How, Phase};
pub use rpc_process::{
    AUTH_REQUIRED, Aside, CANCELLED, Command, Ended, Incoming, Lines, MAX_LINE, Message, NO_METHOD,
    PATIENCE, Peer, Pids, RpcError, StartError,
};
pub use turn::{Ask, End, Grants, Local, Names, Offer, Turn, sign_in};

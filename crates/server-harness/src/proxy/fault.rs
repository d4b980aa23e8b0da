//! What can happen to a connection, and to which connections it does.

use std::time::Duration;

use super::Storm;

/// Which way bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// When a fault happens to a connection. Bytes are counted for each connection, from its beginning or
/// from when the plan was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// Before anything passes: for a new connection, before a server is called at all.
    AtOnce,
    /// As soon as so many bytes have passed in that direction.
    Bytes(Direction, u64),
    /// When a request has this text in it. The bytes with the text, and what was read with them, do
    /// not pass.
    Request(String),
    /// When the answer to a request with this text in it begins. The request has passed, and nothing
    /// of the answer does.
    Answer(String),
}

/// What happens to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Both sides are told that the other one has ended (FIN).
    Cut(Moment),
    /// Both sides are told that the connection is no more (RST).
    Reset(Moment),
    /// From then on there is silence: nothing passes any more in either direction, and the connection
    /// stays until one side gives up.
    Stall(Moment),
    /// The first answer to a request with this text in it passes up to the middle of its body, and is
    /// then cut: in the middle of its head when its body is empty, after its head when the head does
    /// not say how long the body is.
    HalfAnswer(String),
    /// Whatever is read, at most 64 KiB at once, passes this much later.
    Delay(Duration),
    /// In that direction so many bytes pass at once, with so much time after them.
    Trickle {
        /// The direction that is slow.
        direction: Direction,
        /// How many bytes pass at once; not zero.
        bytes: usize,
        /// How long it is until the next ones.
        every: Duration,
    },
}

/// A fault without its particulars, to count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// [`Fault::Cut`].
    Cut,
    /// [`Fault::Reset`].
    Reset,
    /// [`Fault::Stall`].
    Stall,
    /// [`Fault::HalfAnswer`].
    HalfAnswer,
    /// [`Fault::Delay`].
    Delay,
    /// [`Fault::Trickle`].
    Trickle,
}

impl Fault {
    /// Which fault it is.
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Cut(_) => FaultKind::Cut,
            Self::Reset(_) => FaultKind::Reset,
            Self::Stall(_) => FaultKind::Stall,
            Self::HalfAnswer(_) => FaultKind::HalfAnswer,
            Self::Delay(_) => FaultKind::Delay,
            Self::Trickle { .. } => FaultKind::Trickle,
        }
    }
}

/// Which connections something happens to. A plan that is set holds for the connections that are open
/// already, too.
#[derive(Debug, Clone)]
pub enum Plan {
    /// To none: everything passes.
    Pass,
    /// To each one.
    Always(Fault),
    /// To whichever connections come to the fault's moment first, so many in all.
    Times(u64, Fault),
    /// Something else to each one, or nothing.
    Storm(Storm),
}

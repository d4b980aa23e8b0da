//! How an inbox is doing.

/// How an inbox is doing, as of now; each change of it is logged once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Condition {
    /// Nobody was asked yet.
    #[default]
    Starting,
    /// The platform answers, and nothing is in the way.
    Working,
    /// The platform cannot be reached, or says that it is unavailable, be it for the feed or for the
    /// list alone. It is asked again and again.
    Unreachable,
    /// The platform does not take the token. A fresh one is asked for, and tried, again and again.
    Unauthorized,
    /// The disk has no room for what waits. Nothing is fetched until there is.
    DiskFull,
    /// The journal could not be written; nothing goes on until the inbox is opened again.
    Broken,
}

impl Condition {
    /// The word for it in logs and in the output of programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Working => "working",
            Self::Unreachable => "unreachable",
            Self::Unauthorized => "unauthorized",
            Self::DiskFull => "disk_full",
            Self::Broken => "broken",
        }
    }
}

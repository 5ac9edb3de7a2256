//! Places in a stream.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A place in a stream: the point from which to read.
///
/// Offsets are opaque. Take them from a [`Batch`](crate::Batch), a [`Created`](crate::Created) or a
/// [`Head`](crate::Head), store them as text, and never compute one. Two places are sentinels that
/// a client may send and a server never returns (PROTOCOL.md, "Offsets").
///
/// # Examples
///
/// ```
/// use durable_stream::Offset;
///
/// assert_eq!(Offset::Beginning.to_string(), "-1");
/// assert_eq!(Offset::from("0000_0042"), Offset::At("0000_0042".to_owned()));
/// assert_eq!("now".parse::<Offset>().unwrap(), Offset::Now);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Offset {
    /// Before the first item; `-1` on the wire.
    #[default]
    Beginning,
    /// After the last item at the time the server answers; `now` on the wire.
    Now,
    /// A place which the server gave.
    At(String),
}

impl Offset {
    /// The text that stands for this place on the wire.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::Offset;
    ///
    /// assert_eq!(Offset::Now.as_str(), "now");
    /// assert_eq!(Offset::from("0000_0042").as_str(), "0000_0042");
    /// ```
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Beginning => "-1",
            Self::Now => "now",
            Self::At(token) => token,
        }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<String> for Offset {
    fn from(token: String) -> Self {
        match token.as_str() {
            "-1" => Self::Beginning,
            "now" => Self::Now,
            _ => Self::At(token),
        }
    }
}

impl From<&str> for Offset {
    fn from(token: &str) -> Self {
        Self::from(token.to_owned())
    }
}

impl From<Offset> for String {
    fn from(offset: Offset) -> Self {
        match offset {
            Offset::At(token) => token,
            Offset::Beginning | Offset::Now => offset.as_str().to_owned(),
        }
    }
}

impl FromStr for Offset {
    type Err = Infallible;

    fn from_str(token: &str) -> Result<Self, Self::Err> {
        Ok(Self::from(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_stored_as_plain_text() {
        for (offset, text) in [
            (Offset::Beginning, r#""-1""#),
            (Offset::Now, r#""now""#),
            (Offset::At("7_9".into()), r#""7_9""#),
        ] {
            assert_eq!(serde_json::to_string(&offset).unwrap(), text);
            assert_eq!(serde_json::from_str::<Offset>(text).unwrap(), offset);
        }
    }
}

//! Keys of the rows of the state.

/// The key of a row about a call in a message.
pub(super) fn row_key(message: &str, call: &str) -> String {
    format!("{}/{message}/{call}", message.len())
}

/// The key of a signal's row.
pub(super) fn signal_key((pos, nth): (u64, u32)) -> String {
    format!("{pos}.{nth}")
}

/// Message and call of a row's key: the length of the message id stands before it.
pub(super) fn split_row_key(key: &str) -> Option<(&str, &str)> {
    let (len, rest) = key.split_once('/')?;
    let len: usize = len.parse().ok()?;
    let message = rest.get(..len)?;
    let call = rest.get(len..)?.strip_prefix('/')?;
    Some((message, call))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_key_holds_ids_with_slashes() {
        assert_eq!(split_row_key(&row_key("a/b", "c/d")), Some(("a/b", "c/d")));
        assert_eq!(split_row_key(&row_key("", "")), Some(("", "")));
        assert_eq!(split_row_key("x"), None);
    }
}

//! Events of a stream, with their ids, which a reader that lost the connection resumes from.

/// Bytes of a line or of an event's data.
pub(crate) const MAX_EVENT: usize = 24 << 20;

/// An event of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    /// Empty where the event only has an id.
    pub(crate) data: Vec<u8>,
}

/// More than is read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Cuts pieces of any size into events.
#[derive(Default)]
pub(crate) struct Events {
    line: Vec<u8>,
    after_cr: bool,
    id: Option<String>,
    data: Vec<u8>,
    has_data: bool,
}

impl Events {
    pub(crate) fn push(&mut self, bytes: &[u8], found: &mut Vec<Event>) -> Result<(), TooLong> {
        let mut rest = bytes;
        if std::mem::take(&mut self.after_cr) && rest.first() == Some(&b'\n') {
            rest = &rest[1..];
        }
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.grow(&rest[..end])?;
            let is_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            if is_cr {
                match rest.first() {
                    Some(b'\n') => rest = &rest[1..],
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            let line = std::mem::take(&mut self.line);
            self.line(&line, found)?;
        }
        self.grow(rest)
    }

    fn grow(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + bytes.len() > MAX_EVENT {
            return Err(TooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn line(&mut self, line: &[u8], found: &mut Vec<Event>) -> Result<(), TooLong> {
        if line.is_empty() {
            let id = self.id.take();
            if std::mem::take(&mut self.has_data) || id.is_some() {
                found.push(Event { id, data: std::mem::take(&mut self.data) });
            }
            return Ok(());
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"data" => {
                if self.data.len() + value.len() > MAX_EVENT {
                    return Err(TooLong);
                }
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.has_data = true;
                self.data.extend_from_slice(value);
            }
            b"id" if value.len() <= 1024 => {
                self.id = std::str::from_utf8(value).ok().map(str::to_owned);
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let text = "id: 1\ndata:\n\n: hello\r\nevent: message\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\ndata: é\r\rid: 7\n\n";
        let mut whole = Vec::new();
        Events::default().push(text.as_bytes(), &mut whole).unwrap();
        let data: Vec<&str> =
            whole.iter().map(|event| std::str::from_utf8(&event.data).unwrap()).collect();
        assert_eq!(data, ["", "{\"a\":\n1}", "é", ""]);
        assert_eq!(whole[0].id.as_deref(), Some("1"));
        assert_eq!(whole[3].id.as_deref(), Some("7"));
        for size in 1..12 {
            let (mut events, mut found) = (Events::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                events.push(piece, &mut found).unwrap();
            }
            assert_eq!(found, whole, "{size}");
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let (mut events, mut found) = (Events::default(), Vec::new());
        let piece = vec![b'x'; 1 << 20];
        let refused = (0..=24).find_map(|_| events.push(&piece, &mut found).err());
        assert_eq!(refused, Some(TooLong));
    }
}

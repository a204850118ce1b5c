//! Server-sent events, as they come in pieces (HTML standard, 9.2.6).

/// Largest event, in bytes; a screen of a thousand rows and columns fits. A larger one is left out.
const MAX_EVENT: usize = 2 * 1024 * 1024;

/// Longest id that is kept.
const MAX_ID: usize = 256;

/// What was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sent {
    /// An event with its name; `message` if it has none.
    Event {
        /// Its name.
        name: String,
        /// Its data, lines joined by line feeds.
        data: String,
    },
    /// An event that is too large to be looked at.
    TooLarge,
}

/// Reads a stream of events.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    begun: bool,
    /// The line so far.
    line: Vec<u8>,
    /// A line feed that comes next belongs to the carriage return before it.
    skip_line_feed: bool,
    name: String,
    /// What there is of it, if there is any.
    data: Option<String>,
    too_large: bool,
    last_id: Option<String>,
}

impl Parser {
    /// Takes the next piece of the stream; returns what is complete.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Vec<Sent> {
        let mut sent = Vec::new();
        while let Some(first) = bytes.first() {
            if std::mem::take(&mut self.skip_line_feed) && *first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.extend_line(bytes);
                break;
            };
            self.extend_line(&bytes[..end]);
            self.skip_line_feed = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            self.end_line(&mut sent);
        }
        sent
    }

    /// The id of the last event that had one: what to go on after.
    pub(super) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    fn extend_line(&mut self, part: &[u8]) {
        if !self.too_large && self.size() + part.len() > MAX_EVENT {
            self.too_large = true;
            (self.data, self.name) = (None, String::new());
            self.line.clear();
        }
        if !self.too_large {
            self.line.extend_from_slice(part);
        } else if self.line.is_empty() && !part.is_empty() {
            // Such a line counts as a comment: it is not empty, and says nothing.
            self.line.push(b':');
        }
    }

    fn size(&self) -> usize {
        self.line.len() + self.name.len() + self.data.as_ref().map_or(0, String::len)
    }

    fn end_line(&mut self, sent: &mut Vec<Sent>) {
        let line = std::mem::take(&mut self.line);
        let mut line = &*String::from_utf8_lossy(&line);
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            return self.end_event(sent);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                let data = self.data.take().map_or_else(String::new, |data| data + "\n");
                self.data = Some(data + value);
            }
            // One that could not be sent back is as none.
            "id" => self.last_id = Some(value).filter(|id| is_id(id)).map(str::to_owned),
            // A comment, a wait that is ours to choose, or what nobody knows yet.
            _ => {}
        }
    }

    fn end_event(&mut self, sent: &mut Vec<Sent>) {
        let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
        if std::mem::take(&mut self.too_large) {
            sent.push(Sent::TooLarge);
        } else if let Some(data) = data {
            sent.push(Sent::Event { name: if name.is_empty() { "message".to_owned() } else { name }, data });
        }
    }
}

fn is_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn event(name: &str, data: &str) -> Sent {
        Sent::Event { name: name.to_owned(), data: data.to_owned() }
    }

    const STREAM: &str = "\u{feff}: hello\n\nevent: a\ndata: {\"x\":1}\n\nretry: 5\nid: 7\ndata:two\r\ndata: lines\r\n\r\n\
        event: no data\n\nunknown: field\ndata\n\nid: a b\ndata: ü\r\rid: 9\n\n: end";

    fn expected() -> Vec<Sent> {
        vec![event("a", "{\"x\":1}"), event("message", "two\nlines"), event("message", ""), event("message", "ü")]
    }

    #[test]
    fn events_are_read_with_all_line_ends_comments_and_unknown_fields() {
        let mut parser = Parser::default();
        assert_eq!(parser.push(STREAM.as_bytes()), expected());
        assert_eq!(parser.last_id(), Some("9"), "an id alone counts");
        parser.push(b"\nid: a b\n\n");
        assert_eq!(parser.last_id(), None, "what cannot be sent back is forgotten");
    }

    #[test]
    fn pieces_make_no_difference() {
        let mut rng = StdRng::seed_from_u64(3);
        for _ in 0..500 {
            let (mut parser, mut sent, mut rest) = (Parser::default(), Vec::new(), STREAM.as_bytes());
            while !rest.is_empty() {
                let (piece, later) = rest.split_at(rng.random_range(0..=rest.len().min(7)));
                sent.extend(parser.push(piece));
                rest = later;
            }
            assert_eq!(sent, expected());
        }
    }

    #[test]
    fn whatever_is_sent_no_more_than_an_event_is_kept() {
        for line in ["data: ", "event: ", ": ", "data", ""] {
            let mut parser = Parser::default();
            parser.push(line.as_bytes());
            for _ in 0..4 * MAX_EVENT / 1000 {
                assert_eq!(parser.push(&[b'x'; 1000]), []);
                assert!(parser.size() <= MAX_EVENT);
            }
            assert_eq!(parser.push(b"\ndata: more\n\nevent: b\ndata: well\n\n"), [Sent::TooLarge, event("b", "well")]);
        }
        let mut parser = Parser::default();
        let at_once = [b"data: ".as_slice(), &vec![b'x'; MAX_EVENT], b"\ndata: more\n\ndata: well\n\n"].concat();
        assert_eq!(parser.push(&at_once), [Sent::TooLarge, event("message", "well")]);
        let mut parser = Parser::default();
        for _ in 0..2 * MAX_EVENT / 1000 {
            parser.push(&[b"data: ".as_slice(), &[b'x'; 1000], b"\n"].concat());
            assert!(parser.size() <= MAX_EVENT + 1000);
        }
        assert_eq!(parser.push(b"\ndata: well\n\n"), [Sent::TooLarge, event("message", "well")]);
    }

    #[test]
    fn noise_is_survived() {
        let mut rng = StdRng::seed_from_u64(5);
        let mut parser = Parser::default();
        for _ in 0..20_000 {
            let noise: Vec<u8> = (0..rng.random_range(0..40)).map(|_| rng.random()).collect();
            parser.push(&noise);
        }
        parser.push(b"\n\n");
        assert_eq!(parser.push(b"data: well\n\n"), [event("message", "well")]);
    }
}

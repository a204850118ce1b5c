//! The screens in an event stream.

use http_body_util::BodyExt;
use serde::Deserialize;

use crate::agent::{EventParser, Sent};
use crate::cli::Failure;
use crate::outbound::Body;

#[derive(Deserialize)]
struct Screen {
    screen: String,
}

/// A stream of screens.
pub(super) struct ScreenEvents {
    body: Body,
    parser: EventParser,
}

impl ScreenEvents {
    pub(super) fn new(body: Body) -> Self {
        Self { body, parser: EventParser::default() }
    }

    /// The newest screen that has come, once one has; nothing once the stream has ended. Safe to cancel.
    pub(super) async fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            let piece = match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Err(format!("the connection to the agent is lost: {error}").into()),
            };
            let sent = self.parser.push(&piece);
            let newest = sent.iter().rev().find_map(|sent| match sent {
                Sent::Event { name, data } if name == "screen" => Some(data),
                Sent::Event { .. } | Sent::TooLarge => None,
            });
            if let Some(data) = newest {
                let unreadable = |error| format!("the server sent a screen that cannot be read: {error}");
                let Screen { screen } = serde_json::from_str(data).map_err(unreadable)?;
                return Ok(Some(screen));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(text: &'static str, pieces: usize) -> ScreenEvents {
        let frames = text.as_bytes().chunks(pieces).map(|piece| Ok::<_, std::io::Error>(hyper::body::Frame::data(piece.into())));
        ScreenEvents::new(Body::stream(http_body_util::StreamBody::new(futures_util::stream::iter(frames))))
    }

    #[tokio::test]
    async fn the_newest_screen_counts_and_other_events_do_not() {
        let text = ": hello\n\nevent: other\ndata: {}\n\nevent: screen\ndata: {\"screen\":\"a\"}\n\nevent: screen\n\
                    data: {\"screen\":\"b\"}\n\n: beat\n\nevent: screen\ndata: {\"sc";
        let mut screens = stream(text, 1);
        assert_eq!(screens.next().await.expect("valid").as_deref(), Some("a"));
        assert_eq!(screens.next().await.expect("valid").as_deref(), Some("b"));
        assert_eq!(screens.next().await.expect("the stream ends").as_deref(), None);
        assert_eq!(stream(text, 1000).next().await.expect("valid").as_deref(), Some("b"));
        assert!(stream("event: screen\ndata: {}\n\n", 9).next().await.is_err());
    }
}

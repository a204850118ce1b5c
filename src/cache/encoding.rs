//! Values as bytes: JSON.

use std::io::{self, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Value;

/// A buffer that takes so many bytes and no more.
struct Bounded {
    bytes: Vec<u8>,
    left: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The value as bytes; nothing if they are more than `max`, at no higher price than writing so many.
pub(super) fn encode(value: &impl Serialize, max: usize) -> Option<Value> {
    let mut out = Bounded { bytes: Vec::new(), left: max };
    serde_json::to_writer(&mut out, value).ok()?;
    Some(out.bytes.into())
}

/// The value of these bytes, if they are one of this type.
pub(super) fn decode<T: DeserializeOwned>(bytes: &Value) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_bytes_are_written() {
        assert_eq!(encode(&"1234", 6).as_deref(), Some(&br#""1234""#[..]));
        assert_eq!(encode(&"12345", 6), None);
        assert_eq!(decode::<u8>(&encode(&"text", 9).expect("small")), None);
    }
}

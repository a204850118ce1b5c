//! A form with one file (RFC 7578).

use std::borrow::Cow;

use hyper::body::Bytes;

use crate::domain::random_bytes;

/// The content type and the body of a form whose part `file` is a file of this name.
pub(super) fn file(name: &str, content: &[u8]) -> (String, Bytes) {
    // By chance in no file: 128 bits.
    let boundary = hex::encode(random_bytes::<16>());
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n",
        quoted(name)
    );
    let body = [head.as_bytes(), content, format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
    (format!("multipart/form-data; boundary={boundary}"), body.into())
}

/// A name within quotation marks, as browsers write it (HTML standard, 4.10.21.8). Other control characters are left out.
fn quoted(name: &str) -> Cow<'_, str> {
    if !name.contains(|c: char| c.is_control() || c == '"') {
        return name.into();
    }
    let mut quoted = String::with_capacity(name.len() + 8);
    for c in name.chars() {
        match c {
            '"' => quoted.push_str("%22"),
            '\r' => quoted.push_str("%0D"),
            '\n' => quoted.push_str("%0A"),
            c if c.is_control() => {}
            c => quoted.push(c),
        }
    }
    quoted.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leaves_its_quotation_marks() {
        let (content_type, body) = file("a\"\r\nX-Evil: 1\0 ü.txt", b"two\r\nlines");
        let boundary = content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        let (head, rest) = text.split_once("\r\n\r\n").unwrap();
        let disposition = "Content-Disposition: form-data; name=\"file\"; filename=\"a%22%0D%0AX-Evil: 1 ü.txt\"";
        assert_eq!(
            head.split("\r\n").collect::<Vec<_>>(),
            [&format!("--{boundary}"), disposition, "Content-Type: application/octet-stream"]
        );
        assert_eq!(rest, format!("two\r\nlines\r\n--{boundary}--\r\n"));
    }
}

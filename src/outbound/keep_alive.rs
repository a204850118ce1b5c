//! Noticing that the other end is gone, on connections where silence is no fault.

use std::io;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::TcpStream;

/// Silence before the other end is asked, by TCP, whether it is there.
const IDLE: Duration = Duration::from_secs(30);

/// Between two such questions.
const INTERVAL: Duration = Duration::from_secs(10);

/// Questions without an answer until the connection counts as broken: within a minute of silence.
const QUESTIONS: u32 = 3;

/// Has the system watch over a connection.
pub(super) fn watch(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, IDLE)?;
    sockopt::set_tcp_keepintvl(stream, INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, QUESTIONS)?;
    Ok(())
}

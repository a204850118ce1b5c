//! A TCP proxy that does to connections what networks do to them.
//!
//! On threads of its own rather than the tests' runtime: a thread sleeps to a fraction of a millisecond, and figures are taken
//! through it too (`benches/figures`).

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// What it does, until it is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// Passes everything on.
    Well,
    /// Passes everything on, so much later: each way.
    Slow(Duration),
    /// Takes connections and all that comes on them, and passes nothing on. The connections of this time, and of before, stay so:
    /// whatever knew of them on the way has forgotten them.
    BlackHole,
    /// Ends all connections, and whatever connects.
    Cut,
}

/// The proxy. It is gone, with all connections, when dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: Mutex<String>,
    network: Mutex<Network>,
    connections: Mutex<Vec<Connection>>,
    gone: AtomicBool,
}

struct Connection {
    ends: [TcpStream; 2],
    lost: Arc<AtomicBool>,
}

impl Proxy {
    /// Begins to stand before `target`, `host:port`.
    pub(crate) fn before(target: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            target: Mutex::new(target.to_owned()),
            network: Mutex::new(Network::Well),
            connections: Mutex::default(),
            gone: AtomicBool::new(false),
        });
        let proxy = Self { address, shared: shared.clone() };
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.gone.load(Ordering::Relaxed) {
                    return;
                }
                if shared.network() != Network::Cut {
                    let target = lock(&shared.target).clone();
                    // Where nobody listens behind it, its client is hung up on.
                    let _ = TcpStream::connect(&target).and_then(|server| shared.connect(&client, &server));
                }
            }
        });
        proxy
    }

    /// `host:port` to connect to.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Leads elsewhere from now on, as a name does that was given to another server: the connections that there are stay.
    pub(crate) fn lead_to(&self, target: &str) {
        target.clone_into(&mut lock(&self.shared.target));
    }

    pub(crate) fn set(&self, network: Network) {
        *lock(&self.shared.network) = network;
        match network {
            Network::Cut => self.shared.hang_up(),
            Network::BlackHole => {
                lock(&self.shared.connections).iter().for_each(|connection| connection.lost.store(true, Ordering::Relaxed));
            }
            Network::Well | Network::Slow(_) => {}
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.gone.store(true, Ordering::Relaxed);
        self.shared.hang_up();
        // Wakes whoever accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn network(&self) -> Network {
        *lock(&self.network)
    }

    fn hang_up(&self) {
        for end in lock(&self.connections).drain(..).flat_map(|connection| connection.ends) {
            // It may have ended already.
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    fn connect(self: &Arc<Self>, client: &TcpStream, server: &TcpStream) -> std::io::Result<()> {
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let ends = [client.try_clone()?, server.try_clone()?];
        let lost = Arc::new(AtomicBool::new(self.network() == Network::BlackHole));
        lock(&self.connections).push(Connection { ends, lost: lost.clone() });
        self.pass(client.try_clone()?, server.try_clone()?, lost.clone());
        self.pass(server.try_clone()?, client.try_clone()?, lost);
        Ok(())
    }

    /// Passes on one way, until either side ends.
    fn pass(self: &Arc<Self>, mut from: TcpStream, mut to: TcpStream, lost: Arc<AtomicBool>) {
        let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
        let shared = self.clone();
        thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                if lost.load(Ordering::Relaxed) {
                    continue;
                }
                let delay = if let Network::Slow(delay) = shared.network() { delay } else { Duration::ZERO };
                if sender.send((Instant::now() + delay, buffer[..read].to_vec())).is_err() {
                    break;
                }
            }
        });
        thread::spawn(move || {
            for (due, bytes) in receiver {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if to.write_all(&bytes).is_err() {
                    break;
                }
            }
            // What one side ended is over for the other.
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics with it")
}

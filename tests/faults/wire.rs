//! D-Bus by hand over a Unix socket: both sides of the handshake, whole messages in and out. Nothing here waits
//! for anybody's good behaviour, so that a test may have any.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use dbus::Message;

/// One end of a connection; any thread may send, one thread reads.
#[derive(Debug)]
pub struct Wire {
    reading: UnixStream,
    writing: Mutex<UnixStream>,
    serial: AtomicU32,
}

impl Wire {
    fn new(stream: UnixStream) -> io::Result<Wire> {
        let writing = Mutex::new(stream.try_clone()?);
        Ok(Wire { reading: stream, writing, serial: AtomicU32::new(0) })
    }

    /// Authenticates as a client does (`EXTERNAL`, D-Bus specification, "Authentication Protocol").
    pub fn client(mut stream: UnixStream) -> io::Result<Wire> {
        let uid = nix::unistd::getuid().to_string();
        let hex: String = uid.bytes().map(|digit| format!("{digit:02x}")).collect();
        write!(stream, "\0AUTH EXTERNAL {hex}\r\n")?;
        let answer = line(&mut stream)?;
        if !answer.starts_with("OK ") {
            return Err(io::Error::other(answer));
        }
        stream.write_all(b"BEGIN\r\n")?;
        Wire::new(stream)
    }

    /// Lets a client in, as whoever listens does.
    pub fn server(mut stream: UnixStream) -> io::Result<Wire> {
        loop {
            match line(&mut stream)?.trim_start_matches('\0').split(' ').next() {
                Some("AUTH") => stream.write_all(b"OK 0123456789abcdef0123456789abcdef\r\n")?,
                Some("BEGIN") => return Wire::new(stream),
                _ => stream.write_all(b"ERROR\r\n")?,
            }
        }
    }

    /// Sends a message under the next serial, and says which that was.
    pub fn send(&self, mut message: Message) -> io::Result<u32> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed) + 1;
        message.set_serial(serial);
        let mut to = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        message.marshal(|bytes| to.write_all(bytes)).map(|()| serial)
    }

    /// The next message, however long that takes; an error once the other end is gone.
    pub fn receive(&self) -> io::Result<Message> {
        let garbled = |_| io::Error::other("not a message");
        // Long enough for every header's fixed part, which says how long the message is.
        let mut bytes = vec![0; 16];
        (&self.reading).read_exact(&mut bytes)?;
        bytes.resize(Message::demarshal_bytes_needed(&bytes).map_err(garbled)?, 0);
        (&self.reading).read_exact(&mut bytes[16..])?;
        Message::demarshal(&bytes).map_err(|error| io::Error::other(error.to_string()))
    }

    pub fn close(&self) {
        let _ = self.reading.shutdown(std::net::Shutdown::Both);
    }
}

/// A line of the handshake. Byte by byte, for what follows `BEGIN` is a message's.
pub fn line(stream: &mut UnixStream) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line[..line.len() - 2]).into_owned())
}

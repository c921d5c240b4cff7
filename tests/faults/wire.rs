//! D-Bus by hand over a Unix socket: both sides of the handshake, whole messages in and out. Nothing here waits
//! for anybody's good behaviour, so that a test may have any.

use std::io::{self, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use dbus::Message;
use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// The most descriptors that a message may bring.
const MOST_DESCRIPTORS: usize = 64;

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

    /// Authenticates as a client does (`EXTERNAL`, D-Bus specification, "Authentication Protocol"), who takes
    /// descriptors or not.
    pub fn client(mut stream: UnixStream, descriptors: bool) -> io::Result<Wire> {
        let uid = nix::unistd::getuid().to_string();
        let hex: String = uid.bytes().map(|digit| format!("{digit:02x}")).collect();
        write!(stream, "\0AUTH EXTERNAL {hex}\r\n")?;
        let answer = line(&mut stream)?;
        if !answer.starts_with("OK ") {
            return Err(io::Error::other(answer));
        }
        if descriptors {
            stream.write_all(b"NEGOTIATE_UNIX_FD\r\n")?;
            assert_eq!(line(&mut stream)?, "AGREE_UNIX_FD");
        }
        stream.write_all(b"BEGIN\r\n")?;
        Wire::new(stream)
    }

    /// Lets a client in, as whoever listens does.
    pub fn server(stream: UnixStream) -> io::Result<Wire> {
        Wire::server_of(stream, true)
    }

    /// The same for one who takes descriptors or not.
    pub fn server_of(mut stream: UnixStream, descriptors: bool) -> io::Result<Wire> {
        loop {
            match line(&mut stream)?.trim_start_matches('\0').split(' ').next() {
                Some("AUTH") => stream.write_all(b"OK 0123456789abcdef0123456789abcdef\r\n")?,
                Some("NEGOTIATE_UNIX_FD") if descriptors => stream.write_all(b"AGREE_UNIX_FD\r\n")?,
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
        self.receive_all().map(|(message, _)| message)
    }

    /// The next message, and the descriptors that came with it.
    pub fn receive_all(&self) -> io::Result<(Message, Vec<OwnedFd>)> {
        let garbled = |_| io::Error::other("not a message");
        // Long enough for every header's fixed part, which says how long the message is.
        let mut bytes = vec![0; 16];
        let descriptors = self.receive_with_descriptors(&mut bytes)?;
        bytes.resize(Message::demarshal_bytes_needed(&bytes).map_err(garbled)?, 0);
        (&self.reading).read_exact(&mut bytes[16..])?;
        // libdbus knows no way to demarshal descriptors, so there are none to it.
        if let Some(count) = descriptor_count(&mut bytes) {
            count.fill(0);
        }
        let message = Message::demarshal(&bytes).map_err(|error| io::Error::other(error.to_string()))?;
        Ok((message, descriptors))
    }

    /// Descriptors come with the first bytes of their message.
    #[allow(unsafe_code, reason = "received descriptors are numbers until somebody owns them")]
    fn receive_with_descriptors(&self, bytes: &mut [u8]) -> io::Result<Vec<OwnedFd>> {
        let (mut filled, mut descriptors) = (0, Vec::new());
        while filled < bytes.len() {
            let mut space = cmsg_space!([RawFd; MOST_DESCRIPTORS]);
            let mut parts = [IoSliceMut::new(&mut bytes[filled..])];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            let received = match recvmsg::<()>(self.reading.as_raw_fd(), &mut parts, Some(&mut space), flags)
            {
                Err(nix::errno::Errno::EINTR) => continue,
                received => received?,
            };
            // An error tells of those that found no place here; they are lost, and the message is not.
            for message in received.cmsgs().into_iter().flatten() {
                let ControlMessageOwned::ScmRights(numbers) = message else { continue };
                // SAFETY: the kernel has just made them, for this process and for nobody else in it.
                descriptors.extend(numbers.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
            if received.bytes == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += received.bytes;
        }
        Ok(descriptors)
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

/// Where the header says how many descriptors there are (D-Bus specification, "Header Fields", field 9).
fn descriptor_count(bytes: &mut [u8]) -> Option<&mut [u8]> {
    const UNIX_FDS: u8 = 9;
    let number =
        |bytes: &[u8], at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four")) as usize;
    let end = 16 + number(bytes, 12);
    let mut at = 16;
    while at < end {
        // A code, then a signature of one letter, then its value.
        let (code, kind) = (bytes[at], bytes[at + 2]);
        at += 4;
        match kind {
            b'u' if code == UNIX_FDS => return Some(&mut bytes[at..at + 4]),
            b'u' => at += 4,
            b'g' => at += 1 + usize::from(bytes[at]) + 1,
            _ => at += 4 + number(bytes, at) + 1,
        }
        at = at.next_multiple_of(8);
    }
    None
}

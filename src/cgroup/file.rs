//! The kernel's small files, read with one open and one read: this is on the way of every create.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::errno::Errno;

/// Reads a file of procfs or cgroupfs. Both hand out a short file whole, so a read that leaves room is the
/// last.
pub(super) fn read(path: &Path) -> io::Result<String> {
    read_again(&File::open(path)?)
}

/// Reads from its beginning what is open, which says anew each time what holds now.
pub(super) fn read_again(file: &File) -> io::Result<String> {
    let mut bytes = vec![0; 1024];
    let mut filled = 0;
    loop {
        match file.read_at(&mut bytes[filled..], filled as u64) {
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        if filled < bytes.len() {
            bytes.truncate(filled);
            return Ok(String::from_utf8(bytes)
                .unwrap_or_else(|odd| String::from_utf8_lossy(odd.as_bytes()).into_owned()));
        }
        bytes.resize(filled * 2, 0);
    }
}

/// Whether a read failed because its process or control group is no more. A file that was opened in time
/// answers ESRCH (procfs) or ENODEV (cgroupfs) to the read.
pub(super) fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::ENOENT, Errno::ESRCH, Errno::ENODEV].map(|errno| errno as i32);
    error.raw_os_error().is_some_and(|number| gone.contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_longer_than_the_first_read_is_read_whole() {
        let path = std::env::temp_dir().join(format!("unitwait-file-{}", std::process::id()));
        let long = "x".repeat(5000);
        std::fs::write(&path, &long).unwrap();
        let found = read(&path);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(found.unwrap(), long);
        assert!(is_gone(&read(&path).unwrap_err()));
    }
}

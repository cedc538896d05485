//! The files of the log: appends whole lines, turns to the next file, deletes the oldest.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

const PREFIX: &str = "predictions-";
const SUFFIX: &str = ".jsonl";

/// Something to append to that can be cut.
pub trait Output: Write {
    /// Forgets what comes after `len` bytes, and goes on from there.
    fn cut(&mut self, len: u64) -> io::Result<()>;
}

impl Output for File {
    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)?;
        self.seek(SeekFrom::Start(len)).map(drop)
    }
}

/// The files of one log.
pub struct Files {
    dir: PathBuf,
    max_bytes: u64,
    max_files: usize,
    opened: u64,
    current: Option<Current<File>>,
}

struct Current<F> {
    path: PathBuf,
    file: F,
    /// Bytes of whole lines.
    len: u64,
}

impl Files {
    /// Opens nothing yet: every start begins a new file, as the last may end in a torn line.
    pub fn new(dir: PathBuf, max_bytes: u64, max_files: usize) -> Files {
        Files { dir, max_bytes, max_files, opened: 0, current: None }
    }

    /// Bytes a file may have.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Bytes that the current file still has room for.
    pub fn room(&self) -> u64 {
        self.max_bytes - self.current.as_ref().map_or(0, |c| c.len.min(self.max_bytes))
    }

    /// Closes the current file; the next lines go to another. An empty file is as good as another,
    /// and while nothing can be written they must not push out those with lines.
    pub fn turn(&mut self) {
        self.current = self.current.take().filter(|c| c.len == 0);
    }

    /// Appends whole lines, or nothing.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        // A file that somebody deleted still takes all that is written, to nowhere.
        self.current = self.current.take().filter(|c| c.path.exists());
        if self.current.is_none() {
            self.current = Some(self.open()?);
        }
        let Some(current) = &mut self.current else { return Ok(()) };
        let result = current.append(lines);
        if let Err(Torn(_)) = &result {
            // For the same reason as in `turn`.
            if current.len == 0 {
                let _ = std::fs::remove_file(&current.path);
            }
            self.current = None;
        }
        result.map_err(|e| e.into_error())
    }

    fn open(&mut self) -> io::Result<Current<File>> {
        self.delete_oldest()?;
        loop {
            let at = Timestamp::now().strftime("%Y%m%dT%H%M%S%.3fZ");
            self.opened += 1;
            let path = self.dir.join(format!("{PREFIX}{at}-{:04}{SUFFIX}", self.opened));
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Current { path, file, len: 0 }),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Makes room for one more.
    fn delete_oldest(&self) -> io::Result<()> {
        let files = list(&self.dir)?;
        let surplus = (files.len() + 1).saturating_sub(self.max_files);
        files.iter().take(surplus).try_for_each(std::fs::remove_file)
    }
}

/// The files of a log, oldest first.
pub fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.file_name().and_then(|n| n.to_str()).is_some_and(is_ours) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// `predictions-20260102T030405.678Z-0001.jsonl`, and not somebody's `predictions-good.jsonl`.
fn is_ours(name: &str) -> bool {
    let name = name.strip_prefix(PREFIX).and_then(|n| n.strip_suffix(SUFFIX));
    let Some((at, n)) = name.and_then(|n| n.split_once('-')) else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits(n) && at.len() == 20 && digits(&at.replace(['T', 'Z', '.'], ""))
}

/// Why lines were not appended.
#[derive(Debug)]
enum Failure {
    /// The file is as before.
    Whole(io::Error),
    /// The file may end in a piece of a line.
    Torn(io::Error),
}
use Failure::{Torn, Whole};

impl Failure {
    fn into_error(self) -> io::Error {
        match self {
            Whole(e) | Torn(e) => e,
        }
    }
}

impl<F: Output> Current<F> {
    fn append(&mut self, lines: &[u8]) -> Result<(), Failure> {
        match self.file.write_all(lines) {
            Ok(()) => {
                self.len += lines.len() as u64;
                Ok(())
            }
            // A full disk takes a part. It goes again, or the next line would be glued to it.
            Err(e) if self.file.cut(self.len).is_ok() => Err(Whole(e)),
            Err(e) => Err(Torn(e)),
        }
    }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;

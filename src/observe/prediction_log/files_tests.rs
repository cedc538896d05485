use super::*;

fn files(max_bytes: u64, max_files: usize) -> (tempfile::TempDir, Files) {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::new(dir.path().to_owned(), max_bytes, max_files);
    (dir, files)
}

fn contents(dir: &Path) -> Vec<String> {
    list(dir).unwrap().iter().map(|p| std::fs::read_to_string(p).unwrap()).collect()
}

#[test]
fn turns_to_the_next_file_and_deletes_the_oldest() {
    let (dir, mut files) = files(10, 2);
    std::fs::write(dir.path().join("predictions-good.jsonl"), "mine").unwrap();
    for line in ["a\n", "b\n", "c\n"] {
        files.append(line.as_bytes()).unwrap();
        assert_eq!(files.room(), 8);
        files.turn();
        assert_eq!(files.room(), 10);
    }
    assert_eq!(contents(dir.path()), ["b\n", "c\n"]);
    assert!(dir.path().join("predictions-good.jsonl").exists());
}

#[test]
fn an_empty_file_is_not_turned() {
    let (dir, mut files) = files(10, 2);
    files.append(b"a\n").unwrap();
    files.turn();
    for _ in 0..3 {
        // As after a failure to write.
        files.append(b"").unwrap();
        files.turn();
    }
    assert_eq!(contents(dir.path()), ["a\n", ""]);
}

#[test]
fn a_new_start_begins_a_new_file_and_keeps_the_old() {
    let (dir, mut first) = files(10, 5);
    first.append(b"a\n").unwrap();
    let mut second = Files::new(dir.path().to_owned(), 10, 5);
    second.append(b"b\n").unwrap();
    assert_eq!(contents(dir.path()), ["a\n", "b\n"]);
}

#[test]
fn a_file_or_directory_that_is_deleted_does_not_swallow_lines() {
    let (dir, mut files) = files(10, 5);
    files.append(b"a\n").unwrap();
    std::fs::remove_file(&list(dir.path()).unwrap()[0]).unwrap();
    files.append(b"b\n").unwrap();
    assert_eq!(contents(dir.path()), ["b\n"]);
    std::fs::remove_dir_all(dir.path()).unwrap();
    assert!(files.append(b"c\n").is_err());
    std::fs::create_dir(dir.path()).unwrap();
    files.append(b"d\n").unwrap();
    assert_eq!(contents(dir.path()), ["d\n"]);
}

#[test]
fn knows_its_own_files() {
    assert!(is_ours("predictions-20260102T030405.678Z-0001.jsonl"));
    for other in [
        "predictions-.jsonl",
        "predictions-2026-1.jsonl",
        "predictions-20260102T030405.678Z-.jsonl",
        "predictions-20260102T030405.678Z-1.jsonl.gz",
        "x-predictions-20260102T030405.678Z-0001.jsonl",
    ] {
        assert!(!is_ours(other), "{other}");
    }
}

/// A disk with room for so many bytes.
struct Disk {
    bytes: Vec<u8>,
    room: usize,
    broken: bool,
}

impl Write for Disk {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let n = data.len().min(self.room - self.bytes.len());
        self.bytes.extend(&data[..n]);
        if n == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(n) }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for Disk {
    fn cut(&mut self, len: u64) -> io::Result<()> {
        if self.broken {
            return Err(io::ErrorKind::Other.into());
        }
        self.bytes.truncate(len as usize);
        Ok(())
    }
}

fn on_disk(room: usize, broken: bool) -> Current<Disk> {
    let disk = Disk { bytes: vec![], room, broken };
    Current { path: PathBuf::new(), file: disk, len: 0 }
}

#[test]
fn a_full_disk_leaves_no_piece_of_a_line() {
    let mut current = on_disk(5, false);
    current.append(b"one\n").unwrap();
    assert!(matches!(current.append(b"two\n"), Err(Whole(_))));
    assert_eq!(current.file.bytes, b"one\n");
    current.file.room = 9;
    current.append(b"three").unwrap();
    assert_eq!((&current.file.bytes[..], current.len), (&b"one\nthree"[..], 9));
}

#[test]
fn a_line_that_can_not_be_taken_back_is_the_last_of_its_file() {
    assert!(matches!(on_disk(2, true).append(b"one\n"), Err(Torn(_))));
}

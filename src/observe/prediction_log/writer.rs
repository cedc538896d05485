//! The thread that writes: gathers lines, flushes each second, and outlives a broken disk.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::Counters;
use super::files::Files;
use super::record::Record;

/// Longest time that a line waits for others.
const FLUSH: Duration = Duration::from_secs(1);

/// Lines that are gathered at most, in bytes. A longer line is written alone.
const GATHER: usize = 64 << 10;

/// How often errors are told.
const COMPLAIN: Duration = Duration::from_secs(60);

/// Writes records until nobody can send any.
pub fn run(records: &Receiver<Box<Record>>, files: Files, counters: &Counters) {
    let mut writer = Writer::new(files, counters);
    loop {
        let record = match writer.due {
            None => records.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => records.recv_timeout(due.saturating_duration_since(Instant::now())),
        };
        match record {
            Ok(record) => {
                counters.queued_input.fetch_sub(record.input_bytes(), Ordering::Relaxed);
                writer.add(&record);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let now = Instant::now();
        if writer.lines.len() >= GATHER || writer.due.is_some_and(|due| due <= now) {
            writer.flush(now);
        }
    }
    writer.flush(Instant::now());
}

struct Writer<'a> {
    files: Files,
    counters: &'a Counters,
    /// Lines to be written.
    lines: Vec<u8>,
    /// How many.
    count: u64,
    /// When they must be.
    due: Option<Instant>,
    complaints: Complaints,
}

impl Writer<'_> {
    fn new(files: Files, counters: &Counters) -> Writer<'_> {
        let complaints = Complaints::default();
        Writer { files, counters, lines: Vec::new(), count: 0, due: None, complaints }
    }

    fn add(&mut self, record: &Record) {
        let now = Instant::now();
        let before = self.lines.len();
        let written = record.write(&mut self.lines);
        let line = (self.lines.len() - before) as u64;
        if written.is_err() || line > self.files.max_bytes() {
            self.lines.truncate(before);
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
            let max = self.files.max_bytes();
            self.complaints.say(1, now, &format!("a line of {line} bytes, max_bytes is {max}"));
            return;
        }
        if self.lines.len() as u64 > self.files.room() {
            let line = self.lines.split_off(before);
            self.flush(now);
            self.files.turn();
            self.lines = line;
        }
        self.count += 1;
        self.due.get_or_insert(now + FLUSH);
    }

    fn flush(&mut self, now: Instant) {
        let count = std::mem::take(&mut self.count);
        self.due = None;
        if count == 0 {
            return;
        }
        match self.files.append(&self.lines) {
            Ok(()) => drop(self.counters.written.fetch_add(count, Ordering::Relaxed)),
            Err(e) => {
                self.counters.failed.fetch_add(count, Ordering::Relaxed);
                self.complaints.say(count, now, &e.to_string());
            }
        }
        self.lines.clear();
        // A large image should not hold its memory for ever.
        self.lines.shrink_to(2 * GATHER);
    }
}

/// Says what is wrong, at most once a minute.
#[derive(Default)]
struct Complaints {
    last: Option<Instant>,
    lost: u64,
}

impl Complaints {
    /// Whether it was said.
    fn say(&mut self, lost: u64, now: Instant, why: &str) -> bool {
        self.lost += lost;
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < COMPLAIN) {
            return false;
        }
        self.last = Some(now);
        let lost = std::mem::take(&mut self.lost);
        tracing::warn!(lost, why, "predictions could not be logged");
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::prediction_log::files::list;
    use crate::observe::prediction_log::record::tests::record;

    #[test]
    fn a_broken_disk_is_told_once_a_minute_with_what_was_lost() {
        let mut c = Complaints::default();
        let t0 = Instant::now();
        assert!(c.say(1, t0, "full"));
        assert!(!c.say(2, t0 + Duration::from_secs(59), "full"));
        assert_eq!(c.lost, 2);
        assert!(c.say(3, t0 + Duration::from_secs(60), "full"));
        assert_eq!(c.lost, 0);
    }

    #[test]
    fn no_file_is_larger_than_allowed_and_none_is_wasted() {
        let dir = tempfile::tempdir().unwrap();
        let mut line = vec![];
        record(100).write(&mut line).unwrap();
        let max = 3 * line.len() as u64;
        let counters = Counters::default();
        let mut writer = Writer::new(Files::new(dir.path().to_owned(), max, 100), &counters);
        for n in 0..10 {
            writer.add(&record(100 + n));
            if n % 4 == 1 {
                writer.flush(Instant::now());
            }
        }
        writer.flush(Instant::now());
        let sizes: Vec<_> =
            list(dir.path()).unwrap().iter().map(|p| p.metadata().unwrap().len()).collect();
        assert_eq!(sizes, [max, max, max, line.len() as u64]);
        assert_eq!(counters.written.into_inner(), 10);
    }

    #[test]
    fn a_line_larger_than_a_file_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let counters = Counters::default();
        let mut writer = Writer::new(Files::new(dir.path().to_owned(), 10, 2), &counters);
        writer.add(&record(1));
        writer.flush(Instant::now());
        assert_eq!(counters.dropped.into_inner(), 1);
        assert!(list(dir.path()).unwrap().is_empty());
    }
}

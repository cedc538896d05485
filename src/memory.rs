//! What is freed goes back to the system. The composition root and the loader call this room; nobody else does.
//!
//! A model's weights are one piece of memory of many megabytes each. glibc learns from the first that is freed to
//! keep such pieces for later, in arenas of which each thread may get its own; the next version is loaded before
//! the old one goes, so it leaves holes in them, and resident memory grows with each reload though nothing leaks.
//! With few arenas and a trim after each change it stays as it is: docs/performance.md has the figures.

use std::sync::mpsc::{Receiver, Sender, channel};

/// Has the allocator keep few arenas: one for two CPUs, where glibc allows sixteen. To be called before there are
/// threads. Whoever names how many in glibc's own variables is not overruled.
pub fn few_arenas() {
    let [most, tunables] = ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"].map(std::env::var_os);
    if most.is_none() && !tunables.is_some_and(|set| names_arenas(&set.to_string_lossy())) {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        allocator::set_arenas(arenas(cpus));
    }
}

/// `glibc.malloc.arena_max` or `glibc.malloc.arena_test`.
fn names_arenas(tunables: &str) -> bool {
    tunables.split(':').any(|one| one.starts_with("glibc.malloc.arena_"))
}

fn arenas(cpus: usize) -> i32 {
    i32::try_from(cpus / 2).unwrap_or(i32::MAX).max(1)
}

/// Gives freed memory back when it is told to, on a thread of its own: what allocates meanwhile waits for it, so it
/// must not have the loader's low priority.
pub struct Trimmer(Sender<()>);

impl Trimmer {
    /// Starts the thread, with the priority of the one that calls. It ends with the trimmer.
    pub fn start() -> std::io::Result<Trimmer> {
        let (ask, asked) = channel();
        let run = move || trim_when_asked(&asked);
        std::thread::Builder::new().name("ocelli-memory".to_owned()).spawn(run)?;
        Ok(Trimmer(ask))
    }

    /// Models came or went.
    pub fn trim(&self) {
        // A thread that has ended has nothing to give back.
        self.0.send(()).ok();
    }
}

fn trim_when_asked(asked: &Receiver<()>) {
    while asked.recv().is_ok() {
        // Several changes at once are one.
        while asked.try_recv().is_ok() {}
        allocator::trim();
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
mod allocator {
    pub fn set_arenas(most: i32) {
        // SAFETY: takes two numbers, and is called before other threads could allocate at the same time.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, most) };
    }

    pub fn trim() {
        // SAFETY: takes a number; glibc holds the locks of its arenas while it looks for free pages.
        unsafe { libc::malloc_trim(0) };
    }
}

/// Other allocators have no such settings, or need none.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod allocator {
    pub fn set_arenas(_most: i32) {}

    pub fn trim() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processors_share_an_arena() {
        assert_eq!([1, 2, 3, 4, 64].map(arenas), [1, 1, 1, 2, 32]);
    }

    #[test]
    fn tunables_of_something_else_leave_the_arenas_to_us() {
        assert!(names_arenas("glibc.malloc.hugetlb=1:glibc.malloc.arena_max=4"));
        assert!(!names_arenas("glibc.malloc.hugetlb=1"));
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn what_was_freed_between_what_is_kept_goes_back_to_the_system() {
        let resident = || {
            let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
            statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        // Below the size that the allocator asks the system for, with what is kept in between.
        let pieces: Vec<(Vec<u8>, Vec<u8>)> =
            (0..2000).map(|_| (vec![1; 60_000], vec![1; 16])).collect();
        let full = resident();
        let kept: Vec<Vec<u8>> = pieces.into_iter().map(|(_, small)| small).collect();
        let trimmer = Trimmer::start().unwrap();
        trimmer.trim();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while resident() + 60_000_000 > full {
            assert!(std::time::Instant::now() < end, "{} of {full}", resident());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(kept.len(), 2000);
    }
}

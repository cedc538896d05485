//! How many threads do what, from the CPUs this process may use.

use crate::batcher::Threads;
use crate::config::ServeConfig;

/// Threads of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadPlan {
    /// CPUs the process may use.
    pub cpus: usize,
    /// Batches that run at once.
    pub compute: usize,
    /// Threads of the engine within one batch.
    pub intra_op: usize,
    /// Threads that decode images.
    pub decode: usize,
    /// Threads for sockets and protocols.
    pub io: usize,
}

impl ThreadPlan {
    /// A plan from the settings and the CPUs of this process.
    pub fn of(config: &ServeConfig) -> ThreadPlan {
        // The standard library counts the cgroup's quota and the affinity mask, not the host.
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        ThreadPlan::for_cpus(cpus, config)
    }

    /// instances × intra-op threads fill the CPUs. Decoding comes in between, so it gets as many threads as there are
    /// CPUs and leaves the sharing to the kernel. I/O threads get half as many: nothing long runs on them (large bodies
    /// are parsed by the decode threads), and the runtime wakes one for another, which costs a cheap model more than it
    /// gains (docs/performance.md).
    pub fn for_cpus(cpus: usize, config: &ServeConfig) -> ThreadPlan {
        let or = |set: usize, planned: usize| if set == 0 { planned } else { set };
        let intra_op = config.intra_op_threads;
        ThreadPlan {
            cpus,
            compute: or(config.compute_threads, (cpus / intra_op).max(1)),
            intra_op,
            decode: or(config.decode_threads, cpus),
            io: or(config.io_threads, (cpus / 2).max(1)),
        }
    }

    /// What the scheduler has to know.
    pub fn threads(&self) -> Threads {
        Threads { compute: self.compute, decode: self.decode.min(self.cpus) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command, FromArgMatches};

    fn config(args: &[&str]) -> ServeConfig {
        let command = ServeConfig::augment_args(Command::new("serve").no_binary_name(true));
        ServeConfig::from_arg_matches(&command.get_matches_from(args)).unwrap()
    }

    #[test]
    fn instances_times_intra_op_threads_fill_the_cpus() {
        let plan = |args: &[&str]| {
            let p = ThreadPlan::for_cpus(8, &config(args));
            (p.compute, p.intra_op)
        };
        assert_eq!(plan(&[]), (8, 1));
        assert_eq!(plan(&["--intra-op-threads=4"]), (2, 4));
        assert_eq!(plan(&["--intra-op-threads=16"]), (1, 16));
        assert_eq!(plan(&["--compute-threads=3"]), (3, 1));
    }

    #[test]
    fn two_cpus_share_an_io_thread() {
        let io = |cpus, args: &[&str]| ThreadPlan::for_cpus(cpus, &config(args)).io;
        assert_eq!([1, 2, 3, 4, 64].map(|cpus| io(cpus, &[])), [1, 1, 1, 2, 32]);
        assert_eq!(io(2, &["--io-threads=2"]), 2);
    }
}

//! What the server's process uses, from /proc.

use std::time::Duration;

use serde::Serialize;

/// One look at a process.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Look {
    /// Seconds of CPU time since it started.
    pub cpu_seconds: f64,
    /// Resident bytes.
    pub rss_bytes: u64,
}

/// Looks from the start of the run on, in order.
pub type Looks = Vec<(Duration, Look)>;

/// Looks now; `None` if the process is gone.
pub fn look(pid: u32) -> Option<Look> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let page = rustix::param::page_size() as u64;
    parse(&stat, ticks, page)
}

/// proc(5): utime, stime and rss are fields 14, 15 and 24; the name in field 2 may hold spaces.
fn parse(stat: &str, ticks: f64, page: u64) -> Option<Look> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let cpu_seconds = (number(14)? + number(15)?) as f64 / ticks;
    Some(Look { cpu_seconds, rss_bytes: number(24)? * page })
}

/// The look nearest before or at `time`, or the first.
pub fn at(looks: &Looks, time: Duration) -> Option<Look> {
    let before = looks.iter().take_while(|(t, _)| *t <= time).last();
    before.or(looks.first()).map(|(_, look)| *look)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_name_with_spaces_and_brackets() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 9 0 0 0 150 50 0 0 20 0 5 0 100 999 25 1";
        let look = parse(stat, 100.0, 4096).unwrap();
        assert_eq!(look, Look { cpu_seconds: 2.0, rss_bytes: 25 * 4096 });
        assert_eq!(parse("nothing", 100.0, 4096), None);
        assert!(super::look(std::process::id()).unwrap().rss_bytes > 0);
    }
}

//! Figures and times as people read them.

use jiff::Timestamp;
use serde::Deserialize;

/// A version's share.
#[derive(Clone, Debug, Deserialize)]
pub struct Arm {
    /// The version.
    pub version: u64,
    /// Of 10,000.
    pub weight: u32,
}

/// Text from elsewhere, which must not steer the terminal.
pub fn clean(text: &str) -> String {
    let one = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.trim().chars().map(one).collect()
}

/// A figure with up to so many digits behind the point.
pub fn number(figure: f64, digits: usize) -> String {
    let text = format!("{figure:.digits$}");
    let text = if digits > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A percentage.
pub fn percent(figure: f64) -> String {
    format!("{}%", number(figure, 2))
}

/// Arms as they are written: `1=90% 2=10%`.
pub fn split(arms: &[Arm]) -> String {
    let one = |arm: &Arm| format!("{}={}", arm.version, percent(f64::from(arm.weight) / 100.0));
    match arms {
        [] => "latest".to_owned(),
        arms => arms.iter().map(one).collect::<Vec<_>>().join(" "),
    }
}

/// A figure, or a dash.
pub fn or_dash<T>(figure: Option<T>, tell: impl Fn(T) -> String) -> String {
    figure.map_or_else(|| "-".to_owned(), tell)
}

/// Milliseconds, with three digits that count.
pub fn millis(ms: f64) -> String {
    let digits = if ms < 9.995 {
        2
    } else if ms < 99.95 {
        1
    } else {
        0
    };
    format!("{ms:.digits$} ms")
}

/// A length of time, in its two largest units.
pub fn span(seconds: f64) -> String {
    let all = seconds.max(0.0) as u64;
    let (days, hours) = (all / 86_400, all / 3600 % 24);
    let (minutes, seconds) = (all / 60 % 60, all % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {seconds}s"),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// A point in time, to the second.
pub fn date(text: &str) -> String {
    text.parse().map_or_else(|_| clean(text), told)
}

/// A point in time, from seconds since the epoch.
pub fn date_of(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), told)
}

fn told(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_as_short_as_they_can_be() {
        assert_eq!(percent(90.0), "90%");
        assert_eq!(percent(0.5), "0.5%");
        assert_eq!(percent(100.0 / 3.0), "33.33%");
        assert_eq!(number(-0.0001, 2), "0");
        assert_eq!(number(100.0, 0), "100");
        assert_eq!(millis(1.234), "1.23 ms");
        assert_eq!(millis(12.34), "12.3 ms");
        assert_eq!(millis(123.4), "123 ms");
    }

    #[test]
    fn times_are_told_in_two_units() {
        assert_eq!(span(33.9), "33s");
        assert_eq!(span(125.0), "2m 5s");
        assert_eq!(span(3600.0 * 3.5), "3h 30m");
        assert_eq!(span(86_400.0 * 2.1), "2d 2h");
        assert_eq!(date("2026-11-25T01:31:07.123456Z"), "2026-11-25 01:31:07Z");
        assert_eq!(date("once"), "once");
        assert_eq!(date_of(0), "1970-01-01 00:00:00Z");
    }

    #[test]
    fn arms_look_as_they_are_written() {
        let arms = [Arm { version: 1, weight: 9_950 }, Arm { version: 2, weight: 50 }];
        assert_eq!(split(&arms), "1=99.5% 2=0.5%");
        assert_eq!(split(&[]), "latest");
    }

    #[test]
    fn what_others_wrote_does_not_steer_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\nc\u{9b}"), "a\u{fffd}[2Jb c\u{fffd}");
    }
}

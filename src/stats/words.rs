//! Figures as people read them.

/// A share as percent: `0.5 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{} %", short(share * 100.0))
}

/// Seconds in the unit that suits.
pub(super) fn seconds(s: f64) -> String {
    if s < 1e-3 {
        format!("{} µs", short(s * 1e6))
    } else if s < 1.0 {
        format!("{} ms", short(s * 1e3))
    } else {
        format!("{} s", short(s))
    }
}

/// About three digits, at least one decimal where there is any to show.
pub(super) fn short(x: f64) -> String {
    let decimals = match x.abs() {
        0.0 => 0,
        a if a >= 99.95 => 0,
        a if a >= 0.995 => 1,
        a if a >= 0.0995 => 2,
        a if a >= 1e-4 => (1.0 - a.log10().floor()) as usize,
        _ => return format!("{x:.1e}"),
    };
    let text = format!("{x:.decimals$}");
    // Not `-0.0`.
    if text.trim_start_matches('-').chars().all(|c| c == '0' || c == '.') {
        return "0".to_owned();
    }
    text
}

/// A signed [`short`].
pub(super) fn signed(x: f64) -> String {
    let text = short(x);
    if x > 0.0 && text != "0" { format!("+{text}") } else { text }
}

/// Without decimals that say nothing: `95`, `99.5`.
pub(super) fn plain(x: f64) -> String {
    ((x * 1e4).round() / 1e4).to_string()
}

/// `p = 0.0120`.
pub(super) fn p(value: f64) -> String {
    match value {
        v if v < 1e-4 => "p < 0.0001".to_owned(),
        v if v < 0.1 => format!("p = {v:.4}"),
        v => format!("p = {v:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_about_three_digits() {
        let cases = [
            (0.0, "0"),
            (5.64, "5.6"),
            (12.345, "12.3"),
            (1234.4, "1234"),
            (0.5, "0.50"),
            (0.05, "0.050"),
            (0.0051, "0.0051"),
            (1.0, "1.0"),
            (-0.25, "-0.25"),
            (2e-7, "2.0e-7"),
        ];
        for (x, text) in cases {
            assert_eq!(short(x), text);
        }
        assert_eq!(signed(0.8), "+0.80");
        assert_eq!(signed(-3.0), "-3.0");
        assert_eq!(plain(100.0 * (1.0 - 0.05)), "95");
        assert_eq!(plain(100.0 * (1.0 - 0.005)), "99.5");
        assert_eq!(seconds(0.012), "12.0 ms");
        assert_eq!(seconds(0.0000301), "30.1 µs");
        assert_eq!(seconds(2.5), "2.5 s");
    }

    #[test]
    fn tiny_p_values_are_not_shown_as_zero() {
        assert_eq!(p(0.0), "p < 0.0001");
        assert_eq!(p(0.012), "p = 0.0120");
        assert_eq!(p(1.0), "p = 1.00");
    }
}

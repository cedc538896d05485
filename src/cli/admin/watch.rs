//! Watches a rollout until it ends.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use super::client::{Call, Client, Refusal, of_model};
use super::rollout::Rollout;
use super::{Failure, WENT_BACK, print, read};

const EVERY: Duration = Duration::from_secs(2);
/// How long nobody may answer: a server that is restarted comes back.
const PATIENCE: Duration = Duration::from_secs(60);

/// Prints how a model's rollout stands whenever that changes, or over and over on a terminal. Gives the
/// exit code once it ends. Another rollout than `id` ends it, too.
pub fn watch(
    client: &Client,
    model: &str,
    mut id: Option<String>,
    json: bool,
) -> Result<u8, Failure> {
    let call = Call::get(of_model(model, "/rollout"));
    let mut screen = Screen::new(json);
    let mut heard = Instant::now();
    loop {
        let answer = match client.ask(&call) {
            Ok((_, answer)) => answer,
            Err(Refusal::Unreachable(_) | Refusal::Lost { .. }) if heard.elapsed() < PATIENCE => {
                std::thread::sleep(EVERY);
                continue;
            }
            Err(refusal) => return Err(refusal.into()),
        };
        heard = Instant::now();
        let rollout: Rollout = read(&answer)?;
        if *id.get_or_insert_with(|| rollout.id.clone()) != rollout.id {
            return Err("another rollout took the place of the one that was watched".into());
        }
        let text = if json { format!("{answer}\n") } else { rollout.text() };
        screen.show(&text, &rollout.moment(), rollout.is_open())?;
        if !rollout.is_open() {
            return Ok(if rollout.state == "done" { 0 } else { WENT_BACK });
        }
        std::thread::sleep(EVERY);
    }
}

/// Where it is printed.
struct Screen {
    /// Whether the last text is written over.
    over: bool,
    /// Lines of the last text.
    lines: usize,
    /// What was told last.
    moment: Option<String>,
}

impl Screen {
    fn new(json: bool) -> Screen {
        let stdout = std::io::stdout();
        let plain = anstream::AutoStream::choice(&stdout) == anstream::ColorChoice::Never;
        Screen { over: !json && !plain && stdout.is_terminal(), lines: 0, moment: None }
    }

    fn show(&mut self, text: &str, moment: &str, goes_on: bool) -> Result<(), Failure> {
        if self.over {
            let text = over(self.lines, text, goes_on);
            self.lines = text.lines().count();
            return print(&text);
        }
        if self.moment.as_deref() == Some(moment) {
            return Ok(());
        }
        let gap = if self.moment.is_some() && !text.starts_with('{') { "\n" } else { "" };
        self.moment = Some(moment.to_owned());
        print(&format!("{gap}{text}"))
    }
}

/// Writes over the lines of the last text. Long lines are cut at the edge, so that they stay one; the
/// last text is whole.
fn over(lines: usize, text: &str, goes_on: bool) -> String {
    let up = if lines > 0 { format!("\x1b[{lines}A") } else { String::new() };
    let (cut, whole) = if goes_on { ("\x1b[?7l", "\x1b[?7h") } else { ("", "") };
    format!("{up}\r\x1b[J{cut}{text}{whole}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_written_over_the_last() {
        assert_eq!(over(0, "a\nb\n", true), "\r\x1b[J\x1b[?7la\nb\n\x1b[?7h");
        assert_eq!(over(2, "c\n", false), "\x1b[2A\r\x1b[Jc\n");
    }
}

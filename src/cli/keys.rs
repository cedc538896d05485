//! `ocelli keys`: tokens and what the keys' file keeps of them.

use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio_rustls::rustls::crypto::ring;

use super::{Failure, print};
use crate::protocol::access::{Right, hash};

/// What tells our tokens from others, for people and for scanners of leaked secrets.
const PREFIX: &str = "ocelli_";

#[derive(clap::Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(clap::Subcommand)]
enum KeysCommand {
    /// Make a token: it goes to stderr, its entry for the keys' file to stdout
    New(Entry),
    /// Read a token from stdin and print its entry for the keys' file
    Hash(Entry),
}

#[derive(clap::Args)]
struct Entry {
    /// Whose key it is: for logs and messages
    #[arg(long)]
    name: String,
    /// What it may do; may be given several times
    #[arg(long = "right", value_enum, default_value = "predict")]
    rights: Vec<Right>,
}

pub(super) fn run(args: &KeysArgs) -> Result<(), Failure> {
    match &args.command {
        KeysCommand::New(entry) => {
            let mut secret = [0; 32];
            let random = ring::default_provider().secure_random;
            random.fill(&mut secret).map_err(|_| "the system gives no random numbers")?;
            let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
            eprintln!("token (it is not shown again): {token}");
            print(&entry.toml(&token))
        }
        KeysCommand::Hash(entry) => {
            let mut token = String::new();
            std::io::stdin().read_to_string(&mut token)?;
            match token.trim() {
                "" => Err("there is no token on stdin; write `ocelli keys hash < FILE`".into()),
                token => print(&entry.toml(token)),
            }
        }
    }
}

impl Entry {
    fn toml(&self, token: &str) -> String {
        let name = toml::Value::String(self.name.clone());
        let rights: Vec<_> = self.rights.iter().map(|right| right.name()).collect();
        let hash = hash(token.as_bytes());
        format!("\n[[key]]\nname = {name}\nsha256 = \"{hash}\"\nrights = {rights:?}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_toml_whatever_the_name() {
        let rights = vec![Right::Predict, Right::Admin];
        let name = "a \"b\" \\c".to_owned();
        let text = Entry { name: name.clone(), rights }.toml("t");
        let read: toml::Table = toml::from_str(&text).unwrap();
        let key = &read["key"][0];
        assert_eq!(key["name"].as_str(), Some(&*name));
        assert_eq!(key["rights"].as_array().unwrap().len(), 2);
        assert_eq!(key["sha256"].as_str(), Some(&*hash(b"t")));
    }
}

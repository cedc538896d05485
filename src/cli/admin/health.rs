//! `ocelli health`: whether servers are ready, or live: the health check of a container without a shell.

use super::connection::Connection;
use super::{Failure, print};

#[derive(clap::Args)]
pub struct HealthArgs {
    /// Only whether it lives, even while its models are loading or it is stopping
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Not as asked.
const NOT: u8 = 1;

pub(super) fn run(args: &HealthArgs) -> Result<u8, Failure> {
    let client = args.connection.client()?;
    let (path, is) = if args.live { ("/healthz", "live") } else { ("/readyz", "ready") };
    let answers = client.each(|address| client.agrees(address, path));
    let mut code = 0;
    let mut text = String::new();
    for (address, answer) in answers {
        let told = match answer {
            Ok(true) => is.to_owned(),
            Ok(false) => format!("not {is}"),
            Err(refusal) => refusal.beside(&address),
        };
        code = if told == is { code } else { NOT };
        text.push_str(&if args.connection.json {
            format!("{}\n", serde_json::json!({ "replica": address.to_string(), "health": told }))
        } else {
            format!("{address} {}{told}\n", if told.ends_with(is) { "is " } else { "" })
        });
    }
    print(&text)?;
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::super::stub::stub;
    use super::*;

    fn health(address: &super::super::Address, args: &[&str]) -> u8 {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            args: HealthArgs,
        }
        let admin = format!("--admin={address}");
        let args = ["health", &admin].into_iter().chain(args.iter().copied());
        run(&<Cli as clap::Parser>::parse_from(args).args).unwrap()
    }

    #[test]
    fn a_server_that_loads_is_live_and_not_ready() {
        let server = stub(|head, _| match head.starts_with("GET /healthz ") {
            true => (200, serde_json::json!({ "live": true })),
            false => (503, serde_json::json!({ "ready": false })),
        });
        assert_eq!(health(&server, &["--live"]), 0);
        assert_eq!(health(&server, &[]), NOT);
        let nobody = super::super::Address::parse("127.0.0.1:1", false).unwrap();
        assert_eq!(health(&nobody, &["--live"]), NOT);
    }
}

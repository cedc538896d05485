//! What every command that speaks to servers takes.

use super::Failure;
use super::address::{Address, resolve};
use super::client::Client;

const DEFAULT: &str = "http://127.0.0.1:8502";

/// Where the servers are, and how to ask them.
#[derive(clap::Args)]
#[command(next_help_heading = "Server")]
pub struct Connection {
    /// Address of a server's admin API [default: http://127.0.0.1:8502]
    #[arg(long, env = "OCELLI_ADMIN", value_name = "URL", global = true, hide_env_values = true)]
    admin: Option<String>,
    /// Token of a key with the right `admin`, if the server asks for keys
    #[arg(long, env = "OCELLI_TOKEN", hide_env_values = true, global = true)]
    token: Option<String>,
    /// All replicas: HOST:PORT,… or dns:NAME:PORT. A change is made at the first that can be reached,
    /// or at --admin, and told to the others
    #[arg(
        long,
        env = "OCELLI_REPLICAS",
        value_name = "LIST",
        value_delimiter = ',',
        global = true,
        hide_env_values = true
    )]
    replicas: Vec<String>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
}

impl Connection {
    /// What asks the servers.
    pub fn client(&self) -> Result<Client, Failure> {
        let replicas = resolve(&self.replicas).map_err(|e| format!("--replicas: {e}"))?;
        let admin = self.admin.as_deref().filter(|admin| !admin.is_empty());
        let first = match admin {
            None if !replicas.is_empty() => replicas.clone(),
            admin => {
                let admin = admin.unwrap_or(DEFAULT);
                vec![Address::parse(admin).map_err(|e| format!("--admin: {e}"))?]
            }
        };
        Client::new(self.token.as_deref(), first, replicas)
    }
}

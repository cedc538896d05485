//! What every command that speaks to servers takes.

use std::path::{Path, PathBuf};

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

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
    /// Certificates, in PEM, of who may have signed the server's; without it, those of the public web's.
    /// Addresses without a scheme are then https
    #[arg(long, env = "OCELLI_CA", value_name = "FILE", global = true, hide_env_values = true)]
    ca: Option<PathBuf>,
    /// Certificate to show to the server, in PEM
    #[arg(
        long,
        env = "OCELLI_CERT",
        value_name = "FILE",
        global = true,
        requires = "key",
        hide_env_values = true
    )]
    cert: Option<PathBuf>,
    /// Its key, in PEM
    #[arg(
        long,
        env = "OCELLI_KEY",
        value_name = "FILE",
        global = true,
        requires = "cert",
        hide_env_values = true
    )]
    key: Option<PathBuf>,
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
        let secure = self.ca.is_some() || self.cert.is_some();
        let replicas = resolve(&self.replicas, secure).map_err(|e| format!("--replicas: {e}"))?;
        let admin = self.admin.as_deref().filter(|admin| !admin.is_empty());
        let first = match admin {
            None if !replicas.is_empty() => replicas.clone(),
            admin => {
                let admin = admin.unwrap_or(DEFAULT);
                vec![Address::parse(admin, secure).map_err(|e| format!("--admin: {e}"))?]
            }
        };
        Client::new(self.token.as_deref(), self.tls()?, first, replicas)
    }

    fn tls(&self) -> Result<TlsConfig, Failure> {
        let mut tls = TlsConfig::builder();
        if let Some(file) = &self.ca {
            tls = tls.root_certs(RootCerts::new_with_certs(&certificates(file, "--ca")?));
        }
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            let wrong = |e| format!("--key {}: {e}", key.display());
            let key = PrivateKey::from_pem(&read(key, "--key")?).map_err(wrong)?;
            let cert = ClientCert::new_with_certs(&certificates(cert, "--cert")?, key);
            tls = tls.client_cert(Some(cert));
        }
        Ok(tls.build())
    }
}

fn read(file: &Path, flag: &str) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|e| format!("{flag} {}: {e}", file.display()))
}

fn certificates(file: &Path, flag: &str) -> Result<Vec<Certificate<'static>>, String> {
    let text = read(file, flag)?;
    let found = parse_pem(&text).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
        Ok(_) => None,
        Err(e) => Some(Err(format!("{flag} {}: {e}", file.display()))),
    });
    let found: Vec<_> = found.collect::<Result<_, _>>()?;
    if found.is_empty() {
        return Err(format!("{flag} {}: there is no certificate in it", file.display()));
    }
    Ok(found)
}

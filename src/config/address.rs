//! The settings of the edge whose types nobody else has: where to listen, a file that may be left
//! out, and whether clients show certificates. Words only; `protocol/listen` acts on them.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What tells a Unix socket from a TCP address.
const UNIX: &str = "unix:";

/// Where to listen: `1.2.3.4:8501`, or `unix:/run/ocelli.sock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The file of a Unix socket.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Address, Self::Err> {
        match text.strip_prefix(UNIX) {
            Some("") => Err("write unix:PATH, such as unix:/run/ocelli.sock"),
            Some(path) => Ok(Address::Unix(path.into())),
            None => text
                .parse()
                .map(Address::Tcp)
                .map_err(|_| "write an IP address and a port, such as 0.0.0.0:8501, or unix:PATH"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// A file that a setting names, or none: the empty string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OptionalFile(Option<PathBuf>);

impl OptionalFile {
    /// The file, if one is named.
    pub fn path(&self) -> Option<&Path> {
        self.0.as_deref()
    }
}

impl FromStr for OptionalFile {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<OptionalFile, Infallible> {
        Ok(OptionalFile((!text.is_empty()).then(|| text.into())))
    }
}

/// Whether a TLS client shows a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ClientAuth {
    /// It is not asked for one.
    Off,
    /// It may; a wrong one is refused.
    Optional,
    /// It must.
    Required,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_printed_as_it_is_read() {
        for text in ["0.0.0.0:8501", "[::1]:1", "unix:/run/a b.sock", "unix:here"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for wrong in ["", "8501", "localhost:1", "unix:", "/run/a.sock"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_empty_string_names_no_file() {
        assert_eq!("".parse(), Ok(OptionalFile(None)));
        assert_eq!("a.pem".parse::<OptionalFile>().unwrap().path(), Some(Path::new("a.pem")));
    }
}

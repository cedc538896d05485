//! Where servers are: one address, or those of all replicas.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};

/// Where an admin API is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    secure: bool,
    rest: String,
}

impl Address {
    /// Reads `http://HOST:PORT`, `https://HOST:PORT`, or `HOST:PORT`, which is TLS if `secure`.
    pub fn parse(text: &str, secure: bool) -> Result<Address, String> {
        let wrong = |why: &str| format!("`{text}` is no address: {why}");
        let written = text.trim().trim_end_matches('/');
        if written.starts_with("unix:") {
            return Err(wrong("this client speaks HTTP; write http://HOST:PORT"));
        }
        let (http, https) = (written.strip_prefix("http://"), written.strip_prefix("https://"));
        let (scheme, secure, rest) = match (http, https) {
            (Some(rest), _) => (true, false, rest),
            (_, Some(rest)) => (true, true, rest),
            (None, None) => (false, secure, written),
        };
        let host = rest.split('/').next().unwrap_or_default();
        let strange = |c: char| c.is_whitespace() || c.is_control() || "?#@\\".contains(c);
        if host.is_empty() || host.starts_with(':') || rest.contains(strange) {
            return Err(wrong("write HOST:PORT or http://HOST:PORT"));
        }
        let port = host.rsplit_once(':');
        match port.map(|(_, port)| port.parse::<u16>()) {
            Some(Ok(_)) => Ok(Address { secure, rest: rest.to_owned() }),
            None if scheme => Ok(Address { secure, rest: rest.to_owned() }),
            None => Err(wrong("its port is missing; write HOST:PORT")),
            // The colons of [::1] are none before a port.
            Some(Err(_)) if scheme && host.ends_with(']') => {
                Ok(Address { secure, rest: rest.to_owned() })
            }
            Some(Err(_)) => Err(wrong("write HOST:PORT, with a port such as 8502")),
        }
    }

    /// The address of something there.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.rest)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rest.fmt(f)
    }
}

/// All that a list names: `HOST:PORT`, and `dns:NAME:PORT` for every address of a name. `secure`: by TLS.
pub fn resolve(list: &[String], secure: bool) -> Result<Vec<Address>, String> {
    let mut all = Vec::new();
    for entry in list.iter().map(|e| e.trim()).filter(|e| !e.is_empty()) {
        match entry.strip_prefix("dns:") {
            None => all.push(Address::parse(entry, secure)?),
            Some(name) => {
                let Some((host, Ok(port))) =
                    name.rsplit_once(':').map(|(h, p)| (h, p.parse::<u16>()))
                else {
                    return Err(format!("`{entry}` is no name: write dns:NAME:PORT"));
                };
                let found = (host, port).to_socket_addrs();
                let found = found.map_err(|e| format!("`{entry}`: can't look {host} up: {e}"))?;
                let mut found: Vec<_> = found.collect();
                // Resolvers shuffle; people compare one table with the next.
                found.sort();
                let address = |socket: SocketAddr| Address { secure, rest: socket.to_string() };
                all.extend(found.into_iter().map(address));
            }
        }
    }
    let mut seen = std::collections::HashSet::new();
    all.retain(|address| seen.insert(address.clone()));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<Vec<String>, String> {
        let list: Vec<_> = text.split(',').map(str::to_owned).collect();
        Ok(resolve(&list, false)?.iter().map(Address::to_string).collect())
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let url = |text| Address::parse(text, false).map(|a| a.url("/x"));
        assert_eq!(url("http://a:1/"), Ok("http://a:1/x".to_owned()));
        assert_eq!(url("a:1"), Ok("http://a:1/x".to_owned()));
        assert_eq!(url("http://a/ocelli"), Ok("http://a/ocelli/x".to_owned()));
        assert_eq!(url("[::1]:8502"), Ok("http://[::1]:8502/x".to_owned()));
        assert_eq!(url("http://[::1]"), Ok("http://[::1]/x".to_owned()));
        assert_eq!(url("https://a:1"), Ok("https://a:1/x".to_owned()));
        let secure = |text| Address::parse(text, true).map(|a| a.url("/x"));
        assert_eq!(secure("a:1"), Ok("https://a:1/x".to_owned()));
        assert_eq!(secure("http://a:1"), Ok("http://a:1/x".to_owned()));
    }

    #[test]
    fn says_what_is_no_address() {
        let wrong = |text| Address::parse(text, false).unwrap_err();
        assert_eq!(wrong("a"), "`a` is no address: its port is missing; write HOST:PORT");
        assert_eq!(wrong("a:b"), "`a:b` is no address: write HOST:PORT, with a port such as 8502");
        assert_eq!(wrong(":1"), "`:1` is no address: write HOST:PORT or http://HOST:PORT");
        assert_eq!(wrong(""), "`` is no address: write HOST:PORT or http://HOST:PORT");
        assert!(wrong("unix:/run/ocelli").contains("write http://HOST:PORT"));
        assert!(wrong("http://a b:1").contains("write HOST:PORT"));
    }

    #[test]
    fn a_list_names_each_replica_once() {
        assert_eq!(list("a:1, b:2,,a:1"), Ok(vec!["a:1".to_owned(), "b:2".to_owned()]));
        assert_eq!(list(""), Ok(vec![]));
        let local = list("dns:127.0.0.1:8502,dns:127.0.0.1:8502");
        assert_eq!(local, Ok(vec!["127.0.0.1:8502".to_owned()]));
        assert_eq!(list("dns:a").unwrap_err(), "`dns:a` is no name: write dns:NAME:PORT");
        assert!(list("dns:no.such.name.invalid:1").unwrap_err().contains("can't look"));
    }
}

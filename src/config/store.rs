//! Where traffic is kept, as a setting.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where traffic is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrafficStore {
    /// In a directory; without one, in the model directory.
    File(Option<PathBuf>),
    /// Nowhere: it is lost with the process.
    Memory,
    /// In a ConfigMap.
    Kubernetes {
        /// Its namespace; without one, that of the pod.
        namespace: Option<String>,
        /// Its name.
        name: String,
    },
}

impl FromStr for TrafficStore {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<TrafficStore, Self::Err> {
        let (kind, place) = text.split_once(':').map_or((text, None), |(k, p)| (k, Some(p)));
        match (kind, place) {
            ("file", place) if place != Some("") => {
                Ok(TrafficStore::File(place.map(PathBuf::from)))
            }
            ("memory", None) => Ok(TrafficStore::Memory),
            ("kubernetes", Some(place)) => {
                let (namespace, name) =
                    place.split_once('/').map_or((None, place), |(s, n)| (Some(s), n));
                if name.is_empty() || namespace == Some("") {
                    return Err("write kubernetes:[NAMESPACE/]CONFIGMAP");
                }
                let namespace = namespace.map(str::to_owned);
                Ok(TrafficStore::Kubernetes { namespace, name: name.to_owned() })
            }
            _ => Err("write file, file:DIR, memory or kubernetes:[NAMESPACE/]CONFIGMAP"),
        }
    }
}

impl fmt::Display for TrafficStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrafficStore::File(None) => f.write_str("file"),
            TrafficStore::File(Some(dir)) => write!(f, "file:{}", dir.display()),
            TrafficStore::Memory => f.write_str("memory"),
            TrafficStore::Kubernetes { namespace: None, name } => write!(f, "kubernetes:{name}"),
            TrafficStore::Kubernetes { namespace: Some(namespace), name } => {
                write!(f, "kubernetes:{namespace}/{name}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        for text in ["file", "file:/var/lib/ocelli", "memory", "kubernetes:t", "kubernetes:ns/t"] {
            assert_eq!(text.parse::<TrafficStore>().unwrap().to_string(), text);
        }
        for text in
            ["", "file:", "memory:x", "kubernetes", "kubernetes:", "kubernetes:/x", "etcd:x"]
        {
            assert!(text.parse::<TrafficStore>().is_err(), "{text}");
        }
    }
}

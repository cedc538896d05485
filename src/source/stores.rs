//! The clients of stores, one for each bucket or host: `object_store`'s, with our bounds, and the
//! credentials of the platform.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    BackoffConfig, Certificate, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig,
};
use url::{Position, Url};

use super::chain;
use super::error::SourceError;
use super::place::{Scheme, named};

/// How long a connection may take, if the stall timeout is not shorter.
const CONNECT: Duration = Duration::from_secs(10);

/// How stores are reached.
#[derive(Clone, Debug)]
pub struct Access {
    /// How long a store may say nothing.
    pub stall: Duration,
    /// PEM file of authorities that are trusted beside the system's.
    pub ca: Option<PathBuf>,
    /// Whether `http://` may be asked. The stores of clouds have variables of their own for that.
    pub allow_http: bool,
}

/// Clients, opened when they are first needed.
pub struct Stores {
    access: Access,
    authorities: Vec<Certificate>,
    opened: Mutex<HashMap<String, Opened>>,
}

#[derive(Clone)]
struct Opened {
    store: Arc<dyn ObjectStore>,
    credentials: &'static str,
}

/// An object, or a prefix of objects, and who to ask for it.
#[derive(Clone)]
pub struct Object {
    pub store: Arc<dyn ObjectStore>,
    pub path: Path,
    /// Its URL, for people.
    pub name: String,
    /// What is shown to the store, for people.
    pub credentials: &'static str,
}

impl Object {
    /// What the store said of it.
    pub fn error(&self, error: &object_store::Error) -> SourceError {
        SourceError::of(error, &self.name, self.credentials)
    }
}

impl Stores {
    pub fn new(access: Access) -> Result<Stores, SourceError> {
        let wrong = |ca: &std::path::Path, why: String| SourceError::Url {
            url: ca.display().to_string(),
            why: format!("{why}; --source-ca is a PEM file of certificates"),
        };
        let authorities = match &access.ca {
            None => Vec::new(),
            Some(ca) => {
                let pem = std::fs::read(ca).map_err(|e| wrong(ca, e.to_string()))?;
                let all = Certificate::from_pem_bundle(&pem);
                let all = all.map_err(|e| wrong(ca, e.to_string()))?;
                if all.is_empty() {
                    return Err(wrong(ca, "it has no certificate".to_owned()));
                }
                all
            }
        };
        Ok(Stores { access, authorities, opened: Mutex::default() })
    }

    /// What a URL leads to.
    pub fn object(&self, url: &Url) -> Result<Object, SourceError> {
        let wrong = |why: String| SourceError::Url { url: named(url), why };
        let scheme = Scheme::of(url)
            .ok_or_else(|| wrong(format!("the scheme `{}` is not known", url.scheme())))?;
        if scheme == Scheme::Http && !self.access.allow_http {
            return Err(wrong(
                "who is on the way could change what comes: use https, or allow it with \
                 --source-allow-http true"
                    .to_owned(),
            ));
        }
        // The client of a web server joins paths to its URL. Where there is a query, that is the whole URL.
        let (of, path) = match (scheme, url.query()) {
            (Scheme::Https | Scheme::Http, Some(_)) => (url.as_str(), ""),
            _ => (&url[..Position::BeforePath], url.path()),
        };
        let path = Path::from_url_path(path).map_err(|e| wrong(e.to_string()))?;
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match opened.get(of) {
            Some(found) => found.clone(),
            None => {
                let credentials =
                    chain::credentials(scheme, |name| std::env::var_os(name).is_some());
                let store = self.open(scheme, url, of).map_err(|e| wrong(e.to_string()))?;
                let new = Opened { store, credentials };
                opened.insert(of.to_owned(), new.clone());
                new
            }
        };
        let Opened { store, credentials } = found;
        Ok(Object { store, path, name: named(url), credentials })
    }

    fn open(
        &self,
        scheme: Scheme,
        url: &Url,
        base: &str,
    ) -> object_store::Result<Arc<dyn ObjectStore>> {
        let bucket = url.host_str().unwrap_or_default();
        Ok(match scheme {
            Scheme::S3 => Arc::new(
                AmazonS3Builder::from_env()
                    .with_bucket_name(bucket)
                    .with_client_options(self.options("AWS_"))
                    .with_retry(self.retries())
                    .build()?,
            ),
            Scheme::Gs => Arc::new(
                GoogleCloudStorageBuilder::from_env()
                    .with_bucket_name(bucket)
                    .with_client_options(self.options("GOOGLE_"))
                    .with_retry(self.retries())
                    .build()?,
            ),
            Scheme::Az => Arc::new(
                MicrosoftAzureBuilder::from_env()
                    .with_container_name(bucket)
                    .with_client_options(self.options("AZURE_"))
                    .with_retry(self.retries())
                    .build()?,
            ),
            Scheme::Https | Scheme::Http => {
                let options = self.options("").with_allow_http(scheme == Scheme::Http);
                let builder = HttpBuilder::new().with_url(base).with_client_options(options);
                Arc::new(builder.with_retry(self.retries()).build()?)
            }
            Scheme::File => Arc::new(LocalFileSystem::new()),
        })
    }

    /// Our bounds, and over them what the environment says, such as `AWS_ALLOW_HTTP`: a builder that is
    /// given options forgets those that it has read from there.
    fn options(&self, prefix: &str) -> ClientOptions {
        let stall = self.access.stall;
        let options = ClientOptions::new()
            .with_connect_timeout(CONNECT.min(stall))
            .with_read_timeout(stall)
            // A large file takes as long as it takes; `fetch` sees to it that it comes at all.
            .with_timeout_disabled();
        let options = self
            .authorities
            .iter()
            .fold(options, |options, ca| options.with_root_certificate(ca.clone()));
        let said = std::env::vars().filter_map(|(name, value)| {
            let name = name.strip_prefix(prefix).filter(|_| !prefix.is_empty())?;
            Some((name.to_ascii_lowercase().parse::<ClientConfigKey>().ok()?, value))
        });
        said.fold(options, |options, (key, value)| options.with_config(key, value))
    }

    /// A hiccup is passed over here; what lasts is the business of the next look.
    fn retries(&self) -> RetryConfig {
        RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(2),
                base: 2.0,
            },
            max_retries: 2,
            retry_timeout: self.access.stall.saturating_mul(3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stores() -> Stores {
        let access = Access { stall: CONNECT, ca: None, allow_http: false };
        Stores::new(access).unwrap()
    }

    #[test]
    fn http_is_asked_only_if_that_is_allowed_and_other_schemes_never() {
        let told = |url: &str| {
            let error = stores().object(&url.parse().unwrap()).err().unwrap();
            (error.reason(), error.to_string())
        };
        assert!(told("http://h/m.json").1.contains("--source-allow-http"));
        assert!(told("ftp://h/m").1.contains("`ftp` is not known"));
    }

    #[test]
    fn a_file_is_found_by_its_url() {
        let object = stores().object(&"file:///srv/a%20b/model.onnx".parse().unwrap()).unwrap();
        assert_eq!(object.path.as_ref(), "srv/a b/model.onnx");
        assert_eq!(object.credentials, "the server's user");
    }

    #[test]
    fn a_file_of_authorities_must_have_some() {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        let new = || {
            let access = Access { stall: CONNECT, ca: Some(ca.clone()), allow_http: false };
            Stores::new(access).err().unwrap().to_string()
        };
        assert!(new().contains("No such file"), "{}", new());
        std::fs::write(&ca, "nothing").unwrap();
        assert!(new().contains("no certificate"), "{}", new());
    }
}

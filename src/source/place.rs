//! Where a source is: the URL of a repository, or of a manifest.

use std::fmt;
use std::str::FromStr;

use url::Url;

use super::manifest;

/// What kind of store a URL leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    S3,
    Gs,
    Az,
    Https,
    Http,
    File,
}

impl Scheme {
    const ALL: [(Scheme, &str); 6] = [
        (Scheme::S3, "s3"),
        (Scheme::Gs, "gs"),
        (Scheme::Az, "az"),
        (Scheme::Https, "https"),
        (Scheme::Http, "http"),
        (Scheme::File, "file"),
    ];

    pub fn of(url: &Url) -> Option<Scheme> {
        Scheme::ALL.into_iter().find(|(_, name)| *name == url.scheme()).map(|(scheme, _)| scheme)
    }

    /// Whether a store tells what is in it. Plain web servers don't.
    pub fn lists(self) -> bool {
        !matches!(self, Scheme::Https | Scheme::Http)
    }
}

/// The URL of a repository: `s3://bucket/models`, or of its manifest: `https://host/models.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    url: Url,
    scheme: Scheme,
}

impl Place {
    /// Whether a setting is meant as a URL and no directory.
    pub fn is_url(text: &str) -> bool {
        text.contains("://")
    }

    /// What kind of store it leads to.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// As it was given, with any query: not for people.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Where the manifest is: the URL itself if it ends in `.json`, else [`manifest::NAME`] below it.
    pub fn manifest(&self) -> Url {
        let mut url = self.url.clone();
        if !self.is_manifest() {
            url.set_path(&format!("{}/{}", url.path().trim_end_matches('/'), manifest::NAME));
        }
        url
    }

    /// Whether the URL is a manifest's own.
    pub fn is_manifest(&self) -> bool {
        self.url.path().ends_with(".json")
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        const FORM: &str = "write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, https://HOST/PATH or file:///DIR";
        let url = Url::parse(text).map_err(|e| format!("{e}; {FORM}"))?;
        let scheme = Scheme::of(&url)
            .ok_or_else(|| format!("the scheme `{}` is not known; {FORM}", url.scheme()))?;
        match (scheme, url.host_str()) {
            (Scheme::File, Some(host)) => {
                return Err(format!("`{host}` is taken for a host; write file:///DIR"));
            }
            (Scheme::File, None) => {}
            (_, None | Some("")) => return Err(FORM.to_owned()),
            _ => {}
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it has credentials in it, which logs would tell: give them by the \
                 variables of the platform"
                .to_owned());
        }
        let place = Place { url, scheme };
        let may_have_query = place.is_manifest() && !scheme.lists();
        if (place.url.query().is_some() && !may_have_query) || place.url.fragment().is_some() {
            return Err("only the URL of a manifest on a web server may have a query".to_owned());
        }
        Ok(place)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&named(&self.url))
    }
}

/// A URL as it may be told: what is in a query may be a key.
pub fn named(url: &Url) -> String {
    let text = url.as_str();
    let end = text.find(['?', '#']).unwrap_or(text.len());
    text[..end].trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_named_or_lies_in_the_repository() {
        for (text, manifest) in [
            ("s3://bucket", "s3://bucket/ocelli-models.json"),
            ("gs://bucket/models/", "gs://bucket/models/ocelli-models.json"),
            ("az://container/a/b", "az://container/a/b/ocelli-models.json"),
            ("https://h:8443/m", "https://h:8443/m/ocelli-models.json"),
            ("https://h/prod.json?token=1", "https://h/prod.json?token=1"),
            ("file:///srv/models", "file:///srv/models/ocelli-models.json"),
            ("file:///etc/m.json", "file:///etc/m.json"),
        ] {
            let place: Place = text.parse().unwrap();
            assert_eq!(place.manifest().as_str(), manifest);
        }
        let secret: Place = "https://h/prod.json?token=1".parse().unwrap();
        assert_eq!(secret.to_string(), "https://h/prod.json");
    }

    #[test]
    fn a_url_that_leads_nowhere_or_tells_secrets_is_refused_with_the_form() {
        for (text, says) in [
            ("s3:///models", "s3://BUCKET"),
            ("ftp://h/m", "`ftp` is not known"),
            ("file://models", "file:///DIR"),
            ("https://user:pass@h/m", "credentials"),
            ("s3://b/m?x=1", "query"),
            ("https://h/models?token=1", "query"),
            ("https://h/m.json#x", "query"),
            ("s3://", "s3://BUCKET"),
        ] {
            let told = text.parse::<Place>().unwrap_err();
            assert!(told.contains(says), "{text}: {told}");
        }
        assert!(Place::is_url("s3://b") && !Place::is_url("models") && !Place::is_url("/srv/m"));
    }
}

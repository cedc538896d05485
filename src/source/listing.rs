//! What a source has now: by its manifest, whose signature is checked first, or else by listing its
//! objects.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use object_store::ObjectMeta;
use tokio::time::timeout;
use url::Url;

use super::error::SourceError;
use super::fetch::{Bounds, Expected, fetch_small};
use super::key::{Key, NoKey};
use super::manifest::{self, Entry, Manifest};
use super::place::{Place, Scheme};
use super::signature::{self, TrustedKeys};
use super::stores::{Object, Stores};

/// What must be known of files before they are served.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Whether each must have a digest in a manifest.
    pub require_digest: bool,
    /// Who must have signed that.
    pub keys: TrustedKeys,
}

/// A file that the source has.
#[derive(Clone)]
pub struct Listed {
    pub object: Object,
    pub expected: Expected,
    /// What tells it from the next one of its name: its digest, or what the store says of it.
    pub is: String,
}

/// The files of models, by their paths.
pub type Listing = BTreeMap<Key, Listed>;

/// Reads a source again and again.
pub struct Reader {
    place: Place,
    trust: Trust,
    stores: Stores,
    bounds: Bounds,
    /// The newest manifest that was found right, and what identifies it.
    last: Option<(Option<String>, Manifest)>,
}

impl Reader {
    pub fn new(place: Place, trust: Trust, stores: Stores, bounds: Bounds) -> Reader {
        Reader { place, trust, stores, bounds, last: None }
    }

    /// What the source has now. All of it or an error: a part would take models away.
    pub async fn read(&mut self) -> Result<Listing, SourceError> {
        if self.manifest().await? {
            let last = self.last.as_ref();
            return self.by_manifest(last.map(|(_, manifest)| manifest));
        }
        let listing = self.by_objects().await?;
        if listing.is_empty() {
            return Err(SourceError::Empty { source_url: self.place.to_string() });
        }
        Ok(listing)
    }

    /// Brings `last` up to date; false if there is no manifest and none is needed.
    async fn manifest(&mut self) -> Result<bool, SourceError> {
        let url = self.place.manifest();
        let object = self.stores.object(&url)?;
        let bounds = Bounds { most: manifest::MOST_BYTES, ..self.bounds };
        let known = self.last.as_ref().and_then(|(etag, _)| etag.clone());
        let (bytes, etag) = match fetch_small(&object, known, bounds).await {
            Ok(None) => return Ok(true),
            Ok(Some(new)) => new,
            Err(SourceError::NotFound { .. }) if self.needs_manifest().is_none() => {
                self.last = None;
                return Ok(false);
            }
            Err(SourceError::NotFound { object, credentials }) => {
                return Err(match self.needs_manifest() {
                    Some(why) => SourceError::NoManifest { object, why },
                    None => SourceError::NotFound { object, credentials },
                });
            }
            Err(error) => return Err(error),
        };
        self.check_signature(&url, &bytes).await?;
        let manifest = Manifest::parse(&bytes)
            .map_err(|why| SourceError::Manifest { object: object.name, why })?;
        self.last = Some((etag, manifest));
        Ok(true)
    }

    fn needs_manifest(&self) -> Option<&'static str> {
        match () {
            () if !self.trust.keys.is_empty() => Some("--trusted-key asks for a signed one"),
            () if self.trust.require_digest => Some("--require-digest asks for one"),
            () if self.place.is_manifest() => Some("--models names it"),
            () if !self.place.scheme().lists() => Some("a web server can't be listed"),
            () => None,
        }
    }

    async fn check_signature(&self, url: &Url, bytes: &[u8]) -> Result<(), SourceError> {
        if self.trust.keys.is_empty() {
            return Ok(());
        }
        let mut beside = url.clone();
        beside.set_path(&format!("{}{}", url.path(), signature::SUFFIX));
        let object = self.stores.object(&beside)?;
        let bounds = Bounds { most: signature::MOST_BYTES, ..self.bounds };
        let unsigned = |why: String| SourceError::Signature { object: object.name.clone(), why };
        let signature = match fetch_small(&object, None, bounds).await {
            Err(SourceError::NotFound { .. }) => Err(unsigned("it does not exist".to_owned())),
            Ok(None) => Err(unsigned("it did not come".to_owned())),
            Ok(Some((bytes, _))) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => Err(error),
        }?;
        self.trust.keys.verify(bytes, &signature).map_err(unsigned)
    }

    fn by_manifest(&self, manifest: Option<&Manifest>) -> Result<Listing, SourceError> {
        let base = self.place.manifest();
        let files = manifest.into_iter().flat_map(Manifest::files);
        let one = |(key, entry): (&Key, &Entry)| {
            let url = locate(&base, key, entry)
                .map_err(|why| SourceError::Manifest { object: key.to_string(), why })?;
            let expected = Expected { size: entry.size, digest: Some(entry.sha256) };
            let (object, is) = (self.stores.object(&url)?, entry.sha256.to_string());
            Ok((key.clone(), Listed { object, expected, is }))
        };
        files.map(one).collect()
    }

    async fn by_objects(&self) -> Result<Listing, SourceError> {
        let root = self.stores.object(self.place.url())?;
        // A page of a listing may be asked for again as often as any request.
        let patience = self.bounds.stall.saturating_mul(4);
        let mut objects = root.store.list(Some(&root.path));
        let mut listing = Listing::new();
        while let Some(meta) = next(&mut objects, &root, patience).await? {
            let path = meta.location.as_ref();
            let inside = path.strip_prefix(root.path.as_ref()).unwrap_or(path);
            let key = match Key::parse(inside.trim_start_matches('/')) {
                Ok(key) => key,
                Err(NoKey::Foreign) => continue,
                Err(NoKey::Unsafe(why)) => {
                    tracing::warn!(source = %self.place, object = path, why, "left alone");
                    continue;
                }
            };
            let name = format!("{}/{key}", root.name);
            let (store, path) = (root.store.clone(), meta.location.clone());
            let object = Object { store, path, name, credentials: root.credentials };
            // A store that has no ETags has times. It is not held against the ETag of what comes: stores
            // write that in other ways there. What changed meanwhile is listed otherwise next time.
            let tag = meta.e_tag.unwrap_or_else(|| meta.last_modified.to_rfc3339());
            let is = format!("{tag} {}", meta.size);
            let expected = Expected { size: Some(meta.size), digest: None };
            listing.insert(key, Listed { object, expected, is });
        }
        drop_directories(&mut listing);
        Ok(listing)
    }
}

async fn next(
    objects: &mut (impl StreamExt<Item = object_store::Result<ObjectMeta>> + Unpin),
    root: &Object,
    patience: Duration,
) -> Result<Option<ObjectMeta>, SourceError> {
    match timeout(patience, objects.next()).await {
        Ok(next) => next.transpose().map_err(|error| root.error(&error)),
        Err(_) => {
            let why = format!("its listing stalled for {patience:?}");
            Err(SourceError::Unreachable { object: root.name.clone(), why })
        }
    }
}

/// Some tools put an empty object in a directory's place.
fn drop_directories(listing: &mut Listing) {
    let names: std::collections::BTreeSet<String> = listing.keys().map(Key::to_string).collect();
    listing.retain(|key, _| {
        let inside = format!("{key}/");
        names.range(inside.clone()..).next().is_none_or(|next| !next.starts_with(&inside))
    });
}

/// Where a file of a manifest is.
fn locate(base: &Url, key: &Key, entry: &Entry) -> Result<Url, String> {
    let Some(at) = &entry.url else {
        let mut url = base.clone();
        let mut parts = url.path_segments_mut().map_err(|()| "its URL has no path".to_owned())?;
        parts.pop().extend(key.to_string().split('/'));
        drop(parts);
        url.set_query(None);
        return Ok(url);
    };
    let url = base.join(at).map_err(|e| format!("the url {at:?} is refused: {e}"))?;
    let local = |url: &Url| Scheme::of(url) == Some(Scheme::File);
    if local(&url) && !local(base) {
        return Err(format!("the url {at:?} is refused: it is a file of this machine"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("the url of {key} is refused: it has credentials in it"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn at(base: &str, url: Option<&str>) -> Result<String, String> {
        let key = Key::parse("a b/1/model.onnx").unwrap();
        let entry = Entry { sha256: Digest::of(b""), size: None, url: url.map(str::to_owned) };
        locate(&base.parse().unwrap(), &key, &entry).map(String::from)
    }

    #[test]
    fn a_file_is_beside_its_manifest_or_where_that_says() {
        let web = "https://h/models/m.json?token=1";
        assert_eq!(at(web, None).unwrap(), "https://h/models/a%20b/1/model.onnx");
        assert_eq!(at(web, Some("../x.onnx")).unwrap(), "https://h/x.onnx");
        assert_eq!(at(web, Some("s3://b/x.onnx")).unwrap(), "s3://b/x.onnx");
        assert_eq!(at("s3://b/m/o.json", None).unwrap(), "s3://b/m/a%20b/1/model.onnx");
        assert_eq!(at("s3://b/m/o.json", Some("x.onnx")).unwrap(), "s3://b/m/x.onnx");
        assert_eq!(at("file:///m/o.json", Some("/x.onnx")).unwrap(), "file:///x.onnx");
    }

    #[test]
    fn a_manifest_from_elsewhere_names_no_file_of_this_machine() {
        for url in ["file:///etc/passwd", "FILE:/etc/passwd", "https://me:pw@h/x"] {
            assert!(at("https://h/m.json", Some(url)).unwrap_err().contains("is refused"));
        }
    }
}

//! One object into the cache: streamed, bounded, hashed, compared, and only then adopted.

use std::io::Read;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use object_store::{GetOptions, GetResult, GetResultPayload};
use tokio::time::{Instant, timeout};

use super::cache::{Cache, Incoming};
use super::error::SourceError;
use super::stores::Object;
use crate::digest::Digest;

/// Fewer bytes than this within the stall timeout are a stall too, unless they are the last.
const TRICKLE: u64 = 16 << 10;

/// Bytes that are read from a file at a time.
const PIECE: usize = 1 << 20;

/// Bounds of any fetch.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long nothing, or next to nothing, may come.
    pub stall: Duration,
    /// Bytes of a file at most.
    pub most: u64,
}

/// What an object must be.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// Its length.
    pub size: Option<u64>,
    /// What its bytes hash to.
    pub digest: Option<Digest>,
}

/// What came: its digest and its length.
pub struct Came {
    pub digest: Digest,
    pub bytes: u64,
}

/// Fetches an object into the cache. What is not as expected never gets there.
pub async fn fetch(
    object: &Object,
    expected: &Expected,
    bounds: Bounds,
    cache: &Cache,
) -> Result<Came, SourceError> {
    let got = get(object, GetOptions::default(), bounds).await?;
    let size = got.meta.size;
    // Not worth the traffic.
    if let Some(expected) = expected.size.filter(|expected| *expected != size) {
        let (object, why) = (object.name.clone(), " (by what the store says)".to_owned());
        return Err(SourceError::Truncated { object, expected, came: size, why });
    }
    let mut incoming = cache.incoming()?;
    let bytes = read(object, got, bounds, |chunk| incoming.write(chunk)).await?;
    let digest = adopt(object, expected, incoming, cache)?;
    Ok(Came { digest, bytes })
}

fn adopt(
    object: &Object,
    expected: &Expected,
    incoming: Incoming,
    cache: &Cache,
) -> Result<Digest, SourceError> {
    let came = incoming.digest();
    match expected.digest.filter(|expected| *expected != came) {
        Some(expected) => {
            Err(SourceError::WrongDigest { object: object.name.clone(), expected, came })
        }
        None => cache.adopt(incoming, came),
    }
}

/// Fetches a small object into memory, and what identifies it. `None`: it is still `known`.
pub async fn fetch_small(
    object: &Object,
    known: Option<String>,
    bounds: Bounds,
) -> Result<Option<(Bytes, Option<String>)>, SourceError> {
    let options = GetOptions { if_none_match: known, ..GetOptions::default() };
    let answer = object.store.get_opts(&object.path, options).await;
    let got = match answer {
        Err(object_store::Error::NotModified { .. }) => return Ok(None),
        Err(error) => return Err(object.error(&error)),
        Ok(got) => checked(object, got, bounds)?,
    };
    let etag = got.meta.e_tag.clone();
    let mut all = BytesMut::new();
    read(object, got, bounds, |chunk| {
        all.extend_from_slice(chunk);
        Ok(())
    })
    .await?;
    Ok(Some((all.freeze(), etag)))
}

async fn get(
    object: &Object,
    options: GetOptions,
    bounds: Bounds,
) -> Result<GetResult, SourceError> {
    let got = object.store.get_opts(&object.path, options).await;
    checked(object, got.map_err(|error| object.error(&error))?, bounds)
}

fn checked(object: &Object, got: GetResult, bounds: Bounds) -> Result<GetResult, SourceError> {
    let (bytes, most) = (got.meta.size, bounds.most);
    if bytes > most {
        return Err(SourceError::TooLarge { object: object.name.clone(), bytes, most });
    }
    Ok(got)
}

/// Reads a body to its end, and gives its length, which is what the store said it would be.
async fn read(
    object: &Object,
    got: GetResult,
    bounds: Bounds,
    mut take: impl FnMut(&Bytes) -> Result<(), SourceError>,
) -> Result<u64, SourceError> {
    let expected = got.meta.size;
    let mut body = body(got);
    let mut came = 0;
    let mut window = (Instant::now(), 0);
    loop {
        let stalled = |came| SourceError::Stalled {
            object: object.name.clone(),
            came,
            least: TRICKLE,
            seconds: bounds.stall.as_secs_f64(),
        };
        let next = timeout(bounds.stall, body.next()).await.map_err(|_| stalled(came))?;
        let truncated =
            |why| SourceError::Truncated { object: object.name.clone(), expected, came, why };
        match next {
            Some(Ok(chunk)) => {
                came += chunk.len() as u64;
                // Whatever the store said before: memory and disk are bounded by what it said.
                if came > expected {
                    return Err(SourceError::Truncated {
                        object: object.name.clone(),
                        expected,
                        came,
                        why: String::new(),
                    });
                }
                take(&chunk)?;
            }
            Some(Err(error)) if came < expected => {
                let why = object.error(&error);
                return Err(truncated(format!(" ({why})")));
            }
            Some(Err(error)) => return Err(object.error(&error)),
            None if came < expected => return Err(truncated(String::new())),
            None => return Ok(came),
        }
        if window.0.elapsed() >= bounds.stall {
            if came - window.1 < TRICKLE {
                return Err(stalled(came));
            }
            window = (Instant::now(), came);
        }
    }
}

/// The bytes of an answer. The crate reads files of this machine 8 KiB at a time, each on another thread: a
/// gibibyte took more than a minute, and takes 10 s so, with syncing it.
fn body(got: GetResult) -> BoxStream<'static, object_store::Result<Bytes>> {
    let GetResultPayload::File(file, _) = got.payload else { return got.into_stream() };
    let pieces = stream::try_unfold(file, async |mut file| {
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; PIECE];
            let read = file.read(&mut piece)?;
            piece.truncate(read);
            Ok((piece, file))
        });
        let read = read.await?;
        let (piece, file) = read.map_err(|error: std::io::Error| object_store::Error::Generic {
            store: "file",
            source: Box::new(error),
        })?;
        Ok((!piece.is_empty()).then(|| (Bytes::from(piece), file)))
    });
    pieces.boxed()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;
    use object_store::path::Path;
    use object_store::{ObjectStoreExt, PutPayload};

    use super::*;

    const BOUNDS: Bounds = Bounds { stall: Duration::from_secs(5), most: 1000 };

    async fn object(bytes: &'static [u8]) -> Object {
        let store = Arc::new(InMemory::new());
        let path = Path::from("m/1/model.onnx");
        store.put(&path, PutPayload::from_static(bytes)).await.unwrap();
        Object { store, path, name: "s3://b/m/1/model.onnx".to_owned(), credentials: "me" }
    }

    fn cache() -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), "s3://b").unwrap();
        (dir, cache)
    }

    #[tokio::test]
    async fn what_is_as_expected_is_adopted_and_nothing_else_is() {
        let object = object(b"abc").await;
        let (_dir, cache) = cache();
        let digest = Digest::of(b"abc");
        for (expected, reason) in [
            (Expected { digest: Some(Digest::of(b"abd")), ..Expected::default() }, "digest"),
            (Expected { size: Some(4), ..Expected::default() }, "truncated"),
        ] {
            let error = fetch(&object, &expected, BOUNDS, &cache).await.err().unwrap();
            assert_eq!(error.reason(), reason, "{error}");
            assert!(error.to_string().contains("s3://b/m/1/model.onnx"), "{error}");
            assert!(!cache.holds(&digest));
        }
        let small = Bounds { most: 2, ..BOUNDS };
        let error = fetch(&object, &Expected::default(), small, &cache).await.err().unwrap();
        assert_eq!(
            error.to_string(),
            "s3://b/m/1/model.onnx has 3 bytes, more than --source-max-file-bytes 2"
        );
        let expected = Expected { size: Some(3), digest: Some(digest) };
        let came = fetch(&object, &expected, BOUNDS, &cache).await.unwrap();
        assert_eq!((came.digest, came.bytes), (digest, 3));
        assert!(cache.holds(&digest));
    }

    /// What the store says it has is three bytes.
    async fn body(
        chunks: Vec<(u64, object_store::Result<Bytes>)>,
    ) -> (Result<u64, SourceError>, Vec<u8>) {
        let object = object(b"abc").await;
        let mut got = object.store.get(&object.path).await.unwrap();
        let chunks = stream::iter(chunks).then(|(ms, chunk)| async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            chunk
        });
        got.payload = GetResultPayload::Stream(chunks.boxed());
        let mut all = Vec::new();
        let read = read(&object, got, BOUNDS, |chunk| {
            all.extend_from_slice(chunk);
            Ok(())
        });
        (read.await, all)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_short_long_broken_or_slow_is_told() {
        let bytes = |text: &'static str| Ok(Bytes::from_static(text.as_bytes()));
        let broken = || {
            let source = Box::new(std::io::Error::other("reset"));
            Err(object_store::Error::Generic { store: "S3", source })
        };
        for (chunks, says) in [
            (vec![(0, bytes("ab"))], "expected 3 bytes, 2 came"),
            (vec![(0, bytes("ab")), (0, bytes("cd"))], "expected 3 bytes, 4 came"),
            (vec![(0, bytes("a")), (0, broken())], "expected 3 bytes, 1 came (s3://b"),
            (vec![(0, bytes("a")), (6000, bytes("bc"))], "stalled: 1 bytes came"),
            (vec![(3000, bytes("a")), (3000, bytes("b")), (0, bytes("c"))], "stalled: 2 bytes"),
        ] {
            let told = body(chunks).await.0.unwrap_err().to_string();
            assert!(told.contains(says), "{told}");
        }
        let (read, all) = body(vec![(4000, bytes("ab")), (900, bytes("c"))]).await;
        assert_eq!((read.unwrap(), all), (3, b"abc".to_vec()));
    }

    #[tokio::test]
    async fn a_small_object_is_fetched_once() {
        let object = object(b"abc").await;
        let (bytes, etag) = fetch_small(&object, None, BOUNDS).await.unwrap().unwrap();
        assert_eq!(&bytes[..], b"abc");
        assert!(fetch_small(&object, etag, BOUNDS).await.unwrap().is_none());
    }
}

//! Messages in and out of HTTP/2 bodies (PROTOCOL-HTTP2.md of grpc/grpc, "Length-Prefixed-Message").
//!
//! Read here, and not by tonic, for two reasons. A message stays in the frames it came in, where
//! tonic joins them: a tensor is then copied once, into the batch, and not twice. And every byte
//! counts against the budget that REST bodies share, as it comes and not as it is claimed.

use std::io::Read as _;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use prost::Message;

use crate::error::InferError;
use crate::protocol::body::{Bodies, Share, held, unreadable};
use crate::tensor::Data;

/// Flag and length before each message.
const PREFIX: usize = 5;

/// How a message is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 1950, which gRPC calls so.
    Deflate,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Encoding {
    /// What `grpc-accept-encoding` offers.
    pub const OFFER: &str = "identity,deflate,gzip,zstd";

    /// The name in headers.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Deflate => "deflate",
            Encoding::Gzip => "gzip",
            Encoding::Zstd => "zstd",
        }
    }

    /// How the request's messages are compressed; one that is not known can't be read.
    pub fn of_request(headers: &HeaderMap) -> Result<Option<Encoding>, InferError> {
        let name = headers.get("grpc-encoding").map(|v| v.to_str().unwrap_or("?"));
        match name {
            None | Some("identity") => Ok(None),
            Some("deflate") => Ok(Some(Encoding::Deflate)),
            Some("gzip") => Ok(Some(Encoding::Gzip)),
            Some("zstd") => Ok(Some(Encoding::Zstd)),
            Some(other) => Err(InferError::Unimplemented(format!(
                "grpc-encoding `{other}` is not known here; there are {}",
                Encoding::OFFER
            ))),
        }
    }

    /// An answer is compressed as its request was, if its caller reads that.
    pub fn of_answer(self, headers: &HeaderMap) -> Option<Encoding> {
        let accepted = headers.get("grpc-accept-encoding")?.to_str().ok()?;
        accepted.split(',').any(|name| name.trim() == self.name()).then_some(self)
    }
}

/// A message that was read.
pub struct Incoming {
    /// Its share of the budget: to be held until it is answered.
    pub share: Share,
    /// Its bytes.
    pub packed: Packed,
}

/// A message's bytes as they came.
pub struct Packed {
    data: Data,
    encoding: Option<Encoding>,
}

/// Reads the messages of a request's body.
pub struct Messages {
    body: Body,
    encoding: Option<Encoding>,
    /// Came, and not yet given out.
    ahead: Data,
}

impl Messages {
    /// The messages of `body`.
    pub fn new(body: Body, encoding: Option<Encoding>) -> Messages {
        Messages { body, encoding, ahead: Data::new() }
    }

    /// The next message; `None` when the caller has sent all. It may be long in coming, but once
    /// it has begun it must be there within `patience`.
    pub async fn next(
        &mut self,
        bodies: &Bodies,
        patience: Duration,
    ) -> Result<Option<Incoming>, InferError> {
        let mut share = Share::default();
        if !self.fill(1, bodies, &mut share).await? {
            return Ok(None);
        }
        let read = tokio::time::timeout(patience, self.message(bodies, share)).await;
        read.unwrap_or_else(|_| Err(late())).map(Some)
    }

    async fn message(&mut self, bodies: &Bodies, mut share: Share) -> Result<Incoming, InferError> {
        if !self.fill(PREFIX, bodies, &mut share).await? {
            return Err(cut());
        }
        let mut reader = self.ahead.reader();
        let (flag, len) = (reader.get_u8(), reader.get_u32() as usize);
        // Told before it is read, and before anything is set aside for it.
        if len > bodies.limit() {
            return Err(InferError::TooLarge { limit: bodies.limit() });
        }
        let encoding = match (flag, self.encoding) {
            (0, _) => None,
            (1, Some(encoding)) => Some(encoding),
            (1, None) => {
                let message = "a message is compressed, but no grpc-encoding says how";
                return Err(InferError::Internal(message.to_owned()));
            }
            _ => return Err(InferError::Internal(format!("{flag} is no compression flag"))),
        };
        if !self.fill(PREFIX + len, bodies, &mut share).await? {
            return Err(cut());
        }
        let mut reader = self.ahead.reader();
        reader.advance(PREFIX);
        let data = reader.take_data(len);
        let left = reader.remaining();
        self.ahead = reader.take_data(left);
        Ok(Incoming { share, packed: Packed { data, encoding } })
    }

    /// The only message of a call that has one, if it comes within `patience`.
    pub async fn only(
        &mut self,
        bodies: &Bodies,
        patience: Duration,
    ) -> Result<Incoming, InferError> {
        let read = async {
            let mut share = Share::default();
            if !self.fill(1, bodies, &mut share).await? {
                return Err(InferError::Invalid("no message came".to_owned()));
            }
            let message = self.message(bodies, share).await?;
            if self.fill(1, bodies, &mut Share::default()).await? {
                return Err(InferError::Invalid("the call takes one message".to_owned()));
            }
            Ok(message)
        };
        tokio::time::timeout(patience, read).await.unwrap_or_else(|_| Err(late()))
    }

    /// Reads until there are `len` bytes; false if the body ended before.
    async fn fill(
        &mut self,
        len: usize,
        bodies: &Bodies,
        share: &mut Share,
    ) -> Result<bool, InferError> {
        while self.ahead.len() < len {
            let Some(frame) = self.body.frame().await else { return Ok(false) };
            if let Ok(data) = frame.map_err(unreadable)?.into_data() {
                self.ahead.push(data);
                bodies.grow(share, held(&self.ahead))?;
            }
        }
        Ok(true)
    }
}

fn late() -> InferError {
    InferError::Late("the request did not come within its time".to_owned())
}

fn cut() -> InferError {
    InferError::Invalid("the request ends within a message".to_owned())
}

impl Packed {
    /// Whether reading it takes more than looking at it.
    pub fn is_compressed(&self) -> bool {
        self.encoding.is_some()
    }

    /// The bytes, unpacked; what they unpack into is bounded by `limit`.
    pub fn unpack(self, limit: usize) -> Result<Data, InferError> {
        let Some(encoding) = self.encoding else { return Ok(self.data) };
        let mut unpacked = Vec::new();
        let packed = self.data.reader().reader();
        let bound = limit as u64 + 1;
        let read = match encoding {
            Encoding::Deflate => {
                flate2::read::ZlibDecoder::new(packed).take(bound).read_to_end(&mut unpacked)
            }
            Encoding::Gzip => {
                flate2::read::GzDecoder::new(packed).take(bound).read_to_end(&mut unpacked)
            }
            Encoding::Zstd => zstd::Decoder::new(packed)
                .and_then(|decoder| decoder.take(bound).read_to_end(&mut unpacked)),
        };
        read.map_err(|e| {
            InferError::Invalid(format!("a message can't be read as {}: {e}", encoding.name()))
        })?;
        if unpacked.len() > limit {
            return Err(InferError::TooLarge { limit });
        }
        Ok(Data::from(Bytes::from(unpacked)))
    }
}

/// Reads a message that is no tensor's.
pub fn decode<M: Message + Default>(data: Data) -> Result<M, InferError> {
    M::decode(data.reader())
        .map_err(|e| InferError::Invalid(format!("the message is no {}: {e}", type_name::<M>())))
}

fn type_name<M>() -> &'static str {
    let name = std::any::type_name::<M>();
    name.rsplit("::").next().unwrap_or(name)
}

/// A message as a frame.
pub fn encode(message: &impl Message, encoding: Option<Encoding>) -> Result<Bytes, InferError> {
    let len = message.encoded_len();
    let Some(encoding) = encoding else {
        let prefix = u32::try_from(len)
            .map_err(|_| InferError::Internal("the answer is larger than 4 GiB".to_owned()))?;
        let mut frame = BytesMut::with_capacity(PREFIX + len);
        frame.put_u8(0);
        frame.put_u32(prefix);
        message.encode_raw(&mut frame);
        return Ok(frame.freeze());
    };
    let (plain, fast) = (message.encode_to_vec(), flate2::Compression::fast());
    let mut packed = Vec::new();
    let packed = match encoding {
        Encoding::Deflate => flate2::read::ZlibEncoder::new(&plain[..], fast)
            .read_to_end(&mut packed)
            .map(|_| packed),
        Encoding::Gzip => {
            flate2::read::GzEncoder::new(&plain[..], fast).read_to_end(&mut packed).map(|_| packed)
        }
        Encoding::Zstd => zstd::encode_all(&plain[..], 1),
    };
    let packed = packed.map_err(|e| InferError::Internal(format!("{}: {e}", encoding.name())))?;
    let prefix = u32::try_from(packed.len())
        .map_err(|_| InferError::Internal("the answer is larger than 4 GiB".to_owned()))?;
    let mut frame = BytesMut::with_capacity(PREFIX + packed.len());
    frame.put_u8(1);
    frame.put_u32(prefix);
    frame.extend_from_slice(&packed);
    Ok(frame.freeze())
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;

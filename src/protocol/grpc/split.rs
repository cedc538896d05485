//! Messages with tensors in them, apart.
//!
//! prost joins a `bytes` field that came in several frames. Fields that may be large are taken out
//! before it sees them, as slices of the message.

use bytes::Buf;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint};

use crate::error::InferError;
use crate::tensor::{Data, Reader};

/// Reads a message, called `name`, without the bytes of its fields numbered `large`; and those, in
/// their order.
pub fn split<M: Message + Default>(
    data: &Data,
    large: u32,
    name: &str,
) -> Result<(M, Vec<Data>), InferError> {
    let read = || {
        let (mut reader, mut message, mut taken) = (data.reader(), M::default(), Vec::new());
        while reader.has_remaining() {
            let (number, wire_type) = decode_key(&mut reader)?;
            let mut ahead = reader.clone();
            if number == large
                && wire_type == WireType::LengthDelimited
                && let Some(bytes) = delimited(&mut ahead)?
            {
                taken.push(bytes);
                reader = ahead;
            } else {
                message.merge_field(number, wire_type, &mut reader, DecodeContext::default())?;
            }
        }
        Ok::<_, prost::DecodeError>((message, taken))
    };
    read().map_err(|e| InferError::Invalid(format!("the message is no {name}: {e}")))
}

/// `None` if fewer bytes are there than announced: prost has the words for that.
fn delimited(reader: &mut Reader<'_>) -> Result<Option<Data>, prost::DecodeError> {
    let len = decode_varint(reader)?;
    let len = usize::try_from(len).ok().filter(|len| *len <= reader.remaining());
    Ok(len.map(|len| reader.take_data(len)))
}

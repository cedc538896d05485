//! `TensorProto` into a tensor, in two steps: what it claims, which is cheap to tell, and then its
//! elements. `tensor_content` stays where it came; typed fields are read into a buffer, which is
//! made when it is known how large it will be.

use bytes::{Buf, Bytes};

use super::{data_type, typed};
use crate::error::InferError;
use crate::protocol::grpc::wire::{Field, Fields, varint};
use crate::protocol::pb::tensorflow::DataType;
use crate::tensor::{DType, Data, Tensor, elements};

/// What errors call it.
pub(super) const NAME: &str = "TensorProto";

/// Dimensions at most: tensor_shape.h of TensorFlow has it so.
const MAX_RANK: usize = 254;

/// What a `TensorProto` claims to be; its elements are not looked at yet.
#[derive(Debug)]
pub struct Scanned {
    dtype: DType,
    shape: Vec<usize>,
    content: Data,
    message: Data,
    strings: Strings,
}

/// What stands in `string_val`.
#[derive(Debug, Default)]
struct Strings {
    count: usize,
    bytes: usize,
    last: usize,
}

impl Scanned {
    /// Reads all but the elements.
    pub fn scan(message: Data) -> Result<Scanned, InferError> {
        let (mut dtype, mut shape, mut content) = (0, Vec::new(), Data::new());
        let mut strings = Strings::default();
        for field in Fields::new(&message, NAME) {
            let field = field?;
            match field.number {
                1 => dtype = field.varint()? as i32,
                2 => read_shape(field, &mut shape)?,
                4 => content = field.data()?,
                typed::STRING_VAL => strings.add(field.data()?.len()),
                _ => {}
            }
        }
        let dtype = element_type(dtype).map_err(InferError::Invalid)?;
        Ok(Scanned { dtype, shape, content, message, strings })
    }

    /// Bytes that take work: those of typed fields.
    pub fn work(&self) -> usize {
        if self.is_raw() { 0 } else { self.message.len() }
    }

    /// Bytes that the tensor takes; no more than `limit`. Nothing is made before this is known.
    fn size(&self, limit: usize) -> Result<usize, InferError> {
        let elements = elements(&self.shape).map_err(invalid)?;
        let size = match self.dtype.size() {
            Some(size) => elements.checked_mul(size),
            None if self.is_raw() => {
                elements.checked_mul(4).and_then(|n| n.checked_add(self.content.len()))
            }
            None => self.strings.size(elements),
        };
        size.filter(|size| *size <= limit).ok_or_else(|| {
            let Scanned { dtype, shape, .. } = self;
            InferError::Invalid(format!(
                "{dtype} {shape:?} takes more than the {limit} bytes there are for a request's \
                 tensors (--max-body-bytes)"
            ))
        })
    }

    /// What the tensor takes beyond the bytes that came, since a value may stand for many.
    pub fn growth(&self, limit: usize) -> Result<usize, InferError> {
        Ok(self.size(limit)?.saturating_sub(self.message.len()))
    }

    /// The tensor; one of more than `limit` bytes is refused.
    pub fn tensor(self, limit: usize) -> Result<Tensor, InferError> {
        let size = self.size(limit)?;
        let count: usize = self.shape.iter().product();
        let data = match (self.dtype, self.is_raw()) {
            (DType::Bytes, true) => strings(&self.content, count)?,
            (DType::Bytes, false) => typed::strings(&self.message, count, size)?,
            (DType::Bool, true) => booleans(self.content)?,
            (_, true) => self.content,
            (dtype, false) => typed::numbers(&self.message, dtype, size)?,
        };
        Tensor::new(self.dtype, self.shape, data).map_err(invalid)
    }

    fn is_raw(&self) -> bool {
        !self.content.is_empty()
    }
}

impl Strings {
    fn add(&mut self, len: usize) {
        // None is longer than the message, so the sum is not either.
        (self.count, self.bytes, self.last) = (self.count + 1, self.bytes + len, len);
    }

    /// Bytes of `elements` strings with their lengths before them, where the last one stands for
    /// all that did not come.
    fn size(&self, elements: usize) -> Option<usize> {
        let rest = elements.saturating_sub(self.count).checked_mul(self.last)?;
        elements.max(self.count).checked_mul(4)?.checked_add(self.bytes)?.checked_add(rest)
    }
}

fn invalid(what: impl std::fmt::Display) -> InferError {
    InferError::Invalid(what.to_string())
}

fn read_shape(field: Field, shape: &mut Vec<usize>) -> Result<(), InferError> {
    for field in Fields::new(&field.data()?, "TensorShapeProto") {
        let field = field?;
        match field.number {
            2 if shape.len() == MAX_RANK => {
                return Err(invalid(format!("the shape has more than {MAX_RANK} dimensions")));
            }
            2 => {
                let size = read_dim(field)?;
                shape.push(usize::try_from(size).map_err(|_| {
                    invalid(format!("dimension {} of the shape is {size}", shape.len()))
                })?);
            }
            3 if field.varint()? != 0 => return Err(invalid("the shape is of unknown rank")),
            _ => {}
        }
    }
    Ok(())
}

fn read_dim(field: Field) -> Result<i64, InferError> {
    let mut size = 0;
    for field in Fields::new(&field.data()?, "TensorShapeProto.Dim") {
        let field = field?;
        if field.number == 1 {
            size = field.varint()? as i64;
        }
    }
    Ok(size)
}

fn element_type(number: i32) -> Result<DType, String> {
    let known = DType::ALL.into_iter().find(|d| i32::from(data_type(*d)) == number);
    known.ok_or_else(|| match DataType::try_from(number) {
        Ok(DataType::DtInvalid) => "dtype is not set".to_owned(),
        Ok(other) => format!("{} is not supported", other.as_str_name()),
        Err(_) => format!("dtype {number} is not known"),
    })
}

/// A byte that is neither true nor false is undefined behaviour to who takes it for a boolean.
fn booleans(content: Data) -> Result<Data, InferError> {
    match content.pieces().iter().flat_map(|piece| piece.iter()).find(|byte| **byte > 1) {
        None => Ok(content),
        Some(byte) => Err(invalid(format!("tensor_content holds the boolean {byte}"))),
    }
}

/// `EncodeStringList` of tensorflow/core/platform/tensor_coding.cc: all lengths, then all bytes.
fn strings(content: &Data, count: usize) -> Result<Data, InferError> {
    let wrong = || invalid(format!("tensor_content does not hold {count} strings"));
    // A length takes a byte at least.
    if count > content.len() {
        return Err(wrong());
    }
    let (mut lengths, mut bytes) = (content.reader(), content.reader());
    for _ in 0..count {
        varint(&mut bytes, NAME)?;
    }
    let mut out = Vec::with_capacity(4 * count + bytes.remaining());
    for _ in 0..count {
        let len = varint(&mut lengths, NAME)?;
        let len = u32::try_from(len).ok().filter(|len| *len as usize <= bytes.remaining());
        let len = len.ok_or_else(wrong)?;
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&bytes.copy_to_bytes(len as usize));
    }
    if bytes.has_remaining() { Err(wrong()) } else { Ok(Data::from(Bytes::from(out))) }
}

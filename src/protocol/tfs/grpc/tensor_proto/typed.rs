//! The typed fields of a `TensorProto` into flat bytes, by the rule of `FromProtoField` in tensor.cc:
//! the last value stands for all that did not come, and zero where none did. Values that are too
//! many are an error here, where TensorFlow passes over them.

use bytes::Bytes;

use super::decode::NAME;
use crate::error::InferError;
use crate::protocol::grpc::wire::{Field, Fields, Value};
use crate::tensor::{DType, Data};

/// The field of strings.
pub const STRING_VAL: u32 = 8;

/// The field that holds the elements of `dtype`.
const fn field_of(dtype: DType) -> (u32, &'static str) {
    match dtype {
        DType::F32 => (5, "float_val"),
        DType::F64 => (6, "double_val"),
        DType::I32 | DType::I16 | DType::U16 | DType::I8 | DType::U8 => (7, "int_val"),
        DType::Bytes => (STRING_VAL, "string_val"),
        DType::I64 => (10, "int64_val"),
        DType::Bool => (11, "bool_val"),
        DType::F16 | DType::BF16 => (13, "half_val"),
        DType::U32 => (16, "uint32_val"),
        DType::U64 => (17, "uint64_val"),
    }
}

/// Numbers of `dtype`, as exactly `size` bytes.
pub fn numbers(message: &Data, dtype: DType, size: usize) -> Result<Data, InferError> {
    let (number, name) = field_of(dtype);
    let mut values = Values { dtype, name, size, whole: Data::new(), bytes: Vec::new() };
    for field in Fields::new(message, NAME) {
        let field = field?;
        if field.number == number {
            values.add(&field)?;
        }
    }
    if values.whole.len() == size {
        return Ok(values.whole);
    }
    values.join();
    let mut bytes = values.bytes;
    if bytes.is_empty() {
        return Ok(Data::from(Bytes::from(vec![0; size])));
    }
    // From here on all are copies of the last value.
    let last = bytes.len() - dtype.size().unwrap_or(1);
    while bytes.len() < size {
        let end = bytes.len().min(last + size - bytes.len());
        bytes.extend_from_within(last..end);
    }
    Ok(Data::from(Bytes::from(bytes)))
}

/// `count` strings, each with its length before it: `size` bytes in all.
pub fn strings(message: &Data, count: usize, size: usize) -> Result<Data, InferError> {
    let mut bytes = Vec::with_capacity(size);
    let (mut seen, mut last) = (0, Data::new());
    let mut push = |string: &Data| {
        bytes.extend_from_slice(&(string.len() as u32).to_le_bytes());
        string.pieces().iter().for_each(|piece| bytes.extend_from_slice(piece));
    };
    for field in Fields::new(message, NAME) {
        let field = field?;
        if field.number == STRING_VAL {
            if seen == count {
                return Err(too_many("string_val", count));
            }
            last = field.data()?;
            push(&last);
            seen += 1;
        }
    }
    (seen..count).for_each(|_| push(&last));
    Ok(Data::from(Bytes::from(bytes)))
}

/// Numbers on their way in.
struct Values {
    dtype: DType,
    name: &'static str,
    /// Bytes that all elements take.
    size: usize,
    /// Floats that came packed and alone are the tensor's bytes already.
    whole: Data,
    bytes: Vec<u8>,
}

impl Values {
    fn add(&mut self, field: &Field) -> Result<(), InferError> {
        match (&field.value, self.dtype) {
            (Value::Data(packed), DType::F32 | DType::F64) => {
                if !packed.len().is_multiple_of(self.width()) {
                    return Err(field.wrong("ends within a number"));
                }
                if self.whole.len() + self.bytes.len() + packed.len() > self.size {
                    return Err(self.too_many());
                }
                if self.whole.is_empty() && self.bytes.is_empty() {
                    self.whole = packed.clone();
                } else {
                    self.join();
                    packed.pieces().iter().for_each(|p| self.bytes.extend_from_slice(p));
                }
                Ok(())
            }
            (Value::Fixed32(bits), DType::F32) => self.push(&bits.to_le_bytes()),
            (Value::Fixed64(bits), DType::F64) => self.push(&bits.to_le_bytes()),
            (_, DType::F32 | DType::F64) => Err(field.wrong("holds no floats")),
            _ => field.each_varint(|value| self.integer(value)),
        }
    }

    /// What came as it is goes before what comes one by one.
    fn join(&mut self) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve_exact(self.size);
        }
        let whole = std::mem::take(&mut self.whole);
        whole.pieces().iter().for_each(|piece| self.bytes.extend_from_slice(piece));
    }

    fn push(&mut self, element: &[u8]) -> Result<(), InferError> {
        if self.bytes.capacity() == 0 || !self.whole.is_empty() {
            self.join();
        }
        if self.bytes.len() + element.len() > self.size {
            return Err(self.too_many());
        }
        self.bytes.extend_from_slice(element);
        Ok(())
    }

    fn integer(&mut self, value: u64) -> Result<(), InferError> {
        // A field of 32 bits takes the lower ones of a longer number (protobuf.dev, "Encoding").
        let int = value as i32;
        let out_of_range = || {
            let (dtype, name) = (self.dtype, self.name);
            InferError::Invalid(format!("{name}: {int} is out of the range of {dtype}"))
        };
        match self.dtype {
            DType::U8 => self.push(&[u8::try_from(int).map_err(|_| out_of_range())?]),
            DType::I8 => self.push(&i8::try_from(int).map_err(|_| out_of_range())?.to_le_bytes()),
            DType::U16 => self.push(&u16::try_from(int).map_err(|_| out_of_range())?.to_le_bytes()),
            DType::I16 => self.push(&i16::try_from(int).map_err(|_| out_of_range())?.to_le_bytes()),
            // Sixteen bits, which some clients take for a signed number.
            DType::F16 | DType::BF16 if (-0x8000..0x1_0000).contains(&int) => {
                self.push(&(int as u16).to_le_bytes())
            }
            DType::F16 | DType::BF16 => Err(out_of_range()),
            DType::Bool => self.push(&[u8::from(value != 0)]),
            DType::I64 | DType::U64 => self.push(&value.to_le_bytes()),
            _ => self.push(&int.to_le_bytes()),
        }
    }

    fn width(&self) -> usize {
        self.dtype.size().unwrap_or(1)
    }

    fn too_many(&self) -> InferError {
        too_many(self.name, self.size / self.width())
    }
}

#[cold]
fn too_many(name: &str, wanted: usize) -> InferError {
    InferError::Invalid(format!("{name} has more values than the shape's {wanted}"))
}

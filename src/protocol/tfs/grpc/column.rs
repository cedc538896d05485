//! One input's values on their way from examples into a tensor, row by row.

use bytes::Bytes;
use half::{bf16, f16};

use super::example::choice;
use crate::engine::{Dim, TensorSpec};
use crate::error::InferError;
use crate::input::InputValue;
use crate::protocol::grpc::wire::{Fields, Value};
use crate::tensor::{DType, Data, Tensor};

/// Bytes that a request's inputs may still take.
pub struct Room(pub usize);

impl Room {
    fn take(&mut self, bytes: usize) -> Result<(), InferError> {
        self.0 = self.0.checked_sub(bytes).ok_or_else(|| {
            invalid("the examples take more bytes than a request may (--max-body-bytes)")
        })?;
        Ok(())
    }
}

/// Collects the values of one input.
pub struct Column<'a> {
    /// The input.
    pub spec: &'a TensorSpec,
    takes_images: bool,
    rows: usize,
    /// Values in each row, once that is known.
    width: Option<usize>,
    bytes: Vec<u8>,
    images: Vec<Bytes>,
}

impl<'a> Column<'a> {
    /// No row yet, of `rows` that will come.
    pub fn new(spec: &'a TensorSpec, takes_images: bool, rows: usize) -> Column<'a> {
        Column { spec, takes_images, rows, width: None, bytes: Vec::new(), images: Vec::new() }
    }

    /// The next row: a `Feature`.
    pub fn row(&mut self, feature: &Data, room: &mut Room) -> Result<(), InferError> {
        let Some((kind, list)) = choice(feature, "Feature")? else {
            return Err(invalid("the feature has no values"));
        };
        let (mut count, images) = (0, self.images.len());
        for field in Fields::new(&list, "Feature") {
            let field = field?;
            if field.number != 1 {
                continue;
            }
            match (kind, &field.value) {
                (1, _) => {
                    self.string(&field.data()?, room)?;
                    count += 1;
                }
                (2, Value::Fixed32(bits)) => {
                    self.float(f32::from_bits(*bits), room)?;
                    count += 1;
                }
                (2, Value::Data(packed)) => count += self.floats(packed, room)?,
                (2, _) => return Err(field.wrong("holds no floats")),
                _ => field.each_varint(|value| {
                    count += 1;
                    self.integer(value as i64, room)
                })?,
            }
        }
        if self.images.len() > images {
            return match count {
                1 => Ok(()),
                n => Err(invalid(format!("expected one image a row, got {n}"))),
            };
        }
        self.end_row(count)
    }

    /// The rows are of one width, which the shape gives unless a dimension is left open.
    fn end_row(&mut self, count: usize) -> Result<(), InferError> {
        if !self.images.is_empty() {
            return Err(invalid("a row has elements where others have images"));
        }
        let width = match self.width {
            Some(width) => width,
            None => *self.width.insert(self.width_of(count)?),
        };
        if count == width {
            return Ok(());
        }
        Err(invalid(format!("a row of {} has {width} values, got {count}", self.spec)))
    }

    /// The width that fits a row of `count` values.
    fn width_of(&self, count: usize) -> Result<usize, InferError> {
        let inner = self.spec.shape.get(1..);
        let inner = inner.ok_or_else(|| invalid(format!("{} has no rows", self.spec)))?;
        let fixed = |dim: &Dim| if let Dim::Fixed(n) = dim { Some(*n) } else { None };
        let product = inner.iter().filter_map(fixed).try_fold(1usize, |p, n| p.checked_mul(n));
        let product = product.ok_or_else(|| invalid(format!("{} is too large", self.spec)))?;
        match inner.iter().filter(|dim| fixed(dim).is_none()).count() {
            0 => Ok(product),
            1 => Ok(product * (count / product.max(1)).max(1)),
            _ => Err(invalid(format!("a row of {} has no one shape; use Predict", self.spec))),
        }
    }

    fn string(&mut self, string: &Data, room: &mut Room) -> Result<(), InferError> {
        room.take(4 + string.len())?;
        if self.takes_images {
            if !self.bytes.is_empty() {
                return Err(invalid("a row has an image where others have elements"));
            }
            self.images.push(string.to_bytes());
            return Ok(());
        }
        if self.spec.dtype != DType::Bytes {
            return Err(self.unlike("bytes_list"));
        }
        self.bytes.extend_from_slice(&(string.len() as u32).to_le_bytes());
        string.pieces().iter().for_each(|piece| self.bytes.extend_from_slice(piece));
        Ok(())
    }

    fn floats(&mut self, packed: &Data, room: &mut Room) -> Result<usize, InferError> {
        if !packed.len().is_multiple_of(4) {
            return Err(invalid("float_list ends within a number"));
        }
        if self.spec.dtype == DType::F32 {
            room.take(packed.len())?;
            packed.pieces().iter().for_each(|piece| self.bytes.extend_from_slice(piece));
        } else {
            for float in packed.to_bytes().as_chunks().0 {
                self.float(f32::from_le_bytes(*float), room)?;
            }
        }
        Ok(packed.len() / 4)
    }

    fn float(&mut self, value: f32, room: &mut Room) -> Result<(), InferError> {
        match self.spec.dtype {
            DType::F32 => self.put(value.to_le_bytes(), room),
            DType::F64 => self.put(f64::from(value).to_le_bytes(), room),
            DType::F16 => self.put(f16::from_f32(value).to_le_bytes(), room),
            DType::BF16 => self.put(bf16::from_f32(value).to_le_bytes(), room),
            _ => Err(self.unlike("float_list")),
        }
    }

    fn integer(&mut self, value: i64, room: &mut Room) -> Result<(), InferError> {
        let dtype = self.spec.dtype;
        let out = |_| invalid(format!("{value} is out of the range of {dtype}"));
        match dtype {
            DType::Bool if (0..=1).contains(&value) => self.put([value as u8], room),
            DType::Bool => Err(invalid(format!("{value} is neither 0 nor 1, as {dtype} is"))),
            DType::U8 => self.put(u8::try_from(value).map_err(out)?.to_le_bytes(), room),
            DType::I8 => self.put(i8::try_from(value).map_err(out)?.to_le_bytes(), room),
            DType::U16 => self.put(u16::try_from(value).map_err(out)?.to_le_bytes(), room),
            DType::I16 => self.put(i16::try_from(value).map_err(out)?.to_le_bytes(), room),
            DType::U32 => self.put(u32::try_from(value).map_err(out)?.to_le_bytes(), room),
            DType::I32 => self.put(i32::try_from(value).map_err(out)?.to_le_bytes(), room),
            DType::U64 => self.put(u64::try_from(value).map_err(out)?.to_le_bytes(), room),
            DType::I64 => self.put(value.to_le_bytes(), room),
            DType::F64 => self.put((value as f64).to_le_bytes(), room),
            DType::F32 | DType::F16 | DType::BF16 => self.float(value as f32, room),
            DType::Bytes => Err(self.unlike("int64_list")),
        }
    }

    fn put<const N: usize>(&mut self, bytes: [u8; N], room: &mut Room) -> Result<(), InferError> {
        room.take(N)?;
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    /// The input's value.
    pub fn finish(self) -> Result<InputValue, InferError> {
        if !self.images.is_empty() {
            return Ok(InputValue::Images(self.images));
        }
        let width = self.width.unwrap_or_default();
        let fixed = |dim: &Dim| if let Dim::Fixed(n) = dim { Some(*n) } else { None };
        let inner = self.spec.shape.get(1..).unwrap_or_default();
        let product: usize = inner.iter().filter_map(fixed).product();
        let open = width / product.max(1);
        let inner = inner.iter().map(|dim| fixed(dim).unwrap_or(open));
        let shape = std::iter::once(self.rows).chain(inner).collect();
        let tensor = Tensor::new(self.spec.dtype, shape, Bytes::from(self.bytes)).map_err(invalid);
        tensor.map(InputValue::Tensor)
    }

    fn unlike(&self, got: &str) -> InferError {
        let dtype = self.spec.dtype;
        match self.takes_images {
            true => invalid(format!("expected {dtype} or an encoded image, got {got}")),
            false => invalid(format!("expected {dtype}, got {got}")),
        }
    }
}

fn invalid(what: impl std::fmt::Display) -> InferError {
    InferError::Invalid(what.to_string())
}

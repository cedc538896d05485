//! The one currency of the data path: a dtype, a shape and bytes.
//!
//! Anyone may use this module; it uses none of the others. A [`Tensor`] is checked once, when it
//! is made, so that `shape × dtype` and the length of its data agree ever after. Its data is
//! row-major, little-endian and shared: slicing and joining rows copies nothing.

mod data;
mod dtype;

use std::fmt;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

pub use data::{Data, Reader};
pub use dtype::DType;

/// Why bytes are not the tensor they claim to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// The product of the dimensions does not fit in memory.
    #[error("shape {0:?} has more elements than memory has bytes")]
    Overflow(Vec<usize>),
    /// The data is shorter or longer than shape and dtype ask for.
    #[error("shape {shape:?} of {dtype} takes {expected} bytes, got {got}")]
    Length {
        /// Element type.
        dtype: DType,
        /// Claimed shape.
        shape: Vec<usize>,
        /// Bytes the shape takes.
        expected: usize,
        /// Bytes that came.
        got: usize,
    },
    /// Length prefixes of byte strings don't add up.
    #[error("shape {shape:?} of BYTES: element {index} does not fit in the data")]
    Strings {
        /// Claimed shape.
        shape: Vec<usize>,
        /// The first element that is cut off, or the count if bytes are left over.
        index: usize,
    },
}

/// A dense, row-major, little-endian tensor. The first dimension counts rows.
#[derive(Clone, PartialEq, Eq)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    data: Data,
}

impl Tensor {
    /// Checks that `data` is what `shape` and `dtype` say, and takes it without copying; only
    /// byte strings that came in pieces are joined.
    pub fn new(
        dtype: DType,
        shape: Vec<usize>,
        data: impl Into<Data>,
    ) -> Result<Tensor, TensorError> {
        let mut data = data.into();
        let elements = elements(&shape)?;
        match dtype.size() {
            Some(size) => {
                let expected = elements
                    .checked_mul(size)
                    .ok_or_else(|| TensorError::Overflow(shape.clone()))?;
                if expected != data.len() {
                    let got = data.len();
                    return Err(TensorError::Length { dtype, shape, expected, got });
                }
            }
            None => {
                let joined = data.to_bytes();
                let end = string_offset(&joined, elements)
                    .map_err(|index| TensorError::Strings { shape: shape.clone(), index })?;
                if end != joined.len() {
                    return Err(TensorError::Strings { shape, index: elements });
                }
                data = Data::from(joined);
            }
        }
        Ok(Tensor { dtype, shape, data })
    }

    /// A copy in memory of its own, which holds nothing else back.
    pub fn apart(&self) -> Tensor {
        let mut data = BytesMut::with_capacity(self.data.len());
        self.data.pieces().iter().for_each(|piece| data.put_slice(piece));
        Tensor { dtype: self.dtype, shape: self.shape.clone(), data: Data::from(data.freeze()) }
    }

    /// An `f32` tensor from values, for tests and for what is computed here.
    pub fn from_f32(shape: Vec<usize>, values: &[f32]) -> Result<Tensor, TensorError> {
        let mut data = BytesMut::with_capacity(values.len() * 4);
        values.iter().for_each(|v| data.put_f32_le(*v));
        Tensor::new(DType::F32, shape, data.freeze())
    }

    /// A tensor of any numeric type from values, rounded to it: for what people write. Byte strings have
    /// no numbers, and come out as too short.
    pub fn from_f64s(
        dtype: DType,
        shape: Vec<usize>,
        values: &[f64],
    ) -> Result<Tensor, TensorError> {
        let mut data = BytesMut::with_capacity(values.len() * 8);
        for v in values.iter().copied() {
            match dtype {
                DType::F64 => data.put_f64_le(v),
                DType::F32 => data.put_f32_le(v as f32),
                DType::F16 => data.put_slice(&half::f16::from_f64(v).to_le_bytes()),
                DType::BF16 => data.put_slice(&half::bf16::from_f64(v).to_le_bytes()),
                DType::I8 => data.put_i8(v as i8),
                DType::I16 => data.put_i16_le(v as i16),
                DType::I32 => data.put_i32_le(v as i32),
                DType::I64 => data.put_i64_le(v as i64),
                DType::U8 => data.put_u8(v as u8),
                DType::U16 => data.put_u16_le(v as u16),
                DType::U32 => data.put_u32_le(v as u32),
                DType::U64 => data.put_u64_le(v as u64),
                DType::Bool => data.put_u8(u8::from(v != 0.0)),
                DType::Bytes => {}
            }
        }
        Tensor::new(dtype, shape, data.freeze())
    }

    /// A tensor of zeros (of empty strings, for byte strings).
    pub fn zeros(dtype: DType, shape: Vec<usize>) -> Result<Tensor, TensorError> {
        let size = dtype.size().unwrap_or(4);
        let bytes = elements(&shape)?
            .checked_mul(size)
            .ok_or_else(|| TensorError::Overflow(shape.clone()))?;
        Tensor::new(dtype, shape, Bytes::from(vec![0; bytes]))
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Dimensions, rows first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements' bytes, in as many pieces as they came.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The elements' bytes in one piece; copies only what came in several.
    pub fn bytes(&self) -> Bytes {
        self.data.to_bytes()
    }

    /// Length of the first dimension; a scalar is one row.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Rows `range`, sharing the data. Asks for rows that exist.
    pub fn slice_rows(&self, range: Range<usize>) -> Tensor {
        let rows = self.rows();
        debug_assert!(range.start <= range.end && range.end <= rows);
        if range == (0..rows) || self.shape.is_empty() {
            return self.clone();
        }
        let mut shape = self.shape.clone();
        shape[0] = range.len();
        let data = match self.dtype.size() {
            Some(_) => {
                let row = self.data.len() / rows;
                self.data.slice(range.start * row..range.end * row)
            }
            None => {
                let row: usize = self.shape[1..].iter().product();
                let data = self.bytes();
                // The prefixes were walked in `new`, so both offsets exist.
                let at = |r: usize| string_offset(&data, r * row).unwrap_or(data.len());
                self.data.slice(at(range.start)..at(range.end))
            }
        };
        Tensor { dtype: self.dtype, shape, data }
    }

    /// Joins tensors along the rows; all must agree in dtype and in every other dimension.
    /// `None` if they don't, or if there is none.
    pub fn concat_rows(parts: &[Tensor]) -> Option<Tensor> {
        let (first, rest) = parts.split_first()?;
        if rest.is_empty() {
            return Some(first.clone());
        }
        let same = |t: &Tensor| t.dtype == first.dtype && t.shape.get(1..) == first.shape.get(1..);
        if first.shape.is_empty() || !rest.iter().all(same) {
            return None;
        }
        let mut data = Data::new();
        parts.iter().for_each(|t| data.append(&t.data));
        if first.dtype == DType::Bytes {
            data = Data::from(data.to_bytes());
        }
        let mut shape = first.shape.clone();
        shape[0] = parts.iter().map(Tensor::rows).sum();
        Some(Tensor { dtype: first.dtype, shape, data })
    }

    /// The elements as `f32`, whatever numeric type they have; `None` for byte strings.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        fn each<const N: usize>(data: &[u8], f: impl Fn([u8; N]) -> f32) -> Vec<f32> {
            data.as_chunks::<N>().0.iter().map(|c| f(*c)).collect()
        }
        let joined = self.bytes();
        let d = &joined[..];
        Some(match self.dtype {
            DType::F32 => each(d, f32::from_le_bytes),
            DType::F64 => each(d, |b| f64::from_le_bytes(b) as f32),
            DType::F16 => each(d, |b| half::f16::from_le_bytes(b).to_f32()),
            DType::BF16 => each(d, |b| half::bf16::from_le_bytes(b).to_f32()),
            DType::Bool | DType::U8 => each(d, |b: [u8; 1]| f32::from(b[0])),
            DType::I8 => each(d, |b| f32::from(i8::from_le_bytes(b))),
            DType::U16 => each(d, |b| f32::from(u16::from_le_bytes(b))),
            DType::I16 => each(d, |b| f32::from(i16::from_le_bytes(b))),
            DType::U32 => each(d, |b| u32::from_le_bytes(b) as f32),
            DType::I32 => each(d, |b| i32::from_le_bytes(b) as f32),
            DType::U64 => each(d, |b| u64::from_le_bytes(b) as f32),
            DType::I64 => each(d, |b| i64::from_le_bytes(b) as f32),
            DType::Bytes => return None,
        })
    }

    /// The elements of a byte-string tensor; empty for every other dtype.
    pub fn strings(&self) -> Vec<Bytes> {
        let mut out = Vec::new();
        let (mut at, data) = (0, self.bytes());
        while self.dtype == DType::Bytes && at < data.len() {
            let end = string_offset(&data[at..], 1).unwrap_or(data.len() - at) + at;
            out.push(data.slice(at + 4..end));
            at = end;
        }
        out
    }

    /// A tensor of byte strings.
    pub fn from_strings<S: AsRef<[u8]>>(
        shape: Vec<usize>,
        strings: &[S],
    ) -> Result<Tensor, TensorError> {
        let bytes = strings.iter().map(|s| 4 + s.as_ref().len()).sum();
        let mut data = BytesMut::with_capacity(bytes);
        for (index, string) in strings.iter().enumerate() {
            let len = u32::try_from(string.as_ref().len())
                .map_err(|_| TensorError::Strings { shape: shape.clone(), index })?;
            data.put_u32_le(len);
            data.extend_from_slice(string.as_ref());
        }
        Tensor::new(DType::Bytes, shape, data.freeze())
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {:?}, {} bytes)", self.dtype, self.shape, self.data.len())
    }
}

/// The number of elements of a shape.
pub fn elements(shape: &[usize]) -> Result<usize, TensorError> {
    shape
        .iter()
        .try_fold(1usize, |n, d| n.checked_mul(*d))
        .ok_or_else(|| TensorError::Overflow(shape.to_vec()))
}

/// Where the first `count` length-prefixed strings end, or the index of the first cut one.
fn string_offset(data: &[u8], count: usize) -> Result<usize, usize> {
    let mut at = 0usize;
    for index in 0..count {
        let prefix = data.get(at..).and_then(|d| d.first_chunk::<4>()).ok_or(index)?;
        let end = (at + 4).checked_add(u32::from_le_bytes(*prefix) as usize).ok_or(index)?;
        if end > data.len() {
            return Err(index);
        }
        at = end;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_data_of_another_length() {
        let short = Tensor::new(DType::F32, vec![2, 3], Bytes::from(vec![0; 23]));
        assert!(matches!(short, Err(TensorError::Length { expected: 24, got: 23, .. })));
    }

    #[test]
    fn refuses_a_shape_that_overflows() {
        let shape = vec![usize::MAX, 2];
        assert_eq!(
            Tensor::new(DType::U8, shape.clone(), Bytes::new()),
            Err(TensorError::Overflow(shape))
        );
    }

    #[test]
    fn slices_and_joins_rows_without_losing_any() {
        let t = Tensor::from_f32(vec![3, 2], &[0., 1., 2., 3., 4., 5.]).unwrap();
        let parts = [t.slice_rows(0..1), t.slice_rows(1..3)];
        assert_eq!(parts[1].to_f32().unwrap(), [2., 3., 4., 5.]);
        assert_eq!(Tensor::concat_rows(&parts).unwrap(), t);
    }

    #[test]
    fn walks_byte_strings() {
        let data = Bytes::from_static(b"\x02\0\0\0hi\0\0\0\0\x01\0\0\0!");
        let t = Tensor::new(DType::Bytes, vec![3], data).unwrap();
        assert_eq!(t.strings(), [&b"hi"[..], b"", b"!"]);
        assert_eq!(t.slice_rows(1..3).strings(), [&b""[..], b"!"]);
        let cut = Tensor::new(DType::Bytes, vec![1], Bytes::from_static(b"\x09\0\0\0hi"));
        assert!(matches!(cut, Err(TensorError::Strings { index: 0, .. })));
    }
}

//! Elements into text.

use bytes::Bytes;
use serde::Serialize;

use crate::tensor::{DType, Tensor};

/// Walks a tensor's elements in order.
pub struct Elements {
    dtype: DType,
    data: Bytes,
    /// Where the next element starts.
    at: usize,
}

impl Elements {
    /// From the first on.
    pub fn new(tensor: &Tensor) -> Elements {
        Elements { dtype: tensor.dtype(), data: tensor.bytes(), at: 0 }
    }

    /// Writes the next element. The two-byte floats are written as numbers too, for which Triton
    /// has no JSON.
    #[inline]
    pub fn write(&mut self, out: &mut Vec<u8>) {
        use half::{bf16, f16};
        match self.dtype {
            DType::F32 => float(out, f32::from_le_bytes(self.take())),
            DType::F64 => float(out, f64::from_le_bytes(self.take())),
            DType::F16 => float(out, f16::from_le_bytes(self.take()).to_f32()),
            DType::BF16 => float(out, bf16::from_le_bytes(self.take()).to_f32()),
            DType::Bool => {
                let [byte] = self.take();
                out.extend_from_slice(if byte == 0 { b"false" } else { b"true" });
            }
            DType::U8 => number(out, u8::from_le_bytes(self.take())),
            DType::U16 => number(out, u16::from_le_bytes(self.take())),
            DType::U32 => number(out, u32::from_le_bytes(self.take())),
            DType::U64 => number(out, u64::from_le_bytes(self.take())),
            DType::I8 => number(out, i8::from_le_bytes(self.take())),
            DType::I16 => number(out, i16::from_le_bytes(self.take())),
            DType::I32 => number(out, i32::from_le_bytes(self.take())),
            DType::I64 => number(out, i64::from_le_bytes(self.take())),
            DType::Bytes => {
                let text = String::from_utf8_lossy(self.bytes());
                string(out, &text);
            }
        }
    }

    /// The next element of a tensor of byte strings.
    pub fn bytes(&mut self) -> &[u8] {
        let len = u32::from_le_bytes(self.take()) as usize;
        let start = self.at;
        self.at += len;
        self.data.get(start..self.at).unwrap_or_default()
    }

    /// A tensor's data is as long as its shape says, so nobody asks for more than there is.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let bytes = self.data.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        self.at += N;
        bytes.copied().unwrap_or([0; N])
    }
}

/// The shortest text that reads back as the same value; whole floats keep a `.0`.
pub fn number(out: &mut Vec<u8>, value: impl Serialize) {
    // A number always serialises.
    let _ = serde_json::to_writer(out, &value);
}

/// As [`number`]. JSON has no word for what is not finite; TensorFlow Serving's and Triton's are
/// written, which Python's `json` reads. Nothing else could tell a client which of them it was.
pub fn float(out: &mut Vec<u8>, value: impl Into<f64> + Serialize + Copy) {
    let wide: f64 = value.into();
    if wide.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if wide.is_infinite() {
        out.extend_from_slice(if wide > 0.0 { b"Infinity" } else { b"-Infinity" });
    } else {
        number(out, value);
    }
}

/// Text in quotes.
pub fn string(out: &mut Vec<u8>, text: &str) {
    // A string always serialises.
    let _ = serde_json::to_writer(out, text);
}

/// What `f` writes of each item, with `between` between them.
pub fn list<T>(
    out: &mut Vec<u8>,
    between: &[u8],
    items: impl Iterator<Item = T>,
    mut f: impl FnMut(&mut Vec<u8>, T),
) {
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.extend_from_slice(between);
        }
        f(out, item);
    }
}

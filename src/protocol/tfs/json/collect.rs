//! One input's values on their way from JSON into a flat buffer.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiter::{Jiter, Peek};

use super::JsonError;
use crate::engine::TensorSpec;
use crate::input::InputValue;
use crate::tensor::{DType, Tensor};

/// Nesting of arrays at most: no tensor has more dimensions.
const MAX_DEPTH: usize = 16;

/// Collects the values of one input.
pub(super) struct Collector<'a> {
    pub spec: &'a TensorSpec,
    takes_images: bool,
    data: Vec<u8>,
    images: Vec<Bytes>,
    /// Length of the arrays at each depth, once the first of them has ended.
    dims: Vec<Option<usize>>,
    /// The depth at which elements stand, once the first has come.
    leaf: Option<usize>,
    at: [usize; MAX_DEPTH],
    elements: usize,
}

impl<'a> Collector<'a> {
    pub fn new(spec: &'a TensorSpec, takes_images: bool, body: usize) -> Collector<'a> {
        // A float takes some nine characters of text and four bytes here.
        let data = Vec::with_capacity(if takes_images { 0 } else { body / 2 });
        Collector {
            spec,
            takes_images,
            data,
            images: Vec::new(),
            dims: Vec::new(),
            leaf: None,
            at: [0; MAX_DEPTH],
            elements: 0,
        }
    }

    /// Whether anything came.
    pub fn is_empty(&self) -> bool {
        self.elements == 0 && self.dims.is_empty()
    }

    /// Marks the row that the next value belongs to, for values that start at depth 1.
    pub fn row(&mut self, row: usize) {
        self.at[0] = row;
    }

    /// All rows came: the outermost length, for values that started at depth 1.
    pub fn rows(&mut self, rows: usize) {
        if self.dims.is_empty() {
            self.dims.push(None);
        }
        self.dims[0] = Some(rows);
    }

    /// A value whose first token is `peek`, standing at `depth`.
    pub fn value(&mut self, json: &mut Jiter<'_>, peek: Peek, depth: usize) -> Result<(), JsonError> {
        if peek == Peek::Array {
            return self.array(json, depth);
        }
        if peek == Peek::Object {
            let key = json.known_object().map_err(|e| syntax(json, &e))?;
            let is_b64 = key == Some("b64");
            return if is_b64 { self.b64(json, depth) } else { Err(self.wrong(depth, "an object")) };
        }
        self.leaf_at(depth)?;
        self.element(json, peek, depth)
    }

    fn array(&mut self, json: &mut Jiter<'_>, depth: usize) -> Result<(), JsonError> {
        if depth >= MAX_DEPTH {
            return Err(JsonError(format!("{} is nested too deeply", self.spec.name)));
        }
        if self.leaf.is_some_and(|leaf| leaf <= depth) {
            return Err(self.wrong(depth, "an array"));
        }
        if self.dims.len() <= depth {
            self.dims.resize(depth + 1, None);
        }
        let mut count = 0;
        let mut next = json.known_array().map_err(|e| syntax(json, &e))?;
        while let Some(peek) = next {
            self.at[depth] = count;
            if self.leaf == Some(depth + 1) && peek != Peek::Object && peek != Peek::Array {
                self.element(json, peek, depth + 1)?;
            } else {
                self.value(json, peek, depth + 1)?;
            }
            count += 1;
            next = json.array_step().map_err(|e| syntax(json, &e))?;
        }
        match self.dims[depth].replace(count) {
            Some(before) if before != count => Err(JsonError(format!(
                "{}{}: expected {before} elements, got {count}",
                self.spec.name,
                self.path(depth)
            ))),
            _ => Ok(()),
        }
    }

    /// Elements all stand at one depth.
    fn leaf_at(&mut self, depth: usize) -> Result<(), JsonError> {
        let arrays_here = self.dims.len() > depth;
        match self.leaf {
            None if !arrays_here => {
                self.leaf = Some(depth);
                Ok(())
            }
            Some(leaf) if leaf == depth => Ok(()),
            _ => Err(self.wrong(depth, "an element where an array should be")),
        }
    }

    fn b64(&mut self, json: &mut Jiter<'_>, depth: usize) -> Result<(), JsonError> {
        self.leaf_at(depth)?;
        let text = json.next_bytes().map_err(|e| syntax_at(&e.to_string()))?;
        let decoded = STANDARD.decode(text);
        let decoded = decoded.map_err(|e| {
            JsonError(format!("{}{}: no base64: {e}", self.spec.name, self.path(depth)))
        })?;
        if json.next_key().map_err(|e| syntax(json, &e))?.is_some() {
            return Err(self.wrong(depth, "an object with more than `b64`"));
        }
        if self.takes_images {
            if !self.data.is_empty() {
                return Err(self.wrong(depth, "an image among numbers"));
            }
            self.images.push(Bytes::from(decoded));
            self.elements += 1;
            return Ok(());
        }
        if self.spec.dtype != DType::Bytes {
            return Err(self.wrong(depth, "base64"));
        }
        self.string(&decoded, depth)
    }

    fn string(&mut self, bytes: &[u8], depth: usize) -> Result<(), JsonError> {
        let len = u32::try_from(bytes.len()).map_err(|_| self.wrong(depth, "4 GiB of text"))?;
        self.data.extend_from_slice(&len.to_le_bytes());
        self.data.extend_from_slice(bytes);
        self.elements += 1;
        Ok(())
    }

    #[inline]
    fn element(&mut self, json: &mut Jiter<'_>, peek: Peek, depth: usize) -> Result<(), JsonError> {
        if !self.images.is_empty() {
            return Err(self.wrong(depth, "a number among images"));
        }
        self.elements += 1;
        match self.spec.dtype {
            DType::F32 => {
                let value = self.float(json, peek, depth)? as f32;
                self.data.extend_from_slice(&value.to_le_bytes());
            }
            DType::F64 => {
                let value = self.float(json, peek, depth)?;
                self.data.extend_from_slice(&value.to_le_bytes());
            }
            DType::F16 => {
                let value = half::f16::from_f64(self.float(json, peek, depth)?);
                self.data.extend_from_slice(&value.to_le_bytes());
            }
            DType::BF16 => {
                let value = half::bf16::from_f64(self.float(json, peek, depth)?);
                self.data.extend_from_slice(&value.to_le_bytes());
            }
            DType::Bool => match peek {
                Peek::True | Peek::False => {
                    let value = json.known_bool(peek).map_err(|e| syntax(json, &e))?;
                    self.data.push(u8::from(value));
                }
                _ => return Err(self.wrong(depth, name(peek))),
            },
            DType::Bytes => {
                if peek != Peek::String {
                    return Err(self.wrong(depth, name(peek)));
                }
                let text = json.known_str().map_err(|e| syntax_at(&e.to_string()))?.to_owned();
                self.elements -= 1;
                self.string(text.as_bytes(), depth)?;
            }
            DType::U8 => self.int::<u8, 1>(json, peek, depth, u8::to_le_bytes)?,
            DType::U16 => self.int::<u16, 2>(json, peek, depth, u16::to_le_bytes)?,
            DType::U32 => self.int::<u32, 4>(json, peek, depth, u32::to_le_bytes)?,
            DType::U64 => self.int::<u64, 8>(json, peek, depth, u64::to_le_bytes)?,
            DType::I8 => self.int::<i8, 1>(json, peek, depth, i8::to_le_bytes)?,
            DType::I16 => self.int::<i16, 2>(json, peek, depth, i16::to_le_bytes)?,
            DType::I32 => self.int::<i32, 4>(json, peek, depth, i32::to_le_bytes)?,
            DType::I64 => self.int::<i64, 8>(json, peek, depth, i64::to_le_bytes)?,
        }
        Ok(())
    }

    #[inline]
    fn float(&self, json: &mut Jiter<'_>, peek: Peek, depth: usize) -> Result<f64, JsonError> {
        if !peek.is_num() {
            return Err(self.wrong(depth, name(peek)));
        }
        json.known_float(peek).map_err(|e| syntax(json, &e))
    }

    fn int<T: std::str::FromStr, const N: usize>(
        &mut self,
        json: &mut Jiter<'_>,
        peek: Peek,
        depth: usize,
        bytes: fn(T) -> [u8; N],
    ) -> Result<(), JsonError> {
        if !peek.is_num() {
            return Err(self.wrong(depth, name(peek)));
        }
        // The text itself: a float is refused rather than cut, and a u64 need not fit an i64.
        let text = json.known_number_bytes(peek).map_err(|e| syntax_at(&e.to_string()))?;
        let text = std::str::from_utf8(text).unwrap_or_default();
        let Ok(value) = text.parse::<T>() else {
            let text = text.to_owned();
            return Err(self.wrong(depth, &text));
        };
        self.data.extend_from_slice(&bytes(value));
        Ok(())
    }

    /// The input's value. `rows` are filled in by the caller where they stand outside.
    pub fn finish(self) -> Result<InputValue, JsonError> {
        if self.takes_images && !self.images.is_empty() {
            return Ok(InputValue::Images(self.images));
        }
        let depth = self.leaf.unwrap_or(self.dims.len());
        let shape = self.dims.iter().take(depth).map(|d| d.unwrap_or(0)).collect();
        let tensor = Tensor::new(self.spec.dtype, shape, Bytes::from(self.data));
        let tensor = tensor.map_err(|e| JsonError(format!("{}: {e}", self.spec.name)))?;
        Ok(InputValue::Tensor(tensor))
    }

    fn wrong(&self, depth: usize, got: &str) -> JsonError {
        let expected = match (self.takes_images, self.spec.dtype) {
            (true, dtype) => format!("{dtype} or {{\"b64\": …}}"),
            (_, dtype) => dtype.to_string(),
        };
        JsonError(format!("{}{}: expected {expected}, got {got}", self.spec.name, self.path(depth)))
    }

    fn path(&self, depth: usize) -> String {
        self.at[..depth.min(MAX_DEPTH)].iter().fold(String::new(), |mut path, i| {
            // Writing to a String can't fail.
            let _ = write!(path, "[{i}]");
            path
        })
    }
}

fn name(peek: Peek) -> &'static str {
    match peek {
        Peek::Null => "null",
        Peek::True | Peek::False => "a boolean",
        Peek::String => "a string",
        Peek::Array => "an array",
        Peek::Object => "an object",
        p if p.is_num() => "a number",
        _ => "something that is no JSON",
    }
}

pub(super) fn syntax(json: &Jiter<'_>, error: &jiter::JiterError) -> JsonError {
    JsonError(format!("JSON Parse error: {} at {}", error.error_type, json.error_position(error.index)))
}

fn syntax_at(error: &str) -> JsonError {
    JsonError(format!("JSON Parse error: {error}"))
}

//! One input's values on their way from JSON into a flat buffer.

use std::fmt::Write as _;

use bytes::Bytes;
use jiter::{Jiter, Peek};

use crate::engine::TensorSpec;
use crate::input::InputValue;
use crate::protocol::json::element::{self, Refused};
use crate::protocol::json::{Fault, MAX_DEPTH};
use crate::tensor::{DType, Tensor};

/// Where an input's values stand in the body.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// The document's key: `instances`, `inputs` or `examples`.
    pub root: &'static str,
    /// Whether the outermost array is the list of rows, so that values start at depth 1.
    pub rows: bool,
}

/// Collects the values of one input. All elements must stand at one depth, and the arrays of each
/// depth must be of one length: that is the shape.
pub(super) struct Collector<'a> {
    pub spec: &'a TensorSpec,
    place: Place,
    /// Whether the values stand in objects, under the input's name.
    pub named: bool,
    takes_images: bool,
    /// Bytes of text that are probably this input's.
    text: usize,
    data: Vec<u8>,
    images: Vec<Bytes>,
    /// Length of the arrays at each depth, once the first of them has ended.
    dims: Vec<Option<usize>>,
    /// The depth at which elements stand, once the first has come.
    leaf: Option<usize>,
    at: [usize; MAX_DEPTH],
}

impl<'a> Collector<'a> {
    pub fn new(spec: &'a TensorSpec, place: Place, takes_images: bool, text: usize) -> Self {
        Collector {
            spec,
            place,
            named: false,
            takes_images,
            text,
            data: Vec::new(),
            images: Vec::new(),
            dims: Vec::new(),
            leaf: None,
            at: [0; MAX_DEPTH],
        }
    }

    /// Whether nothing came.
    pub fn is_empty(&self) -> bool {
        self.leaf.is_none() && self.dims.is_empty()
    }

    /// Marks the row that the next value belongs to, for values that start at depth 1.
    pub fn row(&mut self, row: usize) {
        self.at[0] = row;
    }

    /// All rows came: the outermost length, for values that start at depth 1.
    pub fn rows(&mut self, rows: usize) {
        match self.dims.first_mut() {
            Some(first) => *first = Some(rows),
            None => self.dims.push(Some(rows)),
        }
    }

    /// A value whose first token is `peek`, standing at `depth`.
    pub fn value(&mut self, json: &mut Jiter<'_>, peek: Peek, depth: usize) -> Result<(), Fault> {
        match peek {
            Peek::Array => self.array(json, depth),
            Peek::Object if json.known_object()? == Some("b64") => self.base64(json, depth),
            Peek::Object => Err(self.refuse(depth, Refused::Is("an object".to_owned()))),
            _ => {
                self.leaf_at(depth)?;
                self.element(json, peek, depth)
            }
        }
    }

    fn array(&mut self, json: &mut Jiter<'_>, depth: usize) -> Result<(), Fault> {
        if depth >= MAX_DEPTH {
            let path = self.path(depth);
            return Err(Fault::new(format!("{path}: more than {MAX_DEPTH} nested arrays")));
        }
        if self.leaf.is_some_and(|leaf| leaf <= depth) {
            return Err(self.refuse(depth, Refused::Is("an array".to_owned())));
        }
        if self.dims.len() <= depth {
            self.dims.resize(depth + 1, None);
        }
        let mut count = 0;
        let mut next = json.known_array()?;
        while let Some(peek) = next {
            self.at[depth] = count;
            if self.leaf == Some(depth + 1) && peek != Peek::Object && peek != Peek::Array {
                self.element(json, peek, depth + 1)?;
            } else {
                self.value(json, peek, depth + 1)?;
            }
            count += 1;
            next = json.array_step()?;
        }
        match self.dims[depth].replace(count) {
            Some(before) if before != count => Err(Fault::new(format!(
                "{}: expected {before} elements, got {count}",
                self.path(depth)
            ))),
            _ => Ok(()),
        }
    }

    /// Elements all stand at one depth, and arrays above it.
    fn leaf_at(&mut self, depth: usize) -> Result<(), Fault> {
        match self.leaf {
            Some(leaf) if leaf == depth => Ok(()),
            None if self.dims.len() <= depth => {
                self.leaf = Some(depth);
                Ok(())
            }
            _ => {
                let path = self.path(depth);
                Err(Fault::new(format!("{path}: an element stands where others have an array")))
            }
        }
    }

    fn base64(&mut self, json: &mut Jiter<'_>, depth: usize) -> Result<(), Fault> {
        self.leaf_at(depth)?;
        if !self.takes_images && self.spec.dtype != DType::Bytes {
            return Err(self.refuse(depth, Refused::Is("base64".to_owned())));
        }
        let decoded = element::base64(json).map_err(|e| self.refuse(depth, e))?;
        if !self.takes_images {
            return element::string(&decoded, &mut self.data).map_err(|e| self.refuse(depth, e));
        }
        if !self.data.is_empty() {
            return Err(self.refuse(depth, Refused::Is("an image among elements".to_owned())));
        }
        self.images.push(Bytes::from(decoded));
        Ok(())
    }

    #[inline]
    fn element(&mut self, json: &mut Jiter<'_>, peek: Peek, depth: usize) -> Result<(), Fault> {
        if self.data.is_empty() {
            self.first(depth)?;
        }
        element::push(self.spec.dtype, json, peek, &mut self.data)
            .map_err(|e| self.refuse(depth, e))
    }

    /// Before the first element: no images may have come, and there is a buffer to fill.
    fn first(&mut self, depth: usize) -> Result<(), Fault> {
        if !self.images.is_empty() {
            return Err(self.refuse(depth, Refused::Is("an element among images".to_owned())));
        }
        // Some nine characters a float, four an 8-bit integer; what it lacks, it grows by.
        self.data.reserve(if self.spec.dtype.size() == Some(1) {
            self.text / 4
        } else {
            self.text / 2
        });
        Ok(())
    }

    /// The input's value.
    pub fn finish(self) -> Result<InputValue, Fault> {
        if !self.images.is_empty() {
            let rows = self.dims.first().copied().flatten().unwrap_or(1);
            return match self.images.len() {
                n if n == rows => Ok(InputValue::Images(self.images)),
                n => {
                    let path = self.path(0);
                    Err(Fault::new(format!("{path}: expected one image a row, got {n} in {rows}")))
                }
            };
        }
        let shape = self.dims.iter().map(|d| d.unwrap_or(0)).collect();
        let tensor = Tensor::new(self.spec.dtype, shape, Bytes::from(self.data));
        tensor.map(InputValue::Tensor).map_err(|e| Fault::new(format!("{}: {e}", self.spec.name)))
    }

    #[cold]
    fn refuse(&self, depth: usize, refused: Refused) -> Fault {
        let or = if self.takes_images { " or {\"b64\": image}" } else { "" };
        Fault::refused(refused, self.spec.dtype, &self.path(depth), or)
    }

    /// Such as `instances[3].x[1]`.
    #[cold]
    fn path(&self, depth: usize) -> String {
        let mut path = self.place.root.to_owned();
        let at = &self.at[..depth.min(MAX_DEPTH)];
        let (row, inner) = at.split_at(usize::from(self.place.rows).min(at.len()));
        // Writing to a String can't fail.
        row.iter().for_each(|i| _ = write!(path, "[{i}]"));
        if self.named {
            let _ = write!(path, ".{}", self.spec.name);
        }
        inner.iter().for_each(|i| _ = write!(path, "[{i}]"));
        path
    }
}

//! The `data` of an input: nested as its shape is, or flat.

use std::fmt::Write as _;

use jiter::{Jiter, Peek};

use crate::protocol::json::element::{self, Refused, kind};
use crate::protocol::json::{Fault, MAX_DEPTH};
use crate::tensor::{DType, elements};

/// Reads what starts here. Memory is taken for `text` bytes of JSON, not for what is claimed.
pub fn read(
    json: &mut Jiter<'_>,
    name: &str,
    dtype: DType,
    shape: &[usize],
    text: usize,
) -> Result<Vec<u8>, Fault> {
    let count = elements(shape).map_err(|e| Fault::new(format!("input `{name}`: {e}")))?;
    // Some nine characters a float, four an 8-bit integer; what it lacks, it grows by.
    let likely = if dtype.size() == Some(1) { text / 4 } else { text / 2 };
    let room = count.saturating_mul(dtype.size().unwrap_or(8)).min(likely);
    let out = Vec::with_capacity(room);
    let mut values = Values { name, dtype, shape, out, at: [0; MAX_DEPTH] };
    match json.peek()? {
        Peek::Array => {}
        other => {
            let got = kind(other);
            return Err(Fault::new(format!("input `{name}`: data is an array, got {got}")));
        }
    }
    match json.known_array()? {
        Some(Peek::Array) if shape.len() > 1 => values.nested(json, Some(Peek::Array), 0)?,
        first => {
            let got = values.run(json, first, 0)?;
            if got != count {
                return Err(Fault::new(format!(
                    "input `{name}`: shape {shape:?} takes {count} elements, data has {got}"
                )));
            }
        }
    }
    Ok(values.out)
}

struct Values<'a> {
    name: &'a str,
    dtype: DType,
    shape: &'a [usize],
    out: Vec<u8>,
    at: [usize; MAX_DEPTH],
}

impl Values<'_> {
    /// The rest of an array at `depth`, which `first` leads, with all that is in it.
    fn nested(
        &mut self,
        json: &mut Jiter<'_>,
        first: Option<Peek>,
        depth: usize,
    ) -> Result<(), Fault> {
        let mut count = 0;
        if depth + 1 == self.shape.len() {
            count = self.run(json, first, depth)?;
        } else {
            let mut next = first;
            while let Some(peek) = next {
                self.at[depth] = count;
                if peek != Peek::Array {
                    let path = self.path(depth + 1);
                    return Err(Fault::new(format!(
                        "{path}: expected an array, got {}",
                        kind(peek)
                    )));
                }
                let first = json.known_array()?;
                self.nested(json, first, depth + 1)?;
                count += 1;
                next = json.array_step()?;
            }
        }
        let expected = self.shape[depth];
        if count == expected {
            return Ok(());
        }
        let path = self.path(depth);
        Err(Fault::new(format!("{path}: expected {expected} elements, got {count}")))
    }

    /// The rest of an array of elements, which `first` leads.
    fn run(
        &mut self,
        json: &mut Jiter<'_>,
        first: Option<Peek>,
        depth: usize,
    ) -> Result<usize, Fault> {
        let (mut count, mut next) = (0, first);
        while let Some(peek) = next {
            if let Err(refused) = element::push(self.dtype, json, peek, &mut self.out) {
                self.at[depth] = count;
                return Err(self.refuse(refused, depth + 1));
            }
            count += 1;
            next = json.array_step()?;
        }
        Ok(count)
    }

    #[cold]
    fn refuse(&self, refused: Refused, depth: usize) -> Fault {
        Fault::refused(refused, self.dtype, &self.path(depth), "")
    }

    /// Such as ``input `x`: data[3][1]``.
    #[cold]
    fn path(&self, depth: usize) -> String {
        let mut path = format!("input `{}`: data", self.name);
        // Writing to a String can't fail.
        self.at[..depth].iter().for_each(|i| _ = write!(path, "[{i}]"));
        path
    }
}

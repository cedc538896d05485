//! Where bytes and pointers meet: the memory of a tensor as bytes, and a run on tensors that are there
//! already. The only unsafe code of this room.
//!
//! Outputs are named beforehand with their memory, which is what an `IoBinding` does. A binding keeps
//! its values, and the outputs of a run go out with the answer, so each run would have to bind anew.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::ptr::{self, NonNull};

use ort::AsPointer;
use ort::memory::Allocator;
use ort::session::Session;
use ort::value::{DynTensor, Outlet};
use smallvec::SmallVec;

use super::session::{dtype_of, element_of};
use crate::tensor::DType;

/// Tensors of a run that need no allocation to be listed.
const FEW: usize = 8;

/// A tensor in memory of ONNX Runtime's, aligned as it likes.
pub(super) struct Value {
    tensor: DynTensor,
    dtype: DType,
    len: usize,
}

impl Value {
    /// Zeros of a shape.
    pub fn new(dtype: DType, shape: &[usize]) -> Result<Value, String> {
        let element = element_of(dtype).ok_or_else(|| format!("there is no {dtype}"))?;
        let shape: SmallVec<[i64; FEW]> = shape.iter().map(|d| *d as i64).collect();
        let tensor = DynTensor::new(&Allocator::default(), element, &shape[..]);
        let tensor = tensor.map_err(|e| super::one_line(&e))?;
        Ok(Value { len: len(&tensor, dtype)?, tensor, dtype })
    }

    /// Takes over what a run made.
    fn made(tensor: DynTensor) -> Result<Value, String> {
        let element = *tensor.data_type();
        let dtype =
            dtype_of(element).ok_or_else(|| format!("an output has the type {element:?}"))?;
        Ok(Value { len: len(&tensor, dtype)?, tensor, dtype })
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    pub fn shape(&self) -> impl ExactSizeIterator<Item = usize> {
        // No dimension of a tensor that is there is negative.
        self.tensor.shape().iter().map(|d| usize::try_from(*d).unwrap_or(0))
    }

    pub fn is_of(&self, dtype: DType, rows: usize, row: &[usize]) -> bool {
        let mut shape = self.shape();
        self.dtype == dtype && shape.next() == Some(rows) && shape.eq(row.iter().copied())
    }

    /// For whoever fills it.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let data = self.tensor.data_ptr_mut().cast::<u8>();
        if data.is_null() || self.len == 0 {
            return &mut [];
        }
        // SAFETY: the tensor owns `len` bytes of initialised CPU memory at `data` for as long as it lives,
        // and this borrow of it is the only one. Every pattern of bytes is a value of the numeric types;
        // of a boolean's, ONNX Runtime reads whether the byte is 0.
        unsafe { std::slice::from_raw_parts_mut(data, self.len) }
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        let data = self.tensor.data_ptr().cast::<u8>();
        if data.is_null() || self.len == 0 {
            return &[];
        }
        // SAFETY: as in `bytes_mut`; nobody writes while it is borrowed, since writing takes `&mut self`
        // and a run borrows its outputs mutably.
        unsafe { std::slice::from_raw_parts(data, self.len) }
    }
}

fn len(tensor: &DynTensor, dtype: DType) -> Result<usize, String> {
    let elements =
        tensor.shape().iter().try_fold(1usize, |n, d| n.checked_mul(usize::try_from(*d).ok()?));
    let bytes = elements.zip(dtype.size()).and_then(|(n, size)| n.checked_mul(size));
    bytes.ok_or_else(|| format!("the shape {:?} fits in no memory", tensor.shape()))
}

/// The names of inputs and outputs as C reads them.
pub(super) struct Names {
    inputs: Vec<CString>,
    outputs: Vec<CString>,
}

impl Names {
    pub fn of(session: &Session) -> Result<Names, String> {
        let names = |outlets: &[Outlet]| {
            let names = outlets.iter().map(|o| CString::new(o.name()).map_err(|e| e.to_string()));
            names.collect::<Result<Vec<_>, String>>()
        };
        Ok(Names { inputs: names(session.inputs())?, outputs: names(session.outputs())? })
    }
}

/// Runs a session. `inputs` and `outputs` are in its own order, as many as `names` says; an output that
/// is `None` is made by the run.
pub(super) fn run(
    session: &Session,
    names: &Names,
    inputs: &[Value],
    outputs: &mut [Option<Value>],
) -> Result<(), String> {
    debug_assert_eq!((names.inputs.len(), names.outputs.len()), (inputs.len(), outputs.len()));
    let pointers = |names: &[CString]| -> SmallVec<[_; FEW]> {
        names.iter().map(|name| name.as_ptr()).collect()
    };
    let (input_names, output_names) = (pointers(&names.inputs), pointers(&names.outputs));
    let values: SmallVec<[_; FEW]> = inputs.iter().map(|v| v.tensor.ptr()).collect();
    let mut made: SmallVec<[_; FEW]> = outputs
        .iter_mut()
        .map(|v| v.as_mut().map_or(ptr::null_mut(), |v| v.tensor.ptr_mut()))
        .collect();
    // SAFETY: every pointer is of a value that is borrowed for the call, and the lengths are theirs.
    // ONNX Runtime's design says that several threads may run a session at once; what `ort` fears of it
    // are providers other than the CPU's, and no other is ever registered here. Inputs are only read,
    // and the outputs are borrowed mutably, so no other run has them.
    let status = unsafe {
        (ort::api().Run)(
            session.ptr().cast_mut(),
            ptr::null(),
            input_names.as_ptr(),
            values.as_ptr(),
            values.len(),
            output_names.as_ptr(),
            output_names.len(),
            made.as_mut_ptr(),
        )
    };
    // SAFETY: the status comes from the call above, and is given away here.
    unsafe { ort::Error::result_from_status(status) }.map_err(|e| super::one_line(&e))?;
    for (output, pointer) in outputs.iter_mut().zip(made) {
        if output.is_none() {
            let pointer = NonNull::new(pointer).ok_or("an output is missing")?;
            // SAFETY: the run made this value for the caller, who owns it from here on. It is freed by
            // means of its own; `ort` wants the allocator only to outlive it.
            let tensor = unsafe { DynTensor::from_ptr(pointer, Some(session.allocator())) };
            *output = Some(Value::made(tensor)?);
        }
    }
    Ok(())
}

//! Random tensors, for tests.

use bytes::Bytes;
use proptest::prelude::*;

use crate::tensor::{DType, Tensor};

/// Random finite tensors with at least one row.
pub fn tensors() -> impl Strategy<Value = Tensor> {
    let dtype = proptest::sample::select(&DType::ALL[..]);
    (dtype, proptest::collection::vec(1usize..4, 1..4)).prop_flat_map(|(dtype, shape)| {
        let count = shape.iter().product::<usize>();
        let elements = proptest::collection::vec(any::<[u8; 8]>(), count);
        elements.prop_map(move |raw| {
            let data = raw.iter().flat_map(|r| element(dtype, *r)).collect::<Vec<u8>>();
            Tensor::new(dtype, shape.clone(), Bytes::from(data)).unwrap()
        })
    })
}

fn element(dtype: DType, raw: [u8; 8]) -> Vec<u8> {
    // Clearing an exponent bit keeps floats finite.
    let finite = |size: usize, mask: u8| {
        let mut bytes = raw[..size].to_vec();
        bytes[size - 1] &= mask;
        bytes
    };
    match dtype {
        DType::Bool => vec![raw[0] & 1],
        DType::Bytes => {
            let len = usize::from(raw[0] % 7);
            [&(len as u32).to_le_bytes()[..], &raw[1..1 + len]].concat()
        }
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => finite(dtype.size().unwrap(), 0xbf),
        _ => raw[..dtype.size().unwrap()].to_vec(),
    }
}

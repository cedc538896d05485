use super::*;
use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

use crate::tensor::Data;

const LIMIT: usize = 1 << 20;

/// The message as it comes off the wire in pieces of `step` bytes.
fn pieces(message: &TensorProto, step: usize) -> Data {
    let mut data = Data::new();
    message.encode_to_vec().chunks(step).for_each(|c| data.push(Bytes::copy_from_slice(c)));
    data
}

fn read(message: &TensorProto) -> Result<Tensor, String> {
    let scanned = Scanned::scan(pieces(message, 7)).map_err(|e| e.to_string())?;
    let growth = scanned.growth(LIMIT).map_err(|e| e.to_string())?;
    let tensor = scanned.tensor(LIMIT).map_err(|e| e.to_string())?;
    assert!(tensor.data().len() <= growth + message.encoded_len() + 4 * tensor.strings().len());
    Ok(tensor)
}

fn proto(dtype: DataType, dims: &[i64]) -> TensorProto {
    let dim = dims.iter().map(|d| Dim { size: *d, name: String::new() }).collect();
    let tensor_shape = Some(TensorShapeProto { dim, unknown_rank: false });
    TensorProto { dtype: dtype.into(), tensor_shape, ..TensorProto::default() }
}

#[track_caller]
fn refused(message: TensorProto, says: &str) {
    let error = read(&message).unwrap_err();
    assert!(error.contains(says), "{error}");
}

#[test]
fn tensor_content_is_a_slice_of_the_message() {
    let content: Bytes = (0..32).collect();
    let message = TensorProto { tensor_content: content, ..proto(DataType::DtFloat, &[2, 4]) };
    let data = pieces(&message, usize::MAX);
    let whole = data.to_bytes();
    let scanned = Scanned::scan(data).unwrap();
    assert_eq!(scanned.work(), 0);
    let tensor = scanned.tensor(LIMIT).unwrap();
    assert_eq!((tensor.dtype(), tensor.shape()), (DType::F32, &[2, 4][..]));
    assert_eq!(tensor.bytes(), message.tensor_content);
    let [piece] = tensor.data().pieces() else { panic!("{tensor:?}") };
    assert!(whole.as_ptr_range().contains(&piece.as_ptr()), "it was copied");
}

#[test]
fn packed_floats_are_a_slice_of_the_message() {
    let message = TensorProto { float_val: vec![1.5, -2.0], ..proto(DataType::DtFloat, &[2]) };
    let data = pieces(&message, usize::MAX);
    let whole = data.to_bytes();
    let tensor = Scanned::scan(data).unwrap().tensor(LIMIT).unwrap();
    assert_eq!(tensor.to_f32().unwrap(), [1.5, -2.0]);
    assert!(whole.as_ptr_range().contains(&tensor.data().pieces()[0].as_ptr()), "it was copied");
}

#[test]
fn the_last_value_stands_for_all_that_did_not_come() {
    let floats = |values: &[f32], dims: &[i64]| {
        let message = TensorProto { float_val: values.to_vec(), ..proto(DataType::DtFloat, dims) };
        read(&message).unwrap().to_f32().unwrap()
    };
    assert_eq!(floats(&[2.5], &[2, 2]), [2.5; 4]);
    assert_eq!(floats(&[1.0, 2.0], &[5]), [1.0, 2.0, 2.0, 2.0, 2.0]);
    assert_eq!(floats(&[], &[3]), [0.0; 3]);
    assert_eq!(floats(&[7.0], &[]), [7.0]);
    assert!(floats(&[], &[0, 9]).is_empty());
    let bytes = TensorProto { int_val: vec![3, 9], ..proto(DataType::DtUint8, &[4]) };
    assert_eq!(read(&bytes).unwrap().bytes(), vec![3, 9, 9, 9]);
    let string_val = vec![Bytes::from_static(b"a"), Bytes::from_static(b"bc")];
    let strings = TensorProto { string_val, ..proto(DataType::DtString, &[4]) };
    assert_eq!(read(&strings).unwrap().strings(), [&b"a"[..], b"bc", b"bc", b"bc"]);
    assert_eq!(read(&proto(DataType::DtString, &[2])).unwrap().strings(), [&b""[..], b""]);
}

#[test]
fn strings_may_stand_in_tensor_content() {
    let content = |bytes: &'static [u8], dims: &[i64]| TensorProto {
        tensor_content: Bytes::from_static(bytes),
        ..proto(DataType::DtString, dims)
    };
    let two = read(&content(b"\x02\x01hi!", &[2])).unwrap();
    assert_eq!(two.strings(), [&b"hi"[..], b"!"]);
    for wrong in [&b"\x02\x02hi!"[..], b"\x02\x00hi!", b"\x80\x80\x80\x80\x80\x01\0", b"\x01"] {
        refused(content(wrong, &[2]), "");
    }
    refused(content(b"\x01a", &[i64::MAX / 8]), "takes more than");
    refused(content(b"\x01a", &[200_000]), "does not hold 200000 strings");
}

#[test]
fn half_precision_travels_as_bits() {
    for dtype in [DataType::DtHalf, DataType::DtBfloat16] {
        let half_val = vec![0x3c00, 0xfbff, -1];
        let tensor = read(&TensorProto { half_val, ..proto(dtype, &[3]) }).unwrap();
        assert_eq!(tensor.bytes(), vec![0x00, 0x3c, 0xff, 0xfb, 0xff, 0xff]);
        let half_val = vec![0x1_0000];
        refused(TensorProto { half_val, ..proto(dtype, &[1]) }, "65536 is out of the range");
    }
}

#[test]
fn numbers_may_come_one_by_one() {
    // float_val, not packed, and then packed.
    let mut bytes = proto(DataType::DtFloat, &[3]).encode_to_vec();
    bytes.extend_from_slice(b"\x2d\0\0\x80\x3f\x2a\x04\0\0\0\x40\x2d\0\0\x80\x3f");
    let tensor = Scanned::scan(Data::from(Bytes::from(bytes))).unwrap().tensor(LIMIT).unwrap();
    assert_eq!(tensor.to_f32().unwrap(), [1.0, 2.0, 1.0]);
}

#[test]
fn lies_are_told_as_such() {
    let float = |dims: &[i64]| proto(DataType::DtFloat, dims);
    refused(float(&[-1]), "dimension 0 of the shape is -1");
    refused(float(&[2, i64::MIN]), "dimension 1 of the shape is -9223372036854775808");
    refused(float(&[i64::MAX, i64::MAX]), "more elements than memory has bytes");
    refused(float(&[i64::MAX / 2, 2]), "takes more than the 1048576 bytes");
    refused(float(&[1; 300]), "more than 254 dimensions");
    let broadcast = TensorProto { float_val: vec![1.0], ..float(&[1 << 38]) };
    assert!(broadcast.encoded_len() < 30);
    refused(broadcast, "FP32 [274877906944] takes more than the 1048576 bytes");
    let string_val = vec![Bytes::from(vec![b'x'; 1000])];
    let strings = TensorProto { string_val, ..proto(DataType::DtString, &[10_000]) };
    refused(strings, "BYTES [10000] takes more than");
    let unknown = Some(TensorShapeProto { dim: Vec::new(), unknown_rank: true });
    refused(TensorProto { tensor_shape: unknown, ..float(&[]) }, "unknown rank");
    let content = TensorProto { tensor_content: Bytes::from_static(b"123"), ..float(&[1]) };
    refused(content, "takes 4 bytes, got 3");
    let many = TensorProto { float_val: vec![1.0; 3], ..float(&[2]) };
    refused(many, "float_val has more values than the shape's 2");
    let many = TensorProto { int_val: vec![1; 3], ..proto(DataType::DtInt16, &[2]) };
    refused(many, "int_val has more values than the shape's 2");
    let string_val = vec![Bytes::new(); 3];
    let many = TensorProto { string_val, ..proto(DataType::DtString, &[2]) };
    refused(many, "string_val has more values than the shape's 2");
    let wide = TensorProto { int_val: vec![256], ..proto(DataType::DtUint8, &[1]) };
    refused(wide, "int_val: 256 is out of the range of UINT8");
    let content = Bytes::from_static(&[0, 1, 2]);
    let odd = TensorProto { tensor_content: content, ..proto(DataType::DtBool, &[3]) };
    refused(odd, "holds the boolean 2");
    refused(TensorProto::default(), "dtype is not set");
    refused(proto(DataType::DtQuint8, &[1]), "DT_QUINT8 is not supported");
    refused(proto(DataType::DtComplex64, &[1]), "DT_COMPLEX64 is not supported");
    refused(TensorProto { dtype: 101, ..float(&[1]) }, "dtype 101 is not known");
}

/// A tensor of any type, in any of its encodings.
fn tensor() -> impl Strategy<Value = Tensor> {
    let dtype = prop::sample::select(&DType::ALL[..]);
    (dtype, prop::collection::vec(0usize..4, 0..4)).prop_flat_map(|(dtype, shape)| {
        let count: usize = shape.iter().product();
        let elements = prop::collection::vec(any::<[u8; 8]>(), count);
        elements.prop_map(move |elements| match dtype.size() {
            Some(size) => {
                let mut bytes: Vec<u8> = elements.iter().flat_map(|e| e[..size].to_vec()).collect();
                if dtype == DType::Bool {
                    bytes.iter_mut().for_each(|b| *b &= 1);
                }
                Tensor::new(dtype, shape.clone(), Bytes::from(bytes)).unwrap()
            }
            None => {
                let strings: Vec<&[u8]> =
                    elements.iter().map(|e| &e[..usize::from(e[0] % 8)]).collect();
                Tensor::from_strings(shape.clone(), &strings).unwrap()
            }
        })
    })
}

proptest! {
    #[test]
    fn every_type_comes_back_as_it_went(tensor in tensor(), step in 1usize..20) {
        let message = encode(&tensor);
        let read = Scanned::scan(pieces(&message, step)).unwrap().tensor(LIMIT).unwrap();
        prop_assert_eq!(&read, &tensor);
        let content = match tensor.dtype() {
            DType::Bytes => {
                let strings = tensor.strings();
                let mut content: Vec<u8> = strings.iter().map(|s| s.len() as u8).collect();
                strings.iter().for_each(|s| content.extend_from_slice(s));
                Bytes::from(content)
            }
            _ => tensor.bytes(),
        };
        let message = TensorProto {
            dtype: message.dtype,
            tensor_shape: message.tensor_shape,
            tensor_content: content,
            ..TensorProto::default()
        };
        let read = Scanned::scan(pieces(&message, step)).unwrap().tensor(LIMIT).unwrap();
        prop_assert_eq!(&read, &tensor);
    }

    #[test]
    fn nothing_that_comes_panics_or_grows_beyond_the_limit(
        dtype in 0i32..25,
        dims in prop::collection::vec(
            prop_oneof![0i64..5, any::<i64>(), Just(1 << 20), Just(1 << 31)],
            0..4,
        ),
        noise in prop::collection::vec(any::<u8>(), 0..40),
        ints in prop::collection::vec(any::<i32>(), 0..4),
        limit in 0usize..100_000,
        step in 1usize..20,
    ) {
        let message = TensorProto {
            dtype,
            int_val: ints.clone(),
            half_val: ints,
            bool_val: vec![true],
            string_val: vec![Bytes::from(noise.clone())],
            ..proto(DataType::DtFloat, &dims)
        };
        let mut bytes = TensorProto { dtype, ..message }.encode_to_vec();
        for noise in [&[][..], &noise] {
            bytes.extend_from_slice(noise);
            let mut data = Data::new();
            bytes.chunks(step).for_each(|c| data.push(Bytes::copy_from_slice(c)));
            if let Ok(scanned) = Scanned::scan(data)
                && let Ok(tensor) = scanned.tensor(limit)
            {
                prop_assert!(tensor.data().len() <= limit);
            }
        }
    }
}

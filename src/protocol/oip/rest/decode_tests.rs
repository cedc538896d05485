use proptest::prelude::*;

use super::super::encode::{Output, encode};
use super::*;
use crate::engine::{Dim, TensorSpec};
use crate::protocol::json::arbitrary::tensors;
use crate::tensor::DType;

fn signature(inputs: &[(&str, DType)]) -> Signature {
    let spec = |(name, dtype): &(&str, DType)| TensorSpec {
        name: (*name).to_owned(),
        dtype: *dtype,
        shape: vec![Dim::Dynamic("batch".into())],
    };
    Signature::new(inputs.iter().map(spec).collect(), vec![])
}

/// A body in pieces of `piece` bytes.
fn pieces(body: &[u8], piece: usize) -> Data {
    let mut data = Data::new();
    body.chunks(piece).for_each(|chunk| data.push(Bytes::copy_from_slice(chunk)));
    data
}

const AB: &str = r#"{"inputs": [
    {"name": "a", "shape": [2], "datatype": "INT16", "parameters": {"binary_data_size": 4}},
    {"name": "b", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 11}}]}"#;

fn read(json: &str, len: Option<usize>, binary: &[u8]) -> Result<Call, String> {
    let signature = signature(&[("a", DType::I16), ("b", DType::Bytes)]);
    let body = pieces(&[json.as_bytes(), binary].concat(), 7);
    decode(&signature, None, len, &body).map_err(|refusal| match refusal {
        Refusal::Invalid(what) => what,
        Refusal::LeftOut(what) => what.to_owned(),
    })
}

#[test]
fn tensors_follow_the_json_in_the_order_of_the_inputs() {
    let call = read(AB, Some(AB.len()), b"\x01\0\xff\xff\x02\0\0\0hi\x01\0\0\0!").unwrap();
    assert_eq!(call.inputs[0].1.bytes()[..], [1, 0, 255, 255]);
    assert_eq!(call.inputs[1].1.strings(), [&b"hi"[..], b"!"]);
    let one = signature(&[("a", DType::U8)]);
    let json = r#"{"inputs":[{"name":"a","shape":[5],"datatype":"UINT8","parameters":{"binary_data_size":5}}]}"#;
    let mut body = Data::from(Bytes::from(json));
    let (first, second) = (Bytes::from_static(b"abc"), Bytes::from_static(b"de"));
    body.push(first.clone());
    body.push(second);
    let call = decode(&one, None, Some(json.len()), &body).unwrap();
    // Not joined, not copied.
    let pieces = call.inputs[0].1.data().pieces();
    assert_eq!((pieces.len(), pieces[0].as_ptr()), (2, first.as_ptr()));
}

#[test]
fn lengths_are_checked() {
    let n = AB.len();
    let check = |json: &str, len: Option<usize>, binary: &[u8], says: &str| {
        let error = read(json, len, binary).unwrap_err();
        assert!(error.contains(says), "{error}");
    };
    let full = b"\x01\0\xff\xff\x02\0\0\0hi\x01\0\0\0!";
    check(AB, Some(n + full.len() + 1), full, "inference-header-content-length is");
    check(AB, Some(usize::MAX), full, "inference-header-content-length is");
    check(AB, Some(n), &full[..full.len() - 1], "`b`: binary_data_size is 11, but 10 bytes");
    check(AB, Some(n), b"", "`a`: binary_data_size is 4, but 0 bytes");
    check(AB, None, b"", "`a`: binary_data_size is 4, but 0 bytes");
    check(AB, Some(n), &[&full[..], b"x"].concat(), "1 bytes of the body are no input's");
    check(AB, Some(n - 1), full, "JSON Parse error");
    check(AB, None, full, "JSON Parse error");
    check(
        AB,
        Some(n),
        b"\x01\0\xff\xff\x09\0\0\0hi\x01\0\0\0!",
        "`b`: shape [2] of BYTES: element 0",
    );
    check(AB, Some(n), b"\x01\0\xff\xff\x02\0\0\0hi\x00\0\0\0!", "`b`: shape [2] of BYTES");
    let huge = AB.replace(": 4}", ": 18446744073709551615}");
    check(&huge, Some(huge.len()), full, "`a`: binary_data_size is 18446744073709551615, but 15");
    let short = AB.replace(": 4}", ": 3}").replace(": 11}", ": 12}");
    check(&short, Some(short.len()), full, "`a`: shape [2] of INT16 takes 4 bytes, got 3");
}

#[test]
fn shared_memory_is_left_out() {
    let body = r#"{"inputs": [{"name": "a", "shape": [1], "datatype": "INT16",
        "parameters": {"shared_memory_region": "r"}}]}"#;
    let body = Data::from(Bytes::from(body));
    let refused = decode(&signature(&[("a", DType::I16)]), None, None, &body);
    assert_eq!(refused.unwrap_err(), Refusal::LeftOut(NO_SHARED_MEMORY));
}

/// A request that has one output's object of an answer for its input: the two look alike.
fn request(tensor: &Tensor, binary: bool) -> Option<(String, Data)> {
    let output = Output { name: "x".into(), tensor: tensor.clone(), binary };
    let (json, tensors) = encode("m", 1, "", &[output]).ok()?;
    let json = String::from_utf8(json).unwrap();
    let (_, outputs) = json.split_once("\"outputs\":").unwrap();
    Some((format!("{{\"inputs\":{outputs}"), tensors.unwrap_or_default()))
}

/// `values` as arrays in the given dimensions.
fn nest(shape: &[usize], values: &mut impl Iterator<Item = String>) -> String {
    match shape {
        [] => values.next().unwrap(),
        [n, inner @ ..] => {
            let items: Vec<_> = (0..*n).map(|_| nest(inner, values)).collect();
            format!("[{}]", items.join(" , "))
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back_the_same(
        tensor in tensors(),
        binary in any::<bool>(),
        piece in 1usize..20,
    ) {
        let signature = signature(&[("x", tensor.dtype())]);
        // Byte strings that are no text have no JSON.
        let Some((json, tensors)) = request(&tensor, binary) else {
            prop_assert!(tensor.dtype() == DType::Bytes && !binary);
            return Ok(());
        };
        let body = pieces(&[json.as_bytes(), &tensors.to_bytes()].concat(), piece);
        let call = decode(&signature, None, Some(json.len()), &body).unwrap();
        prop_assert_eq!(&call.inputs, &[("x".to_owned(), tensor.clone())]);
        if binary {
            return Ok(());
        }
        let (head, flat) = json.split_once("\"data\":[").unwrap();
        let flat = flat.strip_suffix("]}]}").unwrap();
        let elements: Vec<String> = match tensor.dtype() {
            DType::Bytes => {
                let value: Vec<serde_json::Value> = serde_json::from_str(&format!("[{flat}]")).unwrap();
                value.iter().map(ToString::to_string).collect()
            }
            _ => flat.split(',').map(str::to_owned).collect(),
        };
        let nested = nest(tensor.shape(), &mut elements.into_iter());
        let nested = format!("{head}\"data\":{nested}}}]}}");
        let call = decode(&signature, None, None, &pieces(nested.as_bytes(), piece));
        prop_assert_eq!(&call.unwrap().inputs, &[("x".to_owned(), tensor)]);
    }

    #[test]
    fn hostile_bodies_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        soup in prop::collection::vec(prop::sample::select(PIECES), 0..40),
        len in prop::option::of(0usize..300),
        dtype in prop::sample::select(&DType::ALL[..]),
        piece in 1usize..20,
    ) {
        let soup = soup.concat().into_bytes();
        for signature in [signature(&[("a", dtype)]), signature(&[("a", dtype), ("b", DType::U8)])] {
            for (start, tail) in [("", &bytes), ("", &soup), (START, &soup), (AB, &bytes)] {
                let body = pieces(&[start.as_bytes(), tail].concat(), piece);
                let _ = decode(&signature, None, len, &body);
                let _ = decode(&signature, Some("a"), len, &body);
                let _ = decode(&signature, None, Some(start.len() + len.unwrap_or(0)), &body);
            }
        }
    }
}

const START: &str = r#"{"inputs":[{"name":"a","#;

const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"a\"",
    "\"b\"",
    "1",
    "-",
    "0",
    "1.5",
    "1e400",
    "NaN",
    "true",
    "null",
    " ",
    "\\",
    "\"",
    "18446744073709551615",
    "99999999999999999999",
    "\"name\":\"a\",",
    "\"shape\":[1],",
    "\"shape\":[2,2],",
    "\"datatype\":\"FP32\",",
    "\"datatype\":\"BYTES\",",
    "\"data\":[1],",
    "\"data\":[[1,2],[3,4]]",
    "\"parameters\":{\"binary_data_size\":4}",
    "\"inputs\":[{",
    "\"outputs\":[",
    "\"shared_memory_region\":",
    "\"id\":\"i\",",
    "}]}",
];

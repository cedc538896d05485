//! Outputs into a body: JSON, and behind it what is wanted as bytes.

use serde_json::json;

use crate::protocol::json::write::{Elements, list, string};
use crate::tensor::{DType, Data, Tensor};

/// An output on its way out.
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its data.
    pub tensor: Tensor,
    /// Whether it goes behind the JSON.
    pub binary: bool,
}

/// The JSON, and what follows it if any output is wanted so. Data in JSON is flat, as Triton's is.
pub fn encode(
    model: &str,
    version: u64,
    id: &str,
    outputs: &[Output],
) -> Result<(Vec<u8>, Option<Data>), String> {
    let text: usize = outputs.iter().filter(|o| !o.binary).map(|o| o.tensor.data().len()).sum();
    let mut out = Vec::with_capacity(256 + text * 4);
    out.push(b'{');
    if !id.is_empty() {
        member(&mut out, "id", id);
    }
    member(&mut out, "model_name", model);
    member(&mut out, "model_version", &version.to_string());
    out.extend_from_slice(b"\"outputs\":[");
    let (mut tensors, mut problem) = (None, Ok(()));
    list(&mut out, b",", outputs.iter(), |out, output| {
        head(out, output);
        if output.binary {
            tensors.get_or_insert_with(Data::new).append(output.tensor.data());
        } else if let Err(e) = data(out, output) {
            problem = Err(e);
        }
        out.push(b'}');
    });
    out.extend_from_slice(b"]}");
    problem.map(|()| (out, tensors))
}

/// All of an output's object but its data and its end.
fn head(out: &mut Vec<u8>, Output { name, tensor, binary }: &Output) {
    out.push(b'{');
    member(out, "name", name);
    member(out, "datatype", tensor.dtype().name());
    let shape = json!(tensor.shape());
    out.extend_from_slice(format!("\"shape\":{shape},").as_bytes());
    if *binary {
        let size = tensor.data().len();
        out.extend_from_slice(format!("\"parameters\":{{\"binary_data_size\":{size}}}").as_bytes());
    }
}

fn member(out: &mut Vec<u8>, key: &str, value: &str) {
    string(out, key);
    out.push(b':');
    string(out, value);
    out.push(b',');
}

fn data(out: &mut Vec<u8>, Output { name, tensor, .. }: &Output) -> Result<(), String> {
    let mut elements = Elements::new(tensor);
    let count: usize = tensor.shape().iter().product();
    let mut problem = Ok(());
    out.extend_from_slice(b"\"data\":[");
    if tensor.dtype() == DType::Bytes {
        list(out, b",", 0..count, |out, at| match std::str::from_utf8(elements.bytes()) {
            Ok(text) => string(out, text),
            // Triton writes the bytes as they are, which no client can read.
            Err(_) => {
                problem = Err(format!(
                    "output `{name}`: element {at} is no text, which JSON can't hold; ask for it \
                     with \"binary_data\": true"
                ));
            }
        });
    } else {
        list(out, b",", 0..count, |out, _| elements.write(out));
    }
    out.push(b']');
    problem
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn output(name: &str, tensor: Tensor, binary: bool) -> Output {
        Output { name: name.to_owned(), tensor, binary }
    }

    fn text(id: &str, outputs: &[Output]) -> (String, Option<Data>) {
        let (json, tensors) = encode("m", 3, id, outputs).unwrap();
        (String::from_utf8(json).unwrap(), tensors)
    }

    #[test]
    fn data_is_flat_and_numbers_are_short() {
        let values = [0.1, -2.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30];
        let floats = Tensor::from_f32(vec![2, 3], &values).unwrap();
        let strings = Tensor::from_strings(vec![1], &["9.5:1:a \"cat\""]).unwrap();
        let (json, tensors) = text("", &[output("y", floats, false), output("c", strings, false)]);
        assert!(tensors.is_none());
        assert_eq!(
            json,
            concat!(
                r#"{"model_name":"m","model_version":"3","outputs":["#,
                r#"{"name":"y","datatype":"FP32","shape":[2,3],"#,
                r#""data":[0.1,-2.0,NaN,Infinity,-Infinity,1e+30]},"#,
                r#"{"name":"c","datatype":"BYTES","shape":[1],"data":["9.5:1:a \"cat\""]}]}"#
            )
        );
    }

    #[test]
    fn bytes_follow_in_the_order_of_the_outputs_and_are_not_copied() {
        let data = Bytes::from(vec![1, 2, 3, 4]);
        let a = Tensor::new(DType::U8, vec![4], data.clone()).unwrap();
        let b = Tensor::new(DType::I8, vec![1], Bytes::from_static(b"\x05")).unwrap();
        let outputs =
            [output("a", a.clone(), true), output("n", b.clone(), false), output("b", b, true)];
        let (json, tensors) = text("7", &outputs);
        let tensors = tensors.unwrap();
        assert_eq!(tensors.to_bytes()[..], [1, 2, 3, 4, 5]);
        assert_eq!(tensors.pieces()[0].as_ptr(), data.as_ptr());
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["id"], "7");
        assert_eq!(json["outputs"][0]["parameters"]["binary_data_size"], 4);
        assert_eq!(json["outputs"][1]["data"][0], 5);
        assert_eq!(json["outputs"][2]["parameters"]["binary_data_size"], 1);
        let empty = Tensor::zeros(DType::F32, vec![0]).unwrap();
        assert!(text("", &[output("e", empty, true)]).1.unwrap().is_empty());
    }

    #[test]
    fn bytes_that_are_no_text_are_told_to_be_asked_for_as_bytes() {
        let strings = Tensor::from_strings(vec![2], &[&b"hi"[..], b"\xff"]).unwrap();
        let error = encode("m", 1, "", &[output("s", strings, false)]).unwrap_err();
        assert!(error.starts_with("output `s`: element 1 is no text"), "{error}");
    }
}

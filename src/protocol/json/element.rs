//! One JSON value into one element's bytes.
//!
//! Numbers go by the input's dtype (TensorFlow Serving's util/json_tensor.cc, `AddValueToTensor`):
//! an integer dtype takes no fraction, and nothing is cut or wrapped to fit.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose::STANDARD};
use jiter::{Jiter, JiterError, NumberInt, Peek};

use crate::tensor::DType;

/// Why a value is no element; where it stands, the caller tells.
pub enum Refused {
    /// Not even JSON.
    Json(JiterError),
    /// JSON of another kind: what it is instead.
    Is(String),
    /// A number the dtype has no room for.
    Range(String),
}

impl From<JiterError> for Refused {
    fn from(error: JiterError) -> Refused {
        Refused::Json(error)
    }
}

/// Puts the value that starts with `peek` at the end of `out`.
#[inline]
pub fn push(
    dtype: DType,
    json: &mut Jiter<'_>,
    peek: Peek,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    use half::{bf16, f16};
    match dtype {
        DType::F32 => {
            float(json, peek, out, |v| ((v as f32).is_finite(), (v as f32).to_le_bytes()))
        }
        DType::F64 => float(json, peek, out, |v| (v.is_finite(), v.to_le_bytes())),
        DType::F16 => float(json, peek, out, |v| {
            (f16::from_f64(v).is_finite(), f16::from_f64(v).to_le_bytes())
        }),
        DType::BF16 => float(json, peek, out, |v| {
            (bf16::from_f64(v).is_finite(), bf16::from_f64(v).to_le_bytes())
        }),
        DType::U8 => int(json, peek, out, u8::to_le_bytes),
        DType::U16 => int(json, peek, out, u16::to_le_bytes),
        DType::U32 => int(json, peek, out, u32::to_le_bytes),
        DType::U64 => int(json, peek, out, u64::to_le_bytes),
        DType::I8 => int(json, peek, out, i8::to_le_bytes),
        DType::I16 => int(json, peek, out, i16::to_le_bytes),
        DType::I32 => int(json, peek, out, i32::to_le_bytes),
        DType::I64 => int(json, peek, out, i64::to_le_bytes),
        DType::Bool => match peek {
            Peek::True | Peek::False => {
                out.push(u8::from(json.known_bool(peek)?));
                Ok(())
            }
            _ => Err(Refused::Is(kind(peek).to_owned())),
        },
        DType::Bytes => match peek {
            Peek::String => string(json.known_str()?.as_bytes(), out),
            _ => Err(Refused::Is(kind(peek).to_owned())),
        },
    }
}

/// A byte string with its length before it.
pub fn string(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
    let len = u32::try_from(bytes.len()).map_err(|_| Refused::Is("4 GiB of text".to_owned()))?;
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// The rest of `{"b64": "..."}`, whose key has been read.
pub fn base64(json: &mut Jiter<'_>) -> Result<Vec<u8>, Refused> {
    let decoded = decode(json.next_str()?.as_bytes());
    let decoded = decoded.map_err(|e| Refused::Is(format!("text that is no base64 ({e})")))?;
    match json.next_key()? {
        None => Ok(decoded),
        Some(_) => Err(Refused::Is("an object with more than `b64`".to_owned())),
    }
}

/// As absl::Base64Unescape does: padding may be left out, and line breaks don't matter.
fn decode(text: &[u8]) -> Result<Vec<u8>, base64::DecodeError> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    STANDARD.decode(text).or_else(|_| {
        let dense: Vec<u8> = text.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
        LENIENT.decode(dense)
    })
}

/// What a value is that starts so.
pub fn kind(peek: Peek) -> &'static str {
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

/// `narrow` gives the element's bytes and whether it is finite.
#[inline]
fn float<const N: usize>(
    json: &mut Jiter<'_>,
    peek: Peek,
    out: &mut Vec<u8>,
    narrow: impl Fn(f64) -> (bool, [u8; N]),
) -> Result<(), Refused> {
    if !peek.is_num() {
        return Err(Refused::Is(kind(peek).to_owned()));
    }
    let start = json.current_index();
    let (finite, bytes) = narrow(json.known_float(peek)?);
    if !finite {
        // Infinite because it says so, or because it is too large?
        let text = json.slice_to_current(start);
        if !text.ends_with(b"N") && !text.ends_with(b"y") {
            return Err(Refused::Range(String::from_utf8_lossy(text).into_owned()));
        }
    }
    out.extend_from_slice(&bytes);
    Ok(())
}

#[inline]
fn int<T: TryFrom<i64> + std::str::FromStr, const N: usize>(
    json: &mut Jiter<'_>,
    peek: Peek,
    out: &mut Vec<u8>,
    bytes: impl Fn(T) -> [u8; N],
) -> Result<(), Refused> {
    if !peek.is_num() {
        return Err(Refused::Is(kind(peek).to_owned()));
    }
    let start = json.current_index();
    let read = json.known_int(peek);
    if let Ok(NumberInt::Int(value)) = read
        && let Ok(value) = T::try_from(value)
    {
        out.extend_from_slice(&bytes(value));
        return Ok(());
    }
    // A fraction, too large a number, or an u64 that no i64 holds: the text tells. A number
    // that was refused has not been consumed.
    let text = match read {
        Ok(_) => json.slice_to_current(start),
        Err(_) => json.known_number_bytes(peek)?,
    };
    let text = String::from_utf8_lossy(text).into_owned();
    match text.parse::<T>() {
        Ok(value) => {
            out.extend_from_slice(&bytes(value));
            Ok(())
        }
        Err(_) if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') => {
            Err(Refused::Range(text))
        }
        Err(_) => Err(Refused::Is(text)),
    }
}

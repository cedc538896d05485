//! Steps through a document whose members are known.

use jiter::{Jiter, Peek};

use crate::protocol::json::Fault;
use crate::protocol::json::element::kind;

/// Calls `each` with the members of the object that stands at `place`, but not with those that are
/// null: some clients write what they don't say so.
pub fn members<'j>(
    json: &mut Jiter<'j>,
    place: &str,
    mut each: impl FnMut(&mut Jiter<'j>, &str) -> Result<(), Fault>,
) -> Result<(), Fault> {
    match json.peek()? {
        Peek::Object => {}
        other => return Err(wrong(place, "an object", other)),
    }
    let mut key = json.known_object()?.map(str::to_owned);
    while let Some(name) = key {
        match json.peek()? {
            Peek::Null => json.known_null()?,
            _ => each(json, &name)?,
        }
        key = json.next_key()?.map(str::to_owned);
    }
    Ok(())
}

/// Calls `each` with the place of every item of the array that stands at `place`.
pub fn items<'j>(
    json: &mut Jiter<'j>,
    place: &str,
    mut each: impl FnMut(&mut Jiter<'j>, usize) -> Result<(), Fault>,
) -> Result<(), Fault> {
    match json.peek()? {
        Peek::Array => {}
        other => return Err(wrong(place, "an array", other)),
    }
    let mut next = json.known_array()?;
    let mut at = 0;
    while next.is_some() {
        each(json, at)?;
        at += 1;
        next = json.array_step()?;
    }
    Ok(())
}

/// Fills `slot`, once.
pub fn once<T>(slot: &mut Option<T>, place: &str, key: &str, value: T) -> Result<(), Fault> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Fault::new(format!("{place}: `{key}` is there twice"))),
    }
}

/// A string.
pub fn text(json: &mut Jiter<'_>, place: &str, key: &str) -> Result<String, Fault> {
    match json.peek()? {
        Peek::String => Ok(json.known_str()?.to_owned()),
        other => Err(wrong(&format!("{place}.{key}"), "a string", other)),
    }
}

/// A boolean.
pub fn flag(json: &mut Jiter<'_>, place: &str, key: &str) -> Result<bool, Fault> {
    match json.peek()? {
        peek @ (Peek::True | Peek::False) => Ok(json.known_bool(peek)?),
        other => Err(wrong(&format!("{place}.{key}"), "a boolean", other)),
    }
}

/// A whole number that is not negative.
pub fn whole(json: &mut Jiter<'_>, place: &str, key: &str) -> Result<u64, Fault> {
    let peek = json.peek()?;
    if !peek.is_num() {
        return Err(wrong(&format!("{place}.{key}"), "a whole number", peek));
    }
    let text = String::from_utf8_lossy(json.known_number_bytes(peek)?).into_owned();
    text.parse().map_err(|_| {
        Fault::new(format!("{place}.{key}: expected a whole number up to {}, got {text}", u64::MAX))
    })
}

/// As [`whole`], of something that lies in memory.
pub fn count(json: &mut Jiter<'_>, place: &str, key: &str) -> Result<usize, Fault> {
    let n = whole(json, place, key)?;
    usize::try_from(n).map_err(|_| Fault::new(format!("{place}.{key}: {n} is too large")))
}

fn wrong(place: &str, expected: &str, got: Peek) -> Fault {
    Fault::new(format!("{place}: expected {expected}, got {}", kind(got)))
}

//! Models' names as names of files and keys, and back. Pure.

/// The longest name of a file on Linux.
const FILE_NAME: usize = 255;

/// The longest key of a ConfigMap.
const KEY: usize = 253;

/// A model's directory: percent-encoded but for letters, digits, `-`, `_`, and dots within.
pub fn to_file(model: &str) -> Option<String> {
    encode(model, b'%', FILE_NAME)
}

/// The model of a directory, if it is one's.
pub fn from_file(name: &str) -> Option<String> {
    decode(name, b'%').filter(|model| to_file(model).as_deref() == Some(name))
}

/// A model's key in a ConfigMap, which knows no `%`: a dot stands for it.
pub fn to_key(model: &str) -> Option<String> {
    encode(model, b'.', KEY)
}

/// The model of a key, if it is one's.
pub fn from_key(key: &str) -> Option<String> {
    decode(key, b'.').filter(|model| to_key(model).as_deref() == Some(key))
}

fn encode(model: &str, mark: u8, most: usize) -> Option<String> {
    let mut name = String::with_capacity(model.len());
    for (i, byte) in model.bytes().enumerate() {
        // A leading dot hides a file.
        let dot = byte == b'.' && byte != mark && i > 0;
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || dot {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("{}{byte:02X}", char::from(mark)));
        }
    }
    (!name.is_empty() && name.len() <= most).then_some(name)
}

fn decode(name: &str, mark: u8) -> Option<String> {
    let mut bytes = name.bytes();
    let mut model = Vec::with_capacity(name.len());
    while let Some(byte) = bytes.next() {
        if byte != mark {
            model.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        model.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(model).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_names_stay_and_others_are_spelled_out() {
        assert_eq!(to_file("efficientnet_lite0").unwrap(), "efficientnet_lite0");
        assert_eq!(to_file("v1.5/ä").unwrap(), "v1.5%2F%C3%A4");
        assert_eq!(to_file("..").unwrap(), "%2E.");
        assert_eq!(to_key("efficientnet_lite0").unwrap(), "efficientnet_lite0");
        assert_eq!(to_key("v1.5/ä").unwrap(), "v1.2E5.2F.C3.A4");
        assert_eq!(to_file(""), None);
        assert_eq!(to_file(&"a".repeat(256)), None);
        assert_eq!(to_key(&"/".repeat(85)), None);
    }

    #[test]
    fn names_that_are_no_models_are_strangers() {
        for name in [".tmp-1", "a b", "%2e", "%41", "%", "%F", "%FF"] {
            assert_eq!(from_file(name), None, "{name}");
        }
        assert_eq!(from_key("ca.crt"), None);
        assert_eq!(from_key("a.2e"), None);
    }

    proptest! {
        #[test]
        fn there_and_back(model in "\\PC{1,20}") {
            let file = to_file(&model).unwrap();
            prop_assert!(!file.starts_with('.') && !file.contains('/'));
            prop_assert_eq!(from_file(&file).unwrap(), model.clone());
            if let Some(key) = to_key(&model) {
                let fine = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
                prop_assert!(key.bytes().all(fine) && !key.starts_with(".."));
                prop_assert_eq!(from_key(&key).unwrap(), model);
            }
        }
    }
}

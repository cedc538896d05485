//! Who may say what the models are: minisign's public keys, and whether one of them signed.

use std::fmt;
use std::str::FromStr;

use minisign_verify::{PublicKey, Signature};

/// What a signature's name ends with, after the file's.
pub const SUFFIX: &str = ".minisig";

/// Bytes of a signature's file at most.
pub const MOST_BYTES: u64 = 4 << 10;

/// Keys of which one must have signed; without any, nobody need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedKeys {
    keys: Vec<PublicKey>,
    text: String,
}

impl TrustedKeys {
    /// Whether nothing need be signed.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether `signature` is what one of the keys makes of `bytes`; else why not.
    pub fn verify(&self, bytes: &[u8], signature: &str) -> Result<(), String> {
        let signature = Signature::decode(signature)
            .map_err(|e| format!("its signature can't be read ({e})"))?;
        let tried = self.keys.iter().map(|key| key.verify(bytes, &signature, false));
        let mut why = "it is signed by a key that is not trusted";
        for outcome in tried {
            match outcome {
                Ok(()) => return Ok(()),
                Err(minisign_verify::Error::UnexpectedKeyId) => {}
                Err(minisign_verify::Error::UnexpectedAlgorithm) => {
                    why = "its signature is of minisign's old kind, which hashes nothing: sign it anew";
                }
                Err(_) => why = "it is not what a trusted key signed",
            }
        }
        Err(why.to_owned())
    }
}

impl FromStr for TrustedKeys {
    type Err = String;

    fn from_str(text: &str) -> Result<TrustedKeys, String> {
        let words = text.split([',', ' ', '\n']).map(str::trim).filter(|word| !word.is_empty());
        let key = |word| {
            PublicKey::from_base64(word).map_err(|_| {
                format!("`{word}` is no minisign public key: it is the second line of minisign.pub")
            })
        };
        let keys = words.map(key).collect::<Result<_, _>>()?;
        Ok(TrustedKeys { keys, text: text.to_owned() })
    }
}

impl fmt::Display for TrustedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made by tests/sources/minisign.py.
    const KEY: &str = "RWRRAuYhjzp5Z1vx5QAQ9cO6QzGTGsv/jjL33FJH7yegWMwtTm5GtXes";
    const OTHER: &str = "RWSn0h0K8+LvpUTj1b+tH8QWubbaduTbtBN8p2uiM3GORSL0azVwPSZB";
    const TEXT: &[u8] = b"{\"format\": 1, \"files\": []}\n";
    const SIGNATURE: &str = "untrusted comment: a test
RURRAuYhjzp5Z/7xzwquwfH+2SaqvRVrUB+WFoyhbUoHazkFyE2KC05Nd3Xt/FUvXU1N8WIIrmjIFGqXyECvh/MkJgEculcZNg0=
trusted comment: timestamp:1
VqqbVjLDDYVVnIQHSMmQbKOqt90wzKKSfMqsVwRFjlCAKa73HMwMvcnwzFtyGZKnntzZ9IKLBGli3m2Hxj8pAw==
";

    fn keys(text: &str) -> TrustedKeys {
        text.parse().unwrap()
    }

    #[test]
    fn one_of_the_keys_must_have_signed_just_these_bytes() {
        for trusted in [KEY.to_owned(), format!("{OTHER}, {KEY}"), format!("{KEY}\n{OTHER}\n")] {
            assert_eq!(keys(&trusted).verify(TEXT, SIGNATURE), Ok(()));
        }
        let wrong = |keys: &TrustedKeys, text, signature| keys.verify(text, signature).unwrap_err();
        assert!(wrong(&keys(OTHER), TEXT, SIGNATURE).contains("not trusted"));
        assert!(wrong(&keys(KEY), b"{}", SIGNATURE).contains("not what a trusted key signed"));
        assert!(wrong(&keys(KEY), TEXT, "untrusted comment: none\n").contains("can't be read"));
        let comment = SIGNATURE.replace("timestamp:1", "timestamp:2");
        assert!(wrong(&keys(KEY), TEXT, &comment).contains("not what a trusted key signed"));
        // Whoever asks for a signature by nobody has none.
        assert!(keys("").is_empty() && keys("").verify(TEXT, SIGNATURE).is_err());
    }

    #[test]
    fn what_is_no_key_is_told() {
        assert!("RWQnone".parse::<TrustedKeys>().unwrap_err().contains("`RWQnone` is no minisign"));
        assert_eq!(keys(KEY).to_string(), KEY);
    }
}

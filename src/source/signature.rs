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

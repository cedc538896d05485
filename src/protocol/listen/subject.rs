//! Who a client's certificate speaks of: its subject, read out of the DER (RFC 5280).
//!
//! The certificate was verified before; this only walks to one field of it, and gives up on
//! anything that is not shaped as expected.

use std::fmt::Write as _;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
/// The version, which may be left out.
const CONTEXT_0: u8 = 0xa0;

/// The attributes people use, by their object identifiers.
const NAMES: [(&[u8], &str); 8] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
];

/// The subject as `CN=name, O=organisation`, in the certificate's order. Attributes with other
/// identifiers or in UTF-16 are left out.
pub(super) fn subject(certificate: &[u8]) -> Option<String> {
    let (certificate, _) = take(certificate, SEQUENCE)?;
    let (mut fields, _) = take(certificate, SEQUENCE)?;
    if fields.first() == Some(&CONTEXT_0) {
        (_, fields) = any(fields).map(|(_, value, rest)| (value, rest))?;
    }
    // Serial number, signature algorithm, issuer, validity.
    for _ in 0..4 {
        (_, _, fields) = any(fields)?;
    }
    let (mut subject, _) = take(fields, SEQUENCE)?;
    let mut told = String::new();
    while !subject.is_empty() {
        let (mut set, rest) = take(subject, SET)?;
        subject = rest;
        while !set.is_empty() {
            let (attribute, rest) = take(set, SEQUENCE)?;
            set = rest;
            let (oid, value) = take(attribute, OID)?;
            let (_, value, _) = any(value)?;
            let name = NAMES.iter().find(|(known, _)| *known == oid);
            if let (Some((_, name)), Ok(value)) = (name, std::str::from_utf8(value)) {
                let comma = if told.is_empty() { "" } else { ", " };
                // Writing to a String can't fail.
                let _ = write!(told, "{comma}{name}={value}");
            }
        }
    }
    Some(told)
}

/// The value of an element that must have this tag, and what follows it.
fn take(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    any(bytes).filter(|(found, ..)| *found == tag).map(|(_, value, rest)| (value, rest))
}

/// An element's tag and value, and what follows it.
fn any(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, bytes) = bytes.split_first()?;
    let (&first, bytes) = bytes.split_first()?;
    let (length, bytes) = match first {
        0..=0x7f => (usize::from(first), bytes),
        // The length's own length; four bytes are more than any certificate needs.
        0x81..=0x84 => {
            let (length, bytes) = bytes.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), bytes)
        }
        _ => return None,
    };
    let (value, rest) = bytes.split_at_checked(length)?;
    Some((tag, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    #[test]
    fn tells_the_subject_and_survives_every_cut() {
        let mut params = CertificateParams::new(["x".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "scanner 7");
        params.distinguished_name.push(DnType::OrganizationName, "Zoë & Söhne");
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let der = certificate.der();
        assert_eq!(subject(der).unwrap(), "CN=scanner 7, O=Zoë & Söhne");
        for end in 0..der.len() {
            assert_eq!(subject(&der[..end]), None);
        }
        for at in 0..der.len() {
            let mut broken = der.to_vec();
            broken[at] ^= 0xff;
            let _ = subject(&broken);
        }
    }
}

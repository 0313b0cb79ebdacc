//! When a credential ends, as far as it says so itself: a certificate's `notAfter`, a token's `exp`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use super::access::Credential;
use super::tls;
use crate::domain::Timestamp;

/// When `credential` ends; `None` for a token that does not say so, or whatever cannot be read.
pub fn of(credential: &Credential) -> Option<Timestamp> {
    match credential {
        Credential::Token(token) => token_expiry(token.expose_secret()),
        Credential::ClientCertificate { chain_pem, key_pem: _ } => {
            // The chain ends with the first of its certificates to end.
            let chain = tls::certificates(chain_pem.as_bytes()).ok()?;
            chain.iter().map(|certificate| not_after(certificate)).collect::<Option<Vec<_>>>()?.into_iter().min()
        }
    }
}

/// Tokens of service accounts are JWTs; older ones carry no `exp` and never end.
fn token_expiry(token: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Claims {
        exp: Option<i64>,
    }
    let payload = token.split('.').nth(1)?;
    // Not verified: only the API server can, and what it says about itself is all that is shown.
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    Some(Timestamp::from_micros(claims.exp?.checked_mul(1_000_000)?))
}

/// `notAfter` of a certificate in DER. A walk of a dozen lines instead of a parser for all of X.509: Certificate is a
/// sequence of tbsCertificate, which is `[0] version`, serial, algorithm, issuer, validity; validity is two times.
fn not_after(certificate: &[u8]) -> Option<Timestamp> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (_, certificate, _) = element(certificate)?;
    let (_, mut fields, _) = element(certificate)?;
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    // Serial, algorithm, issuer.
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    let (SEQUENCE, validity, _) = element(fields)? else { return None };
    let (_, _, after_not_before) = element(validity)?;
    let (kind, text, _) = element(after_not_before)?;
    time(kind, std::str::from_utf8(text).ok()?)
}

/// Tag, content and what follows of the first element.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // More than four bytes of length is no certificate.
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ` (until 2049) or `YYYYMMDDHHMMSSZ`.
fn time(kind: u8, text: &str) -> Option<Timestamp> {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let full = match kind {
        UTC_TIME => {
            let century = if text.get(..2)?.parse::<u8>().ok()? < 50 { "20" } else { "19" };
            format!("{century}{text}")
        }
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let full = full.strip_suffix('Z')?;
    let at = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", full).ok()?;
    Some(Timestamp::from_jiff(at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(year: i32) -> String {
        let mut params = rcgen::CertificateParams::new(vec!["edge".into()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 7, 14);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
    }

    fn ends(chain_pem: String) -> Option<String> {
        of(&Credential::ClientCertificate { chain_pem, key_pem: String::new().into() }).map(|at| at.to_string())
    }

    #[test]
    fn a_certificate_ends_when_it_says_in_both_notations() {
        assert_eq!(ends(certificate(2031)).as_deref(), Some("2031-07-14T00:00:00Z"));
        assert_eq!(ends(certificate(2107)).as_deref(), Some("2107-07-14T00:00:00Z"));
    }

    #[test]
    fn a_chain_ends_with_the_first_of_its_certificates() {
        let chain = format!("{}{}", certificate(2035), certificate(2029));
        assert_eq!(ends(chain).as_deref(), Some("2029-07-14T00:00:00Z"));
    }

    #[test]
    fn a_token_ends_at_its_claim_and_an_old_one_never() {
        let token = |claims: &str| format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims));
        let ends = |token: String| of(&Credential::Token(token.into())).map(Timestamp::as_micros);
        assert_eq!(ends(token(r#"{"exp":1900000000,"sub":"x"}"#)), Some(1_900_000_000_000_000));
        assert_eq!(ends(token(r#"{"sub":"x"}"#)), None);
        assert_eq!(ends(token(r#"{"exp":9223372036854775807}"#)), None);
        assert_eq!(ends("opaque".into()), None);
    }

    #[test]
    fn cut_certificates_are_not_read_beyond_their_end() {
        let pem = certificate(2031);
        let der = tls::certificates(pem.as_bytes()).unwrap().remove(0);
        for length in 0..der.len() {
            // Whatever comes out, it must come out.
            let _ = not_after(&der[..length]);
        }
        assert_eq!(not_after(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}

<<<<<<< HEAD
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
=======
//! When a credential ends, and whose it is, as far as it says so itself. For warnings and renewal, never for trust:
//! nothing here is verified.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::access::Credential;
use crate::domain::Timestamp;

/// The service account that a token is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Credential {
    /// When it ends: `exp` of a JWT, `notAfter` of a certificate. `None` for what does not end or does not say.
    pub fn expires_at(&self) -> Option<Timestamp> {
        match self {
            Self::Token(token) => claims(token.expose_secret()).and_then(|claims| claims.expires_at()),
            Self::ClientCertificate { chain_pem, key_pem: _ } => {
                let leaf = CertificateDer::from_pem_slice(chain_pem.as_bytes()).ok()?;
                not_after(&leaf)
            }
        }
    }

    /// The service account that a token says it is for: the only kind of credential that can renew itself.
    pub fn service_account(&self) -> Option<ServiceAccount> {
        let Self::Token(token) = self else { return None };
        let subject = claims(token.expose_secret())?.sub?;
        let (namespace, name) = subject.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        super::edge::checked(namespace).ok()?;
        super::edge::checked(name).ok()?;
        Some(ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    exp: Option<i64>,
}

impl Claims {
    fn expires_at(&self) -> Option<Timestamp> {
        self.exp.filter(|seconds| *seconds > 0)?.checked_mul(1_000_000).map(Timestamp::from_micros)
    }
}

fn claims(token: &str) -> Option<Claims> {
    let mut parts = token.split('.');
    let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    let payload = Zeroizing::new(URL_SAFE_NO_PAD.decode(payload).ok()?);
    serde_json::from_slice(&payload).ok()
}

/// `notAfter` of an X.509 certificate: Certificate { TBSCertificate { [0] version?, serial, algorithm, issuer,
/// validity { notBefore, notAfter }, … } … }. A whole parser would be another dependency for one field.
fn not_after(certificate: &[u8]) -> Option<Timestamp> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (SEQUENCE, certificate, _) = element(certificate)? else { return None };
    let (SEQUENCE, mut fields, _) = element(certificate)? else { return None };
    if let (VERSION, _, rest) = element(fields)? {
        fields = rest;
    }
    for _serial_algorithm_issuer in 0..3 {
        (_, _, fields) = element(fields)?;
    }
    let (SEQUENCE, validity, _) = element(fields)? else { return None };
    let (_, _, validity) = element(validity)?;
    let (kind, text, _) = element(validity)?;
    time(kind, std::str::from_utf8(text).ok()?)
}

/// The first element of some DER: its tag, its content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(first) {
        short @ 0..0x80 => (short, rest),
        long => {
            let bytes = rest.get(..long & 0x7f).filter(|bytes| (1..=4).contains(&bytes.len()))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), &rest[bytes.len()..])
        }
    };
    Some((tag, rest.get(..length)?, &rest[length..]))
}

/// UTCTime `YYMMDDHHMMSSZ` or GeneralizedTime `YYYYMMDDHHMMSSZ` (RFC 5280, 4.1.2.5).
fn time(kind: u8, text: &str) -> Option<Timestamp> {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let digits = text.strip_suffix('Z')?;
    let (year, rest) = match kind {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year: i16 = year.parse().ok()?;
            (if year < 50 { 2_000 + year } else { 1_900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    if rest.len() != 10 || !rest.is_ascii() {
        return None;
    }
    let part = |at: usize| rest[at..at + 2].parse::<i8>().ok();
    let date = jiff::civil::Date::new(year, part(0)?, part(2)?).ok()?;
    let time = jiff::civil::Time::new(part(4)?, part(6)?, part(8)?, 0).ok()?;
    let instant = date.to_datetime(time).to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp::from_jiff(instant.timestamp()))
>>>>>>> 837dc13 (Give the hub an account of its own in a cluster, and know when a credential ends)
}

#[cfg(test)]
mod tests {
    use super::*;

<<<<<<< HEAD
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
=======
    fn token(payload: &str) -> Credential {
        Credential::Token(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload)).into())
    }

    #[test]
    fn a_service_accounts_token_says_whose_it_is_and_when_it_ends() {
        let hub = token(r#"{"sub":"system:serviceaccount:fleetlift:fleetlift-hub","exp":1795000000,"iat":1}"#);
        assert_eq!(hub.expires_at(), Some(Timestamp::from_micros(1_795_000_000_000_000)));
        let account = ServiceAccount { namespace: "fleetlift".to_owned(), name: "fleetlift-hub".to_owned() };
        assert_eq!(hub.service_account(), Some(account));
    }

    #[test]
    fn what_says_nothing_or_nonsense_neither_ends_nor_renews_itself() {
        let opaque = Credential::Token("kubeconfig-u-x:abc.def".to_owned().into());
        let odd = [
            opaque,
            token("[]"),
            token(r#"{"exp":-5,"sub":"system:serviceaccount:a"}"#),
            token(r#"{"exp":9223372036854775807,"sub":"system:serviceaccount:../x:y"}"#),
            token(r#"{"sub":"system:serviceaccount:a:b/token"}"#),
        ];
        for credential in odd {
            assert_eq!((credential.expires_at(), credential.service_account()), (None, None));
        }
    }

    #[test]
    fn a_certificate_tells_its_end_before_and_after_2050() {
        for (year, seconds) in [(2031, 1_925_000_000), (2066, 3_030_000_000)] {
            let mut params = rcgen::CertificateParams::new(vec!["hub".to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let key = rcgen::KeyPair::generate().unwrap();
            let chain_pem = params.self_signed(&key).unwrap().pem();
            let certificate = Credential::ClientCertificate { chain_pem, key_pem: String::new().into() };
            let ends = certificate.expires_at().unwrap();
            assert!(ends.to_string().starts_with(&format!("{year}-01-01T00:00:00")), "{ends}");
            assert!(ends.as_micros() / 1_000_000 - seconds < 40_000_000);
        }
    }

    #[test]
    fn damaged_certificates_end_nowhere() {
        let certified = rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap();
        let der = certified.cert.der();
        assert!(not_after(der).is_some());
        for cut in 0..der.len() {
            // Shorter than its own length says: nothing may be read from it, and nothing may panic.
            assert_eq!(not_after(&der[..cut]), None, "{cut}");
        }
        assert_eq!(not_after(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(time(0x17, "9913\u{e4}0101000Z"), None);
>>>>>>> 837dc13 (Give the hub an account of its own in a cluster, and know when a credential ends)
    }
}

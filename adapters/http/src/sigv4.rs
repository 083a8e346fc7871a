//! Signatures for Amazon's services: version 4, in the `Authorization` header.
//!
//! Pure: the moment and the keys come from the caller.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::api::hex;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The request as it is signed. Path and query stand here as they stand in the request: escaped,
/// the query sorted.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    /// Names in lower case, sorted; values without white space at the ends.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
}

/// What the signing key is good for.
pub(crate) struct Scope<'a> {
    /// `20150830T123600Z`, the same as in the header `x-amz-date`.
    pub(crate) at: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

/// The value of the `Authorization` header. `None` only if HMAC took no key of this length, and it
/// takes any.
pub(crate) fn authorization(
    request: &Request<'_>,
    scope: &Scope<'_>,
    key_id: &str,
    secret: &SecretString,
) -> Option<String> {
    let key = signing_key(scope, secret)?;
    let signature = hex(&mac(&key, &string_to_sign(request, scope))?);
    let credential = format!("{key_id}/{}", scope.name());
    let signed = signed_headers(request);
    Some(format!(
        "{ALGORITHM} Credential={credential}, SignedHeaders={signed}, Signature={signature}"
    ))
}

impl Scope<'_> {
    fn date(&self) -> &str {
        self.at.get(..8).unwrap_or_default()
    }

    fn name(&self) -> String {
        format!(
            "{}/{}/{}/aws4_request",
            self.date(),
            self.region,
            self.service
        )
    }
}

fn string_to_sign(request: &Request<'_>, scope: &Scope<'_>) -> String {
    let digest = hex(&Sha256::digest(canonical(request).as_bytes()));
    format!("{ALGORITHM}\n{}\n{}\n{digest}", scope.at, scope.name())
}

fn canonical(request: &Request<'_>) -> String {
    let Request {
        method,
        path,
        query,
        ..
    } = request;
    let headers = request.headers.iter();
    let headers: String = headers
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    let signed = signed_headers(request);
    let body = hex(&Sha256::digest(request.body));
    format!("{method}\n{path}\n{query}\n{headers}\n{signed}\n{body}")
}

fn signed_headers(request: &Request<'_>) -> String {
    let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
    names.join(";")
}

fn signing_key(scope: &Scope<'_>, secret: &SecretString) -> Option<[u8; 32]> {
    let secret = SecretString::from(format!("AWS4{}", secret.expose_secret()));
    let mut key = mac(secret.expose_secret().as_bytes(), scope.date())?;
    for part in [scope.region, scope.service, "aws4_request"] {
        key = mac(&key, part)?;
    }
    Some(key)
}

fn mac(key: &[u8], text: &str) -> Option<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(text.as_bytes());
    Some(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    /// The key of Amazon's published examples.
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const AT: &str = "20150830T123600Z";

    fn scope(service: &'static str) -> Scope<'static> {
        let region = "us-east-1";
        Scope {
            at: AT,
            region,
            service,
        }
    }

    #[test]
    fn the_signing_key_is_that_of_the_published_example() {
        let key = signing_key(&scope("iam"), &SECRET.into()).unwrap();
        let published = "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9";
        assert_eq!(hex(&key), published);
    }

    #[test]
    fn list_users_is_signed_like_the_published_example() {
        let request = Request {
            method: "GET",
            path: "/",
            query: "Action=ListUsers&Version=2010-05-08",
            headers: &[
                (
                    "content-type",
                    "application/x-www-form-urlencoded; charset=utf-8",
                ),
                ("host", "iam.amazonaws.com"),
                ("x-amz-date", AT),
            ],
            body: b"",
        };
        assert_eq!(
            hex(&Sha256::digest(canonical(&request).as_bytes())),
            "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59",
        );
        assert_eq!(
            authorization(&request, &scope("iam"), "AKIDEXAMPLE", &SECRET.into()).unwrap(),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
        );
    }

    /// `post-vanilla` and `post-x-www-form-urlencoded` of Amazon's test suite.
    #[test]
    fn posts_are_signed_like_those_of_the_published_suite() {
        let vanilla: &[_] = &[("host", "example.amazonaws.com"), ("x-amz-date", AT)];
        let form: &[_] = &[
            ("content-type", "application/x-www-form-urlencoded"),
            ("host", "example.amazonaws.com"),
            ("x-amz-date", AT),
        ];
        for (headers, body, signature) in [
            (
                vanilla,
                "",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                form,
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ] {
            let request = Request {
                method: "POST",
                path: "/",
                query: "",
                headers,
                body: body.as_bytes(),
            };
            let signed = authorization(&request, &scope("service"), "AKIDEXAMPLE", &SECRET.into());
            let signed = signed.unwrap();
            assert!(
                signed.ends_with(&format!("Signature={signature}")),
                "{signed}"
            );
        }
    }
}

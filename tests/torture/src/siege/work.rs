//! The work that the demo asks of a browser.

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::post::hex;

/// Does the work as the pages' script does; the answer goes into the next request.
pub(crate) fn solve(challenge: &Value) -> Option<String> {
    let text = |name: &str| challenge.get(name).and_then(Value::as_str);
    let (salt, wanted) = (text("salt")?, text("challenge")?);
    let most = challenge.get("maxnumber")?.as_u64()?;
    let fits = |number: &u64| hex(&Sha256::digest(format!("{salt}{number}"))) == wanted;
    let number = (0..=most).find(fits)?;
    let answer = json!({
        "algorithm": text("algorithm")?,
        "challenge": wanted,
        "number": number,
        "salt": salt,
        "signature": text("signature")?,
    });
    Some(Base64::encode_string(answer.to_string().as_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    #[test]
    fn the_number_is_found() {
        let wanted = hex(&Sha256::digest("salt&17"));
        let challenge = |most: u64| {
            json!({
                "algorithm": "SHA-256", "challenge": wanted, "maxnumber": most,
                "salt": "salt&", "signature": "s",
            })
        };
        let answer = Base64::decode_vec(&solve(&challenge(17)).unwrap()).unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer.get("number"), Some(&json!(17)));
        assert_eq!(solve(&challenge(16)), None);
    }
}

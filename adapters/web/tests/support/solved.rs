//! The work that a browser does.

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Does the work as the script does.
pub(crate) fn solved(work: &Value) -> String {
    let (salt, wanted) = (
        work["salt"].as_str().unwrap(),
        work["challenge"].as_str().unwrap(),
    );
    let fits = |number: &u64| {
        let digest = Sha256::digest(format!("{salt}{number}"));
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        hex == wanted
    };
    let number = (0..=work["maxnumber"].as_u64().unwrap())
        .find(fits)
        .unwrap();
    let answer = json!({
        "algorithm": work["algorithm"], "challenge": wanted, "number": number,
        "salt": salt, "signature": work["signature"],
    });
    Base64::encode_string(answer.to_string().as_bytes())
}

//! Records as the fields of a hash and back.
//!
//! Writing cannot fail. Reading can: a record may be of a newer version of the crate.

use password_reset::Timestamp;
use password_reset::account::{Tenant, UserId};
use password_reset::token::state::{ClaimId, Hold, Revocation, State};
use password_reset::token::{Epoch, KeyId, Purpose, Selector, TokenDigest, TokenRecord};
use redis::Value;

use crate::error::Error;
use crate::keys::digits;
use crate::reply::{array, at, count, optional, optional_at, text, unreadable};

/// The fields of a record, in the order in which [`record`] reads them. The selector is part of the
/// key; one more field, `keep`, is the time to live in milliseconds.
pub(crate) const FIELDS: [&str; 14] = [
    "purpose", "tenant", "user", "epoch", "key", "digest", "issued", "expires", "attempts",
    "claim", "until", "spent", "revoked", "why",
];

/// The fields that a new record has.
pub(crate) fn pairs(record: &TokenRecord) -> Vec<(&'static str, Vec<u8>)> {
    let TokenRecord { state, .. } = record;
    let claim = match state.hold {
        Hold::Claimed { claim, .. } => Some(claim.as_bytes().to_vec()),
        Hold::Free | Hold::Watched { .. } => None,
    };
    let tenant = record.tenant.as_ref().map(|t| t.as_str().into());
    let at = |moment: Timestamp| digits(moment).into_bytes();
    let fields = [
        ("purpose", Some(record.purpose.as_str().into())),
        ("tenant", tenant),
        ("user", Some(record.user.as_str().into())),
        ("epoch", Some(record.epoch.as_bytes().to_vec())),
        ("key", Some(record.key.0.to_string().into_bytes())),
        ("digest", Some(record.digest.as_bytes().to_vec())),
        ("issued", Some(at(record.issued_at))),
        ("expires", Some(at(record.expires_at))),
        ("attempts", Some(record.attempts.to_string().into_bytes())),
        ("claim", claim),
        ("until", state.hold.due().map(at)),
        ("spent", state.spent_at.map(at)),
        ("revoked", state.revoked.map(|(moment, _)| at(moment))),
        ("why", state.revoked.map(|(_, why)| why.as_str().into())),
    ];
    fields
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// The record of these [`FIELDS`]; `None` when there is none of them.
pub(crate) fn record(
    selector: &Selector,
    values: [Value; FIELDS.len()],
) -> Result<Option<TokenRecord>, Error> {
    if values.iter().all(|value| *value == Value::Nil) {
        return Ok(None);
    }
    let [
        purpose,
        tenant,
        user,
        epoch,
        key,
        digest,
        issued,
        expires,
        attempts,
        claim,
        until,
        spent,
        revoked,
        why,
    ] = values;
    let tenant = match tenant {
        Value::Nil => None,
        tenant => Some(parsed(tenant, "tenant", |name| Tenant::parse(name).ok())?),
    };
    let mut record = TokenRecord::new(
        *selector,
        parsed(purpose, "purpose", Purpose::parse)?,
        tenant,
        parsed(user, "user", |id| UserId::parse(id).ok())?,
        Epoch::from_bytes(array(epoch, "epoch")?),
        KeyId(count(key, "key")?),
        TokenDigest::from_bytes(array(digest, "digest")?),
        at(issued, "issued")?,
        at(expires, "expires")?,
    );
    record.attempts = count(attempts, "attempts")?;
    record.state = State {
        spent_at: optional_at(spent, "spent")?,
        revoked: revocation(revoked, why)?,
        hold: hold(claim, until)?,
    };
    Ok(Some(record))
}

fn hold(claim: Value, until: Value) -> Result<Hold, Error> {
    let until = optional_at(until, "until")?;
    match (claim, until) {
        (Value::Nil, None) => Ok(Hold::Free),
        (Value::Nil, Some(until)) => Ok(Hold::Watched { until }),
        (claim, Some(until)) => {
            let claim = ClaimId::from_bytes(array(claim, "claim")?);
            Ok(Hold::Claimed { claim, until })
        }
        (_, None) => Err(unreadable("until")),
    }
}

fn revocation(revoked: Value, why: Value) -> Result<Option<(Timestamp, Revocation)>, Error> {
    let at = optional_at(revoked, "revoked")?;
    match (at, optional(why, "why")?) {
        (None, None) => Ok(None),
        (Some(at), Some(why)) => {
            let why = std::str::from_utf8(&why).ok().and_then(Revocation::parse);
            Ok(Some((at, why.ok_or(unreadable("why"))?)))
        }
        _ => Err(unreadable("revoked")),
    }
}

fn parsed<T>(
    value: Value,
    field: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Error> {
    parse(&text(value, field)?).ok_or(unreadable(field))
}

//! Reading what the server answers. Nothing of an answer is ever put into an error.

use password_reset::Timestamp;
use redis::Value;

use crate::error::Error;
use crate::keys::moment;

pub(crate) fn unreadable(field: &'static str) -> Error {
    Error::Unreadable { field }
}

/// Bytes, or nothing.
pub(crate) fn optional(value: Value, field: &'static str) -> Result<Option<Vec<u8>>, Error> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        Value::SimpleString(text) => Ok(Some(text.into_bytes())),
        _ => Err(unreadable(field)),
    }
}

/// Bytes.
pub(crate) fn bytes(value: Value, field: &'static str) -> Result<Vec<u8>, Error> {
    optional(value, field)?.ok_or(unreadable(field))
}

/// Bytes of a fixed number.
pub(crate) fn array<const N: usize>(value: Value, field: &'static str) -> Result<[u8; N], Error> {
    bytes(value, field)?
        .try_into()
        .map_err(|_| unreadable(field))
}

/// A text.
pub(crate) fn text(value: Value, field: &'static str) -> Result<String, Error> {
    String::from_utf8(bytes(value, field)?).map_err(|_| unreadable(field))
}

/// A number that is kept as a text.
pub(crate) fn count(value: Value, field: &'static str) -> Result<u32, Error> {
    text(value, field)?.parse().map_err(|_| unreadable(field))
}

/// A number that the server counted itself.
pub(crate) fn integer(value: Value, field: &'static str) -> Result<u64, Error> {
    match value {
        Value::Int(number) => u64::try_from(number).map_err(|_| unreadable(field)),
        _ => Err(unreadable(field)),
    }
}

/// A moment.
pub(crate) fn at(value: Value, field: &'static str) -> Result<Timestamp, Error> {
    moment(&bytes(value, field)?).ok_or(unreadable(field))
}

/// A moment, or nothing.
pub(crate) fn optional_at(value: Value, field: &'static str) -> Result<Option<Timestamp>, Error> {
    optional(value, field)?
        .map(|digits| moment(&digits).ok_or(unreadable(field)))
        .transpose()
}

/// A list.
pub(crate) fn list(value: Value, field: &'static str) -> Result<Vec<Value>, Error> {
    match value {
        Value::Array(items) => Ok(items),
        _ => Err(unreadable(field)),
    }
}

/// A list of as many as there are names for.
pub(crate) fn exactly<const N: usize>(
    value: Value,
    field: &'static str,
) -> Result<[Value; N], Error> {
    list(value, field)?
        .try_into()
        .map_err(|_| unreadable(field))
}

/// 1 or 0.
pub(crate) fn yes(value: Value, field: &'static str) -> Result<bool, Error> {
    Ok(integer(value, field)? == 1)
}

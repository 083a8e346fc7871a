//! One text for three databases: [`Statement`], and the [`Value`]s it is given.

use std::sync::Arc;

use password_reset::Timestamp;
use password_reset::account::UserId;
use password_reset::limit::LimitKey;
use password_reset::queue::JobId;
use password_reset::token::Selector;
use password_reset::token::state::{ClaimId, Revocation};
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use crate::driver::{Placeholder, Syntax};

/// A statement in the words of one database.
///
/// Written as a template: `?1` is the first value, wherever and however often it stands; what is in
/// braces is replaced, mostly by a quoted name, and not looked at again.
pub(crate) struct Statement {
    sql: SqlStr,
    /// Which value each placeholder takes, where the database only counts them.
    order: Vec<usize>,
    /// Whether it is worth a place among the prepared ones.
    pub(crate) persistent: bool,
}

impl Statement {
    pub(crate) fn new(template: &str, syntax: &Syntax, replace: impl Fn(&str) -> String) -> Self {
        let mut sql = String::with_capacity(template.len());
        let mut order = Vec::new();
        let mut rest = template;
        while let Some((before, mark, after)) = split_at_mark(rest) {
            sql.push_str(before);
            rest = match mark {
                '{' => {
                    let (name, after) = after.split_once('}').unwrap_or((after, ""));
                    sql.push_str(&replace(name));
                    after
                }
                _ => {
                    let end = after.find(|c: char| !c.is_ascii_digit());
                    let (number, after) = after.split_at(end.unwrap_or(after.len()));
                    match syntax.placeholder {
                        Placeholder::Numbered(sign) => {
                            sql.push(sign);
                            sql.push_str(number);
                        }
                        Placeholder::Counted => {
                            sql.push('?');
                            order.push(number.parse::<usize>().map_or(0, |n| n.saturating_sub(1)));
                        }
                    }
                    after
                }
            };
        }
        sql.push_str(rest);
        // Safe: templates are constants, of this crate or of the application's code, and names are
        // quoted.
        let sql = AssertSqlSafe(Arc::<str>::from(sql)).into_sql_str();
        Self {
            sql,
            order,
            persistent: true,
        }
    }

    pub(crate) fn sql(&self) -> SqlStr {
        self.sql.clone()
    }

    /// The values, one for each placeholder.
    pub(crate) fn arrange(&self, values: &[Value]) -> Vec<Value> {
        if self.order.is_empty() {
            return values.to_vec();
        }
        let taken = self.order.iter().filter_map(|n| values.get(*n).cloned());
        taken.collect()
    }
}

fn split_at_mark(text: &str) -> Option<(&str, char, &str)> {
    let at = text.find(['{', '?'])?;
    let (before, rest) = text.split_at(at);
    let mut rest = rest.chars();
    let mark = rest.next()?;
    Some((before, mark, rest.as_str()))
}

/// What a statement is given. A null has a type too.
#[derive(Clone)]
pub enum Value {
    Int(Option<i64>),
    Bytes(Option<Vec<u8>>),
    Text(Option<String>),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(Some(number))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Int(Some(number.into()))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Self::Int(number)
    }
}

impl From<Timestamp> for Value {
    fn from(at: Timestamp) -> Self {
        Self::Int(Some(at.unix_micros()))
    }
}

impl From<Option<Vec<u8>>> for Value {
    fn from(bytes: Option<Vec<u8>>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(Some(bytes))
    }
}

impl From<&Selector> for Value {
    fn from(selector: &Selector) -> Self {
        Self::Bytes(Some(selector.as_bytes().to_vec()))
    }
}

impl From<ClaimId> for Value {
    fn from(claim: ClaimId) -> Self {
        Self::Bytes(Some(claim.as_bytes().to_vec()))
    }
}

impl From<&JobId> for Value {
    fn from(job: &JobId) -> Self {
        Self::Bytes(Some(job.as_bytes().to_vec()))
    }
}

impl From<&LimitKey> for Value {
    fn from(key: &LimitKey) -> Self {
        Self::Bytes(Some(key.as_bytes().to_vec()))
    }
}

impl From<&UserId> for Value {
    fn from(user: &UserId) -> Self {
        Self::Text(Some(user.as_str().to_owned()))
    }
}

impl From<Revocation> for Value {
    fn from(why: Revocation) -> Self {
        Self::Text(Some(why.as_str().to_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

/// A list of [`Value`]s from whatever becomes one.
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::statement::Value::from($value)),*] };
}
pub(crate) use values;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::names::Names;

    const COUNTED: Syntax = Syntax {
        quote: '`',
        placeholder: Placeholder::Counted,
        ..Syntax::PLAIN
    };

    #[test]
    fn values_follow_their_numbers() {
        let template = "UPDATE {t} SET a = ?2 WHERE b = ?1 AND c < ?2";
        let name = |name: &str| Names::default().written(name, '`');
        let counted = Statement::new(template, &COUNTED, name);
        assert_eq!(
            counted.sql().as_str(),
            "UPDATE `password_reset_t` SET a = ? WHERE b = ? AND c < ?"
        );
        assert_eq!(counted.order, [1, 0, 1]);
        let numbered = Syntax {
            placeholder: Placeholder::Numbered('$'),
            ..Syntax::PLAIN
        };
        let numbered = Statement::new("SELECT ?1 + ?12", &numbered, name);
        assert_eq!(numbered.sql().as_str(), "SELECT $1 + $12");
        assert!(numbered.order.is_empty());
    }

    #[test]
    fn a_name_that_looks_like_a_template_stays_a_name() {
        let mut names = Names::default();
        names.set_prefix("{x}?1`").unwrap();
        let name = |name: &str| names.written(name, '`');
        let statement = Statement::new("SELECT ?1 FROM {.t}", &COUNTED, name);
        assert_eq!(statement.sql().as_str(), "SELECT ? FROM `{x}?1``t`");
        assert_eq!(statement.order, [0]);
    }
}

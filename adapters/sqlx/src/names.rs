//! What the tables are called: [`Names`].

/// The most bytes of a prefix: with it, every name stays within PostgreSQL's 63.
const MAX_PREFIX_BYTES: usize = 32;
const MAX_SCHEMA_BYTES: usize = 63;

/// Why a text is neither the prefix of a table's name nor the name of a schema.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidName {
    /// A schema has a name.
    #[error("empty")]
    Empty,
    /// Longer than databases allow.
    #[error("longer than {max} bytes")]
    TooLong {
        /// The most bytes.
        max: usize,
    },
    /// No database takes it in a name.
    #[error("contains a control character")]
    ControlCharacter,
}

/// A prefix, and a schema where there is one. They are quoted wherever they are written, so any
/// character may be in them.
#[derive(Clone)]
pub(crate) struct Names {
    schema: Option<String>,
    prefix: String,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            schema: None,
            prefix: "password_reset_".to_owned(),
        }
    }
}

impl Names {
    pub(crate) fn set_prefix(&mut self, prefix: &str) -> Result<(), InvalidName> {
        self.prefix = checked(prefix, MAX_PREFIX_BYTES)?;
        Ok(())
    }

    pub(crate) fn set_schema(&mut self, schema: &str) -> Result<(), InvalidName> {
        if schema.is_empty() {
            return Err(InvalidName::Empty);
        }
        self.schema = Some(checked(schema, MAX_SCHEMA_BYTES)?);
        Ok(())
    }

    /// A name as it is written into a statement: `tokens` with its schema, `.tokens` without, for
    /// what takes its schema from its table.
    pub(crate) fn written(&self, name: &str, quote: char) -> String {
        let (schema, name) = match name.strip_prefix('.') {
            Some(name) => (None, name),
            None => (self.schema.as_ref(), name),
        };
        let name = quoted(&format!("{}{name}", self.prefix), quote);
        match schema {
            Some(schema) => format!("{}.{name}", quoted(schema, quote)),
            None => name,
        }
    }
}

/// A name between quotes, the quotes in it doubled: SQL's own rule, in all three databases.
pub(crate) fn quoted(name: &str, quote: char) -> String {
    let doubled = name.replace(quote, &format!("{quote}{quote}"));
    format!("{quote}{doubled}{quote}")
}

fn checked(name: &str, max: usize) -> Result<String, InvalidName> {
    if name.len() > max {
        return Err(InvalidName::TooLong { max });
    }
    if name.chars().any(char::is_control) {
        return Err(InvalidName::ControlCharacter);
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_name_never_leaves_its_quotes() {
        let mut names = Names::default();
        names.set_prefix("a\"; DROP TABLE users; --").unwrap();
        names.set_schema("Auth\"").unwrap();
        let expected = r#""Auth"""."a""; DROP TABLE users; --tokens""#;
        assert_eq!(names.written("tokens", '"'), expected);
        assert_eq!(quoted("a`b\"", '`'), "`a``b\"`");
    }

    #[test]
    fn names_are_bounded_and_printable() {
        let mut names = Names::default();
        assert_eq!(names.set_schema(""), Err(InvalidName::Empty));
        assert_eq!(
            names.set_prefix(&"a".repeat(33)),
            Err(InvalidName::TooLong { max: 32 })
        );
        assert_eq!(names.set_prefix("a\0"), Err(InvalidName::ControlCharacter));
    }
}

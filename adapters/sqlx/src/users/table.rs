//! What the application says of its users: [`UserTable`] and [`EndSessions`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use password_reset::account::UserId;
use password_reset::error::BoxError;
use password_reset::recovery::SecondFactor;

/// What kind of key the table has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum IdType {
    /// A whole number of any width.
    Integer,
    /// A text, a UUID kept as text included.
    Text,
    /// PostgreSQL's own type `uuid`. Elsewhere the same as [`IdType::Text`].
    Uuid,
}

/// Where the table says yes or no.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Flag {
    /// A column that holds a truth value or a number: null, false and 0 mean no. Not for MySQL's
    /// `BIT`, whose values are no numbers.
    Truth(&'static str),
    /// A column that is null as long as the answer is no, such as `email_verified_at`. MySQL's zero
    /// date is not null.
    NotNull(&'static str),
    /// An SQL condition on the table's row, such as `status = 'locked'`; null means no. It is put
    /// into the statement as it stands.
    Sql(&'static str),
    /// Yes for every row.
    Always,
    /// No for every row.
    Never,
}

/// Which table holds the users, and what its columns are called.
///
/// Every name is quoted wherever it is written, so write it as the database spells it.
///
/// ```
/// use password_reset::recovery::SecondFactor;
/// use password_reset_sqlx::{Flag, IdType, UserTable};
///
/// let table = UserTable::new("accounts", Flag::NotNull("email_confirmed_at"))
///     .id("account_id", IdType::Uuid)
///     .password("phc")
///     .disabled(Flag::Sql("status <> 'active'"))
///     .second_factor(SecondFactor::Device, Flag::NotNull("totp_secret"));
/// # let _ = table;
/// ```
#[derive(Clone, Debug)]
pub struct UserTable {
    pub(super) schema: Option<String>,
    pub(super) table: String,
    pub(super) id: String,
    pub(super) id_type: IdType,
    pub(super) email: String,
    pub(super) spelling: Spelling,
    pub(super) password: String,
    pub(super) verified: Flag,
    pub(super) disabled: Flag,
    pub(super) device_factor: Flag,
    pub(super) mail_factor: Flag,
    pub(super) phone_factor: Flag,
    pub(super) locale: Option<String>,
    pub(super) tenant: Option<String>,
    pub(super) phone: Option<String>,
    pub(super) phone_verified: Flag,
    pub(super) former_email: Option<String>,
    pub(super) former_still: Flag,
}

/// Which spellings of an address mean the same account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Spelling {
    /// ASCII letters in either case; the table holds them in lower case.
    Lower,
    /// ASCII letters in either case, in the table too.
    Mixed,
    /// As it is written.
    Exact,
}

impl UserTable {
    /// A table with the columns `id` (a number: anything else needs [`UserTable::id`]), `email` (in
    /// lower case: anything else needs [`UserTable::email_in_any_case`]) and `password_hash`. `verified` says whose
    /// address was confirmed: nobody else gets mail, so it has to be given; for a table that holds
    /// confirmed addresses only it is [`Flag::Always`].
    pub fn new(table: &str, verified: Flag) -> Self {
        Self {
            schema: None,
            table: table.to_owned(),
            id: "id".to_owned(),
            id_type: IdType::Integer,
            email: "email".to_owned(),
            spelling: Spelling::Lower,
            password: "password_hash".to_owned(),
            verified,
            disabled: Flag::Never,
            device_factor: Flag::Never,
            mail_factor: Flag::Never,
            phone_factor: Flag::Never,
            locale: None,
            tenant: None,
            phone: None,
            phone_verified: Flag::Never,
            former_email: None,
            former_still: Flag::Never,
        }
    }

    /// The table's schema (in MySQL and MariaDB: its database).
    pub fn schema(mut self, schema: &str) -> Self {
        self.schema = Some(schema.to_owned());
        self
    }

    /// The primary key, and what kind it is.
    pub fn id(mut self, column: &str, id_type: IdType) -> Self {
        self.id = column.to_owned();
        self.id_type = id_type;
        self
    }

    /// The address, in lower case: what is typed is lower-cased (ASCII only) and looked up as it
    /// stands, so any index on the column serves. No other letters are folded, or somebody's
    /// look-alike address would find another person's account.
    pub fn email(mut self, column: &str) -> Self {
        self.email = column.to_owned();
        self.spelling = Spelling::Lower;
        self
    }

    /// The address, in any case: looked up as `lower(column)`, which needs an index on that
    /// expression, best a unique one. When several rows differ in case only, the one that is
    /// spelled as typed is meant; if there is none, nobody.
    pub fn email_in_any_case(mut self, column: &str) -> Self {
        self.email = column.to_owned();
        self.spelling = Spelling::Mixed;
        self
    }

    /// The address, of which every letter counts.
    pub fn email_as_written(mut self, column: &str) -> Self {
        self.email = column.to_owned();
        self.spelling = Spelling::Exact;
        self
    }

    /// The password's hash, as a PHC string. Null or empty: the account logs in by other means and
    /// gets no link, unless an operator invites its owner to choose a first password, or the flow
    /// allows it ([`Builder::external`](password_reset::flow::Builder::external)).
    pub fn password(mut self, column: &str) -> Self {
        self.password = column.to_owned();
        self
    }

    /// Whose account is locked, suspended or closed; nobody's unless told. A value that is neither
    /// null, false nor 0 counts as yes.
    pub fn disabled(mut self, flag: Flag) -> Self {
        self.disabled = flag;
        self
    }

    /// Who has a second factor of this kind; nobody unless told. Say it for each kind that there is.
    /// A value that is neither null, false nor 0 counts as yes. One of a kind that this version does
    /// not know counts as [`SecondFactor::Device`].
    pub fn second_factor(mut self, kind: SecondFactor, flag: Flag) -> Self {
        match kind {
            SecondFactor::Mail => self.mail_factor = flag,
            SecondFactor::Phone => self.phone_factor = flag,
            _ => self.device_factor = flag,
        }
        self
    }

    /// The language of letters, as a BCP 47 tag.
    pub fn locale(mut self, column: &str) -> Self {
        self.locale = Some(column.to_owned());
        self
    }

    /// The tenant. An identifier of a tenant then finds that tenant's accounts only, and one of no
    /// tenant those where the column is null or empty.
    pub fn tenant(mut self, column: &str) -> Self {
        self.tenant = Some(column.to_owned());
        self
    }

    /// The telephone number that gets codes by text message, as `+4930123456`, and who has
    /// confirmed it. An unconfirmed one, or one in another form, is passed over.
    ///
    /// ```
    /// # use password_reset_sqlx::{Flag, UserTable};
    /// # let table = UserTable::new("users", Flag::Always);
    /// let table = table.phone("phone", Flag::NotNull("phone_verified_at"));
    /// # let _ = table;
    /// ```
    pub fn phone(mut self, column: &str, verified: Flag) -> Self {
        self.phone = Some(column.to_owned());
        self.phone_verified = verified;
        self
    }

    /// The address that the account had, verified, before the present one: it still gets the notice
    /// of a changed password, and nothing else. `still` says for how long; a week is usual. Whoever
    /// changes an address writes the old one here, in the same statement, and only if it was
    /// verified.
    ///
    /// ```
    /// # use password_reset_sqlx::{Flag, UserTable};
    /// # let table = UserTable::new("users", Flag::Always);
    /// let table = table.former_email("old_email", Flag::Sql("old_email_until > now()"));
    /// # let _ = table;
    /// ```
    pub fn former_email(mut self, column: &str, still: Flag) -> Self {
        self.former_email = Some(column.to_owned());
        self.former_still = still;
        self
    }
}

pub(super) type Ending = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;
pub(super) type EndingWith = Arc<dyn Fn(UserId) -> Ending + Send + Sync>;

/// How an account's sessions are ended: everything that logs in without the password (R66).
#[derive(Clone)]
pub struct EndSessions(pub(super) How);

#[derive(Clone)]
pub(super) enum How {
    Statements(Vec<&'static str>),
    Closure(EndingWith),
}

impl EndSessions {
    /// By one SQL statement in the users' database. `?1` stands for the account's key, in every
    /// database; a statement without it ends nothing and is an error.
    ///
    /// ```
    /// # use password_reset_sqlx::EndSessions;
    /// let end = EndSessions::statement("DELETE FROM sessions WHERE user_id = ?1");
    /// # let _ = end;
    /// ```
    pub fn statement(sql: &'static str) -> Self {
        Self::statements([sql])
    }

    /// By several, in one transaction: sessions, refresh tokens, remembered devices.
    ///
    /// ```
    /// # use password_reset_sqlx::EndSessions;
    /// let end = EndSessions::statements([
    ///     "DELETE FROM sessions WHERE user_id = ?1",
    ///     "UPDATE users SET session_generation = session_generation + 1 WHERE id = ?1",
    /// ]);
    /// # let _ = end;
    /// ```
    pub fn statements(sql: impl IntoIterator<Item = &'static str>) -> Self {
        Self(How::Statements(sql.into_iter().collect()))
    }

    /// By calling the application, for sessions that live elsewhere. It may be called more than
    /// once for one account, and for one that is gone.
    ///
    /// ```
    /// # use password_reset_sqlx::EndSessions;
    /// # async fn forget_sessions_of(_: &str) -> std::io::Result<()> { Ok(()) }
    /// let end = EndSessions::with(|user| async move {
    ///     forget_sessions_of(user.as_str()).await?;
    ///     Ok(())
    /// });
    /// # let _ = end;
    /// ```
    pub fn with<F, E>(end: F) -> Self
    where
        F: Fn(UserId) -> E + Send + Sync + 'static,
        E: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        Self(How::Closure(Arc::new(move |user| Box::pin(end(user)))))
    }
}

impl fmt::Debug for EndSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            How::Statements(sql) => f.debug_tuple("EndSessions").field(sql).finish(),
            How::Closure(_) => f.write_str("EndSessions(..)"),
        }
    }
}

//! A ready [`UserStore`] over the application's own table of users: [`SqlUserStore`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use password_reset::account::{
    Account, Address, Credential, Identifier, SessionScope, Status, Swap, Tenant, UserId, UserStore,
};
use password_reset::error::BoxError;
use password_reset::password::PasswordHash;
use sqlx::Pool;

use crate::backend::WAIT;
use crate::driver::{self, Driver, Flavour, Syntax};
use crate::error::Error;
use crate::names::quoted;
use crate::session::{Again, Session, Transaction};
use crate::statement::{Statement, Value, values};
use crate::tokens::int;

/// Rows that one identifier may mean before it means nobody.
const MATCHES: u32 = 4;

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
/// use password_reset_sqlx::{Flag, IdType, UserTable};
///
/// let table = UserTable::new("accounts", Flag::NotNull("email_confirmed_at"))
///     .id("account_id", IdType::Uuid)
///     .password("phc")
///     .disabled(Flag::Sql("status <> 'active'"))
///     .second_factor(Flag::NotNull("totp_secret"));
/// # let _ = table;
/// ```
#[derive(Clone, Debug)]
pub struct UserTable {
    schema: Option<String>,
    table: String,
    id: String,
    id_type: IdType,
    email: String,
    spelling: Spelling,
    password: String,
    verified: Flag,
    disabled: Flag,
    second_factor: Flag,
    locale: Option<String>,
    tenant: Option<String>,
}

/// Which spellings of an address mean the same account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Spelling {
    /// ASCII letters in either case; the table holds them in lower case.
    Lower,
    /// ASCII letters in either case, in the table too.
    Mixed,
    /// As it is written.
    Exact,
}

impl UserTable {
    /// A table with the columns `id` (a number), `email` and `password_hash`. `verified` says whose
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
            second_factor: Flag::Never,
            locale: None,
            tenant: None,
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
    /// gets no link.
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

    /// Who has a second factor; nobody unless told. A value that is neither null, false nor 0
    /// counts as yes.
    pub fn second_factor(mut self, flag: Flag) -> Self {
        self.second_factor = flag;
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
}

type Ending = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;
type EndingWith = Arc<dyn Fn(UserId) -> Ending + Send + Sync>;

/// How an account's sessions are ended: everything that logs in without the password (R66).
#[derive(Clone)]
pub struct EndSessions(How);

#[derive(Clone)]
enum How {
    Statements(Vec<&'static str>),
    Closure(EndingWith),
}

impl EndSessions {
    /// By one SQL statement in the users' database; `?1` stands for the account's key, in every
    /// database.
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

/// The application's users, in a table of its own: a [`UserStore`] that needs no code.
///
/// Reads columns, compares and swaps one of them, and ends sessions as it was told; it changes
/// nothing else. Addresses that are none are passed over. The comparison of hashes is made byte by
/// byte, whatever the column's collation.
///
/// ```
/// use password_reset_sqlx::{EndSessions, Flag, SqlUserStore, UserTable};
///
/// # #[cfg(feature = "sqlite")]
/// # fn example(pool: sqlx::SqlitePool) {
/// let users = SqlUserStore::new(
///     pool,
///     UserTable::new("users", Flag::NotNull("email_verified_at")),
///     EndSessions::statement("DELETE FROM sessions WHERE user_id = ?1"),
/// );
/// # let _ = users;
/// # }
/// ```
///
/// A session must not begin behind the end of all others: let a login start its session only while
/// the hash that it checked is still the row's, in one transaction that locks the row.
pub struct SqlUserStore<D: Driver> {
    writer: Pool<D>,
    reader: Pool<D>,
    wait: Duration,
    sql: Arc<UserSql>,
}

struct UserSql {
    spelling: Spelling,
    id_type: IdType,
    by_email: Statement,
    /// The same within a tenant, where the table has tenants.
    by_email_in_tenant: Option<Statement>,
    by_id: Statement,
    swap: Statement,
    /// Whether the new hash is there as it was given, where a column may cut it off.
    kept: Option<Statement>,
    end_sessions: Ended,
}

enum Ended {
    Statements(Vec<Statement>),
    Closure(EndingWith),
}

impl<D: Driver> SqlUserStore<D> {
    /// The users of `table` in the database of `pool`, whose sessions end as `end_sessions` says.
    ///
    /// One connection of the pool is used for a call. The table must be the primary's: a replica
    /// that lags shows a password as unchanged that was changed.
    pub fn new(pool: Pool<D>, table: UserTable, end_sessions: EndSessions) -> Self {
        Self {
            writer: pool.clone(),
            reader: pool,
            wait: WAIT,
            sql: Arc::new(UserSql::new(&D::SYNTAX, &table, end_sessions)),
        }
    }

    /// A pool of its own for reading: for SQLite, where one connection writes and others read. It
    /// must see every change as soon as it is made.
    pub fn reader(mut self, pool: Pool<D>) -> Self {
        self.reader = pool;
        self
    }

    /// How long a call waits for the server's answer to one statement; 5 s unless told otherwise.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    async fn writer(&self) -> Result<Session<D>, Error> {
        Session::acquire(&self.writer, self.wait).await
    }

    async fn rows(&self, statement: &Statement, values: Vec<Value>) -> Result<Vec<Row>, Error> {
        let mut session = Session::acquire(&self.reader, self.wait).await?;
        let rows = session.rows(statement, values).await?;
        rows.iter().map(|row| Row::read::<D>(row)).collect()
    }
}

#[async_trait]
impl<D: Driver> UserStore for SqlUserStore<D> {
    async fn find(&self, identifier: &Identifier) -> Result<Option<Account>, BoxError> {
        let typed = identifier.as_str();
        let email = match self.sql.spelling {
            Spelling::Lower | Spelling::Mixed => typed.to_ascii_lowercase(),
            Spelling::Exact => typed.to_owned(),
        };
        let (statement, tenant) = match (&self.sql.by_email_in_tenant, identifier.tenant()) {
            (Some(statement), Some(tenant)) => (statement, Some(tenant.as_str())),
            _ => (&self.sql.by_email, None),
        };
        let mut values = values![email, MATCHES, typed];
        values.extend(tenant.map(Value::from));
        let rows = match self.rows(statement, values).await {
            // What the table cannot hold is not in it.
            Err(error) if driver::is_foreign_text(&error) => Vec::new(),
            rows => rows?,
        };
        let meant = meant(rows, typed, tenant, self.sql.spelling);
        Ok(meant.map(Row::account).transpose()?)
    }

    async fn account(&self, user: &UserId) -> Result<Option<Account>, BoxError> {
        let Some(id) = self.sql.key(user) else {
            return Ok(None);
        };
        let rows = self.rows(&self.sql.by_id, vec![id]).await?;
        // MySQL finds a text that begins with a number by that number.
        let own = rows.into_iter().find(|row| row.id == user.as_str());
        Ok(own.map(Row::account).transpose()?)
    }

    async fn set_password(
        &self,
        user: &UserId,
        expected: &Credential,
        new: &PasswordHash,
    ) -> Result<Swap, BoxError> {
        let (Some(id), Credential::Password(expected)) = (self.sql.key(user), expected) else {
            return Ok(Swap::Stale);
        };
        let mut values = vec![id];
        values.extend(values![new.expose(), expected.expose()]);
        let mut session = self.writer().await?;
        let Some(kept) = &self.sql.kept else {
            let swapped = session.execute(&self.sql.swap, values).await?;
            return Ok(answer(swapped.rows));
        };
        let mut again = Again::default();
        loop {
            let mut transaction = session.begin().await?;
            let swapped = swap_whole(&mut transaction, &self.sql.swap, kept, values.clone());
            let swapped = swapped.await;
            let swapped = transaction.end(swapped).await;
            if !again.is_worth_it(&swapped).await {
                return Ok(answer(swapped?));
            }
        }
    }

    async fn end_sessions(&self, user: &UserId, _: SessionScope) -> Result<(), BoxError> {
        match &self.sql.end_sessions {
            Ended::Closure(end) => end(user.clone()).await,
            Ended::Statements(statements) => Ok(self.end_by(statements, user).await?),
        }
    }
}

fn answer(swapped: u64) -> Swap {
    match swapped {
        0 => Swap::Stale,
        _ => Swap::Done,
    }
}

/// Swaps, and undoes it when not all of the new hash was kept: MySQL cuts a text off that is too
/// long for its column, unless it is told to be strict. Nobody could log in with what is left.
async fn swap_whole<D: Driver>(
    transaction: &mut Transaction<'_, D>,
    swap: &Statement,
    kept: &Statement,
    values: Vec<Value>,
) -> Result<u64, Error> {
    let own: Vec<_> = values.iter().take(2).cloned().collect();
    let swapped = transaction.execute(swap, values).await?.rows;
    if swapped > 0 && transaction.rows(kept, own).await?.is_empty() {
        return Err(Error::TooNarrow {
            column: "password_hash",
        });
    }
    Ok(swapped)
}

impl<D: Driver> SqlUserStore<D> {
    async fn end_by(&self, statements: &[Statement], user: &UserId) -> Result<(), Error> {
        let Some(id) = self.sql.key(user) else {
            return Ok(());
        };
        let mut session = self.writer().await?;
        let mut again = Again::default();
        loop {
            let mut transaction = session.begin().await?;
            let mut result = Ok(());
            for statement in statements {
                let ended = transaction.execute(statement, vec![id.clone()]).await;
                result = result.and(ended.map(|_| ()));
                if result.is_err() {
                    break;
                }
            }
            let ended = transaction.end(result).await;
            if !again.is_worth_it(&ended).await {
                return ended;
            }
        }
    }
}

impl<D: Driver> Clone for SqlUserStore<D> {
    fn clone(&self) -> Self {
        Self {
            writer: self.writer.clone(),
            reader: self.reader.clone(),
            wait: self.wait,
            sql: Arc::clone(&self.sql),
        }
    }
}

impl<D: Driver> fmt::Debug for SqlUserStore<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The pools are not shown: they know where the database is, and its password.
        f.debug_struct("SqlUserStore")
            .field("database", &D::NAME)
            .finish_non_exhaustive()
    }
}

impl UserSql {
    fn new(syntax: &Syntax, table: &UserTable, end_sessions: EndSessions) -> Self {
        let words = Words(syntax);
        let replace = |name: &str| words.replace(table, name);
        let write = |template: &str| Statement::new(template, syntax, replace);
        let id_type = match (syntax.flavour, table.id_type) {
            (Flavour::Sqlite | Flavour::MySql, IdType::Uuid) => IdType::Text,
            (_, id_type) => id_type,
        };
        let key = words.key(id_type);
        let own_row = words.own_row(id_type);
        let select = "SELECT {id as text} AS id, {email as text} AS email,
                {password as text} AS password_hash, {verified} AS verified,
                {disabled} AS disabled, {second factor} AS second_factor,
                {locale} AS locale, {tenant} AS tenant
            FROM {table} WHERE";
        let email = match table.spelling {
            Spelling::Lower | Spelling::Exact => "{email}",
            Spelling::Mixed => "lower({email})",
        };
        let as_typed = words.same_bytes("{email}", "?3");
        let outside = match table.tenant {
            Some(_) => "AND ({tenant} IS NULL OR {tenant} = '')",
            None => "",
        };
        Self {
            spelling: table.spelling,
            id_type,
            // Whose spelling is the typed one comes first: nobody is crowded out by others whose
            // spelling the column takes for the same.
            by_email: write(&format!(
                "{select} {email} = ?1 {outside}
                ORDER BY CASE WHEN {as_typed} THEN 0 ELSE 1 END LIMIT ?2"
            )),
            by_email_in_tenant: table.tenant.as_ref().map(|_| {
                write(&format!(
                    "{select} {email} = ?1 AND {{tenant}} = ?4
                    ORDER BY CASE WHEN {as_typed} THEN 0 ELSE 1 END LIMIT ?2"
                ))
            }),
            by_id: write(&format!("{select} {own_row} LIMIT 1")),
            swap: write(&format!(
                "UPDATE {{table}} SET {{password}} = ?2 WHERE {own_row} AND {}",
                words.same_bytes("{password}", "?3")
            )),
            kept: (syntax.flavour == Flavour::MySql).then(|| {
                let kept = words.same_bytes("{password}", "?2");
                write(&format!(
                    "SELECT 1 FROM {{table}} WHERE {own_row} AND {kept}"
                ))
            }),
            end_sessions: match end_sessions.0 {
                How::Closure(end) => Ended::Closure(end),
                How::Statements(sql) => {
                    Ended::Statements(sql.iter().map(|sql| words.own(sql, key)).collect())
                }
            },
        }
    }

    /// The key as the database compares it; `None` for a text that is no key of this kind, which
    /// belongs to nobody.
    fn key(&self, user: &UserId) -> Option<Value> {
        match self.id_type {
            IdType::Integer => {
                let number: i64 = user.as_str().parse().ok()?;
                // One spelling for one account.
                (number.to_string() == user.as_str()).then(|| number.into())
            }
            IdType::Text => Some(user.into()),
            IdType::Uuid => is_uuid(user.as_str()).then(|| user.into()),
        }
    }
}

/// How one database says what this module needs.
struct Words<'a>(&'a Syntax);

impl Words<'_> {
    /// What stands for a name in braces.
    fn replace(&self, table: &UserTable, name: &str) -> String {
        let quote = |name: &str| quoted(name, self.0.quote);
        let optional = |column: &Option<String>| match column {
            Some(column) => self.text(&quote(column)),
            None => self.text("NULL"),
        };
        match name {
            "table" => match &table.schema {
                Some(schema) => format!("{}.{}", quote(schema), quote(&table.table)),
                None => quote(&table.table),
            },
            "id" => quote(&table.id),
            "email" => quote(&table.email),
            "password" => quote(&table.password),
            "id as text" => self.text(&quote(&table.id)),
            "email as text" => self.text(&quote(&table.email)),
            "password as text" => self.text(&quote(&table.password)),
            "verified" => self.yes(table.verified, Doubt::No),
            "disabled" => self.yes(table.disabled, Doubt::Yes),
            "second factor" => self.yes(table.second_factor, Doubt::Yes),
            "locale" => optional(&table.locale),
            "tenant" => optional(&table.tenant),
            // There is no other name in this module's templates.
            _ => String::new(),
        }
    }

    fn text(&self, expression: &str) -> String {
        match self.0.flavour {
            Flavour::MySql => format!("CAST({expression} AS CHAR)"),
            Flavour::Postgres | Flavour::Sqlite => format!("CAST({expression} AS TEXT)"),
        }
    }

    /// The first value, as a key.
    fn key(&self, id_type: IdType) -> &'static str {
        match (self.0.flavour, id_type) {
            (Flavour::Postgres, IdType::Uuid) => "CAST(?1 AS uuid)",
            _ => "?1",
        }
    }

    /// The condition that the row has this key.
    fn own_row(&self, id_type: IdType) -> String {
        let key = self.key(id_type);
        match (id_type, self.0.flavour) {
            (IdType::Text, _) => {
                format!("{{id}} = {key} AND {}", self.same_bytes("{id}", key))
            }
            // A text that begins with a number equals that number here.
            (IdType::Integer, Flavour::MySql) => {
                format!("{{id}} = {key} AND {{id as text}} = {}", self.text(key))
            }
            _ => format!("{{id}} = {key}"),
        }
    }

    /// No collation may make two texts equal that are not.
    fn same_bytes(&self, column: &str, value: &str) -> String {
        match self.0.flavour {
            Flavour::Sqlite => format!("{column} = {value} COLLATE BINARY"),
            Flavour::Postgres => format!("CAST({column} AS TEXT) COLLATE \"C\" = {value}"),
            Flavour::MySql => format!("CAST({column} AS BINARY) = CAST({value} AS BINARY)"),
        }
    }

    /// 1 or 0. A word that nobody knows means what is safe.
    fn yes(&self, flag: Flag, doubt: Doubt) -> String {
        let column = |name: &str| quoted(name, self.0.quote);
        let condition = match (flag, doubt) {
            (Flag::Truth(name), Doubt::No) => {
                format!("lower({}) IN ('1', 'true', 't')", self.text(&column(name)))
            }
            (Flag::Truth(name), Doubt::Yes) => {
                format!(
                    "lower({}) NOT IN ('0', 'false', 'f')",
                    self.text(&column(name))
                )
            }
            (Flag::NotNull(name), _) => format!("{} IS NOT NULL", column(name)),
            (Flag::Sql(condition), _) => format!("({condition})"),
            (Flag::Always, _) => "1 = 1".to_owned(),
            (Flag::Never, _) => "1 = 0".to_owned(),
        };
        let number = match self.0.flavour {
            Flavour::Postgres => "bigint",
            Flavour::Sqlite => "INTEGER",
            Flavour::MySql => "SIGNED",
        };
        format!("CAST(CASE WHEN {condition} THEN 1 ELSE 0 END AS {number})")
    }

    /// A statement of the application's own: nothing in it is ours but `?1`.
    fn own(&self, sql: &str, key: &str) -> Statement {
        let parts: Vec<&str> = sql.split("?1").collect();
        let places: Vec<String> = (0..parts.len()).map(|n| format!("{{{n}}}")).collect();
        Statement::new(&places.join(key), self.0, |n| {
            let part = n.parse::<usize>().ok().and_then(|n| parts.get(n));
            part.copied().unwrap_or_default().to_owned()
        })
    }
}

/// What an unknown word in a column counts as.
#[derive(Clone, Copy)]
enum Doubt {
    Yes,
    No,
}

/// A row of the users' table.
struct Row {
    id: String,
    email: Option<String>,
    password: Option<String>,
    verified: bool,
    disabled: bool,
    second_factor: bool,
    locale: Option<String>,
    tenant: Option<String>,
}

impl Row {
    fn read<D: Driver>(row: &D::Row) -> Result<Self, Error> {
        Ok(Self {
            id: D::text(row, "id")?.ok_or(Error::Unreadable { column: "id" })?,
            email: D::text(row, "email")?,
            password: D::text(row, "password_hash")?,
            verified: int::<D>(row, "verified")? != 0,
            disabled: int::<D>(row, "disabled")? != 0,
            second_factor: int::<D>(row, "second_factor")? != 0,
            locale: D::text(row, "locale")?,
            tenant: D::text(row, "tenant")?,
        })
    }

    fn account(self) -> Result<Account, Error> {
        let unreadable = |column| Error::Unreadable { column };
        let id = UserId::parse(&self.id).map_err(|_| unreadable("id"))?;
        let credential = match self.password.filter(|hash| !hash.is_empty()) {
            None => Credential::External,
            Some(hash) => Credential::Password(
                PasswordHash::parse(&hash).map_err(|_| unreadable("password_hash"))?,
            ),
        };
        let mut account = Account::new(id, credential);
        if let Some(Ok(address)) = self.email.as_deref().map(Address::parse) {
            match self.verified {
                true => account.verified.push(address),
                false => account.unverified.push(address),
            }
        }
        if self.disabled {
            account.status = Status::Disabled;
        }
        account.second_factor = self.second_factor;
        account.locale = self.locale;
        let tenant = self.tenant.filter(|tenant| !tenant.is_empty());
        let tenant = tenant.as_deref().map(Tenant::parse).transpose();
        account.tenant = tenant.map_err(|_| unreadable("tenant"))?;
        Ok(account)
    }
}

/// The one row that is meant. The column's collation may have found more than the rule allows; what
/// is ambiguous then means nobody.
fn meant(rows: Vec<Row>, typed: &str, tenant: Option<&str>, spelling: Spelling) -> Option<Row> {
    let (exact, folded): (Vec<Row>, Vec<Row>) = rows
        .into_iter()
        .filter(|row| tenant.is_none() || row.tenant.as_deref() == tenant)
        .filter(|row| {
            row.email.as_deref().is_some_and(|email| match spelling {
                Spelling::Exact => email == typed,
                Spelling::Lower | Spelling::Mixed => email.eq_ignore_ascii_case(typed),
            })
        })
        .partition(|row| row.email.as_deref() == Some(typed));
    let mut candidates = if exact.is_empty() { folded } else { exact };
    match candidates.len() {
        1 => candidates.pop(),
        _ => None,
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.char_indices().all(|(at, c)| match at {
            8 | 13 | 18 | 23 => c == '-',
            _ => matches!(c, '0'..='9' | 'a'..='f'),
        })
}

//! The statements of a users' table, and its rows.

use password_reset::account::{Account, Address, Credential, Status, Tenant, UserId};
use password_reset::password::PasswordHash;
use password_reset::recovery::SecondFactor;
use password_reset::sms::PhoneNumber;

use super::table::{EndSessions, EndingWith, Flag, How, IdType, Spelling, UserTable};
use crate::driver::{Driver, Flavour, Syntax};
use crate::error::Error;
use crate::names::quoted;
use crate::statement::{Statement, Value};
use crate::tokens::int;

pub(super) struct UserSql {
    pub(super) spelling: Spelling,
    pub(super) id_type: IdType,
    pub(super) by_email: Statement,
    /// The same within a tenant, where the table has tenants.
    pub(super) by_email_in_tenant: Option<Statement>,
    pub(super) by_id: Statement,
    /// Any row there is.
    pub(super) any: Statement,
    pub(super) swap: Statement,
    /// Sets the first password.
    pub(super) first: Statement,
    /// Whether the new hash is there as it was given, where a column may cut it off.
    pub(super) kept: Option<Statement>,
    pub(super) end_sessions: Ended,
}

pub(super) enum Ended {
    /// None for one that is not about one account.
    Statements(Vec<Option<Statement>>),
    Closure(EndingWith),
}

impl UserSql {
    pub(super) fn new(syntax: &Syntax, table: &UserTable, end_sessions: EndSessions) -> Self {
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
                {disabled} AS disabled, {device factor} AS device_factor,
                {mail factor} AS mail_factor, {phone factor} AS phone_factor,
                {locale} AS locale, {tenant} AS tenant,
                {phone} AS phone, {phone verified} AS phone_verified,
                {former email} AS former_email, {former still} AS former_still
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
            any: write(&format!("{select} 1 = 1 LIMIT 1")),
            swap: write(&format!(
                "UPDATE {{table}} SET {{password}} = ?2 WHERE {own_row} AND {}",
                words.same_bytes("{password}", "?3")
            )),
            first: write(&format!(
                "UPDATE {{table}} SET {{password}} = ?2
                WHERE {own_row} AND ({{password}} IS NULL OR {})",
                words.same_bytes("{password}", "''")
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
                    let own = |sql: &&str| sql.contains("?1").then(|| words.own(sql, key));
                    Ended::Statements(sql.iter().map(own).collect())
                }
            },
        }
    }

    /// The key as the database compares it; `None` for a text that is no key of this kind, which
    /// belongs to nobody.
    pub(super) fn key(&self, user: &UserId) -> Option<Value> {
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

impl UserSql {
    /// A key of the right kind, of nobody in particular.
    pub(super) fn some_key(&self) -> Value {
        match self.id_type {
            IdType::Integer => 0_i64.into(),
            IdType::Text => "0".into(),
            IdType::Uuid => "00000000-0000-0000-0000-000000000000".into(),
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
            "device factor" => self.yes(table.device_factor, Doubt::Yes),
            "mail factor" => self.yes(table.mail_factor, Doubt::Yes),
            "phone factor" => self.yes(table.phone_factor, Doubt::Yes),
            "locale" => optional(&table.locale),
            "tenant" => optional(&table.tenant),
            "phone" => optional(&table.phone),
            "phone verified" => self.yes(table.phone_verified, Doubt::No),
            "former email" => optional(&table.former_email),
            "former still" => self.yes(table.former_still, Doubt::No),
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
pub(super) struct Row {
    pub(super) id: String,
    email: Option<String>,
    password: Option<String>,
    verified: bool,
    disabled: bool,
    device_factor: bool,
    mail_factor: bool,
    phone_factor: bool,
    locale: Option<String>,
    tenant: Option<String>,
    phone: Option<String>,
    phone_verified: bool,
    former_email: Option<String>,
    former_still: bool,
}

impl Row {
    pub(super) fn read<D: Driver>(row: &D::Row) -> Result<Self, Error> {
        Ok(Self {
            id: D::text(row, "id")?.ok_or(Error::Unreadable { column: "id" })?,
            email: D::text(row, "email")?,
            password: D::text(row, "password_hash")?,
            verified: int::<D>(row, "verified")? != 0,
            disabled: int::<D>(row, "disabled")? != 0,
            device_factor: int::<D>(row, "device_factor")? != 0,
            mail_factor: int::<D>(row, "mail_factor")? != 0,
            phone_factor: int::<D>(row, "phone_factor")? != 0,
            locale: D::text(row, "locale")?,
            tenant: D::text(row, "tenant")?,
            phone: D::text(row, "phone")?,
            phone_verified: int::<D>(row, "phone_verified")? != 0,
            former_email: D::text(row, "former_email")?,
            former_still: int::<D>(row, "former_still")? != 0,
        })
    }

    pub(super) fn account(self, sql: &UserSql) -> Result<Account, Error> {
        let unreadable = |column| Error::Unreadable { column };
        let id = UserId::parse(&self.id).map_err(|_| unreadable("id"))?;
        // A key that could not be asked for again would make every link a dead one.
        sql.key(&id).ok_or(Error::Id {
            expected: match sql.id_type {
                IdType::Integer => "a number",
                IdType::Text => "a text",
                IdType::Uuid => "a uuid",
            },
        })?;
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
        let former = self.former_email.filter(|_| self.former_still);
        account
            .former
            .extend(former.and_then(|old| Address::parse(&old).ok()));
        let phone = self.phone.filter(|_| self.phone_verified);
        account.phone = phone.and_then(|number| PhoneNumber::parse(&number).ok());
        if self.disabled {
            account.status = Status::Disabled;
        }
        let factors = [
            (SecondFactor::Device, self.device_factor),
            (SecondFactor::Mail, self.mail_factor),
            (SecondFactor::Phone, self.phone_factor),
        ];
        let enrolled = factors.into_iter().filter(|(_, enrolled)| *enrolled);
        account
            .second_factors
            .extend(enrolled.map(|(factor, _)| factor));
        account.locale = self.locale;
        let tenant = self.tenant.filter(|tenant| !tenant.is_empty());
        let tenant = tenant.as_deref().map(Tenant::parse).transpose();
        account.tenant = tenant.map_err(|_| unreadable("tenant"))?;
        Ok(account)
    }
}

/// The one row that is meant. The column's collation may have found more than the rule allows; what
/// is ambiguous then means nobody.
pub(super) fn meant(
    rows: Vec<Row>,
    typed: &str,
    tenant: Option<&str>,
    spelling: Spelling,
) -> Option<Row> {
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

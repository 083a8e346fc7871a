//! Rules as data: [`Rule`], checked as [`Rules`].

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::audit::{RuleName, Severity};
use crate::error::words;
use crate::limit::Quota;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// The most rules of one set.
pub const MAX_RULES: usize = 64;
/// The most different things that one rule counts in one group.
pub const MAX_DISTINCT: u32 = 1_000;
/// The largest threshold.
pub const MAX_EVENTS: u32 = 10_000_000;

words! {
    /// What a rule counts: one thing that events tell.
    #[derive(Ord, PartialOrd)]
    Signal {
        /// A link or a code was asked for, whether the request was taken or turned away.
        Asked = "asked",
        /// A request was taken: what is charged to the budget that all share.
        Taken = "taken",
        /// A request was taken, and no account was found. It is known from the worker, later.
        Unknown = "unknown",
        /// The budget that all share was used up.
        BudgetSpent = "budget_spent",
        /// A proof that a human asks was refused.
        BadProof = "bad_proof",
        /// A token or a handle was presented that is none: malformed, unknown, or with another
        /// verifier.
        BadToken = "bad_token",
        /// A source, or its network, presented more tokens and codes than it may.
        TokenLimited = "token_limited",
        /// A token that was used up within the last hour was presented from another network than the
        /// one that used it.
        Reused = "reused",
        /// A code was wrong, or tried too often.
        WrongCode = "wrong_code",
        /// A code was tried more often than a code may be.
        CodeTriedOut = "code_tried_out",
        /// An account's codes were tried more often than an account's codes may be.
        CodesLocked = "codes_locked",
        /// Somebody said "this wasn't me".
        Disowned = "disowned",
        /// Somebody said so within a day after their password was changed.
        ChangeDisowned = "change_disowned",
        /// The notice of a changed password failed for the third time, or later: its owner does not know.
        NoticeStuck = "notice_stuck",
        /// A mail was given up after its last try.
        MailGivenUp = "mail_given_up",
        /// A plugged-in part failed or panicked, or a key is missing.
        PartFailed = "part_failed",
    }
}

impl Signal {
    /// Whether it is told alike for accounts and for identifiers without one, so that a visible
    /// reaction tells nobody who has an account.
    pub const fn is_blind(self) -> bool {
        matches!(
            self,
            Self::Asked
                | Self::Taken
                | Self::BudgetSpent
                | Self::BadProof
                | Self::BadToken
                | Self::TokenLimited
                | Self::WrongCode
                | Self::CodeTriedOut
        )
    }

    pub(super) const fn bit(self) -> u32 {
        1 << (self as u32)
    }

    /// Whether its events name such a thing.
    fn names(self, field: Field) -> bool {
        match field {
            Field::Source => !matches!(
                self,
                Self::MailGivenUp | Self::NoticeStuck | Self::PartFailed
            ),
            Field::Identifier => matches!(
                self,
                Self::Asked | Self::Taken | Self::Unknown | Self::BudgetSpent | Self::BadProof
            ),
            Field::User => matches!(
                self,
                Self::Reused
                    | Self::WrongCode
                    | Self::CodesLocked
                    | Self::Disowned
                    | Self::ChangeDisowned
                    | Self::NoticeStuck
            ),
            Field::Token => matches!(
                self,
                Self::BadToken
                    | Self::Reused
                    | Self::WrongCode
                    | Self::CodeTriedOut
                    | Self::CodesLocked
                    | Self::Disowned
                    | Self::ChangeDisowned
            ),
        }
    }
}

/// What an event may name.
#[derive(Clone, Copy)]
enum Field {
    Source,
    Identifier,
    User,
    Token,
}

words! {
    /// For whom a rule counts separately.
    Group {
        /// For everybody together.
        All = "all",
        /// For each source: an IPv4 address or an IPv6 /64.
        Source = "source",
        /// For each network: an IPv4 /24 or an IPv6 /48.
        Network = "network",
        /// For each identifier, known or not.
        Identifier = "identifier",
        /// For each account.
        User = "user",
    }
}

words! {
    /// What a rule counts in a group. An event that does not name it is not counted.
    Counted {
        /// Events.
        Events = "events",
        /// Different identifiers.
        Identifiers = "identifiers",
        /// Different sources: IPv4 addresses and IPv6 /64s.
        Sources = "sources",
        /// Different networks: IPv4 /24s and IPv6 /48s.
        Networks = "networks",
        /// Different accounts.
        Users = "users",
        /// Different tokens or codes.
        Tokens = "tokens",
    }
}

impl Group {
    fn field(self) -> Option<Field> {
        match self {
            Self::All => None,
            Self::Source | Self::Network => Some(Field::Source),
            Self::Identifier => Some(Field::Identifier),
            Self::User => Some(Field::User),
        }
    }
}

impl Counted {
    fn field(self) -> Option<Field> {
        match self {
            Self::Events => None,
            Self::Sources | Self::Networks => Some(Field::Source),
            Self::Identifiers => Some(Field::Identifier),
            Self::Users => Some(Field::User),
            Self::Tokens => Some(Field::Token),
        }
    }
}

/// How much is too much.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Threshold {
    /// From this count on.
    Count(u32),
    /// From `factor` times the usual rate on, and never below `floor`.
    ///
    /// The usual rate is the mean of the last week. What is known of less than a week allows more:
    /// `factor` grows by the root of how much is missing, so that a monitor that has seen one quiet
    /// Sunday does not take Monday morning for an attack. It rings for nothing before it has seen
    /// 12 windows. Of a window over the threshold, no more than the threshold is learnt, so a flood
    /// does not become usual in a day; one that grows slowly, over weeks, does.
    Usual {
        /// How many times the usual rate.
        factor: u32,
        /// At least so many, so that ten people on a small site are no spike.
        floor: u32,
    },
}

/// One thing to watch for.
///
/// ```
/// use std::time::Duration;
/// use password_reset::audit::{RuleName, Severity};
/// use password_reset::audit::monitor::{Counted, Group, Rule, Rules, Signal, Threshold};
///
/// // Ten people of one network are told that their link is none.
/// let rule = Rule {
///     name: RuleName::new("bad_links_of_a_network"),
///     counts: vec![Signal::BadToken],
///     what: Counted::Tokens,
///     per: Group::Network,
///     threshold: Threshold::Count(10),
///     window: Duration::from_secs(600),
///     cool_down: Duration::from_secs(3_600),
///     severity: Severity::Warn,
///     challenge: None,
/// };
/// let rules = Rules::default().with(rule)?;
///
/// // Refused: only accounts can be told by a code that is locked, and a captcha would show it.
/// let mut tells = rules.get(RuleName::new("codes_locked")).unwrap().clone();
/// tells.challenge = Some(Duration::from_secs(600));
/// assert!(rules.with(tells).is_err());
/// # Ok::<(), password_reset::audit::monitor::RuleError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// Its name, in alarms and in the audit trail; one of a kind in its set.
    pub name: RuleName,
    /// What it counts.
    pub counts: Vec<Signal>,
    /// Events, or different things that they name.
    pub what: Counted,
    /// For whom it counts separately.
    pub per: Group,
    /// How much is too much.
    pub threshold: Threshold,
    /// In which span: 1 second to 24 hours. The window slides. Different things are counted exactly;
    /// events are counted in 60 slices, and one may count for up to a sixtieth of the window longer.
    pub window: Duration,
    /// How long the same alarm does not ring again: 1 second to 7 days.
    pub cool_down: Duration,
    /// How much attention it asks for.
    pub severity: Severity,
    /// For how long a proof that a human asks is demanded of everyone, from the last moment at which
    /// the threshold was reached: 1 second to 24 hours. Only for signals that
    /// [tell nobody](Signal::is_blind) who has an account, and not per account.
    pub challenge: Option<Duration>,
}

/// Why a rule cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("rule {rule}: {flaw}")]
pub struct RuleError {
    /// Which one.
    pub rule: RuleName,
    /// What is wrong.
    pub flaw: RuleFlaw,
}

/// What is wrong with a rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleFlaw {
    /// There are 64 rules already.
    #[error("a set has 64 rules at most")]
    TooMany,
    /// It counts no signal.
    #[error("it counts nothing")]
    Nothing,
    /// Events of a signal that it counts do not name what it counts, or for whom.
    #[error("a signal does not name what is counted, or for whom")]
    Unnamed,
    /// The threshold is 0, over 1,000 for different things, or over 10 million for events; or a
    /// factor is not within 2 to 1,000.
    #[error("a threshold is 1 to 1000 different things or 10 million events, a factor 2 to 1000")]
    Threshold,
    /// The usual rate is known for events of everybody together only, in windows of 10 seconds to an
    /// hour.
    #[error("the usual rate is one of events, of all, in a window of 10 seconds to an hour")]
    Usual,
    /// The window is not within 1 second to 24 hours.
    #[error("a window is 1 second to 24 hours")]
    Window,
    /// The cool-down is not within 1 second to 7 days.
    #[error("a cool-down is 1 second to 7 days")]
    CoolDown,
    /// The captcha is demanded for less than a second or more than 24 hours.
    #[error("a proof is demanded for 1 second to 24 hours")]
    Challenge,
    /// A captcha would show who has an account.
    #[error("only what is told alike for accounts and strangers may demand a proof")]
    Tells,
}

impl Rule {
    fn check(&self) -> Result<(), RuleFlaw> {
        let within = |span: Duration, bounds: RangeInclusive<Duration>| bounds.contains(&span);
        if self.counts.is_empty() {
            return Err(RuleFlaw::Nothing);
        }
        let fields = [self.per.field(), self.what.field()];
        let named = |field| self.counts.iter().all(|signal| signal.names(field));
        if !fields.into_iter().flatten().all(named) {
            return Err(RuleFlaw::Unnamed);
        }
        if !within(self.window, SECOND..=DAY) {
            return Err(RuleFlaw::Window);
        }
        if !within(self.cool_down, SECOND..=7 * DAY) {
            return Err(RuleFlaw::CoolDown);
        }
        match self.threshold {
            Threshold::Count(count) => {
                let most = match self.what {
                    Counted::Events => MAX_EVENTS,
                    _ => MAX_DISTINCT,
                };
                if !(1..=most).contains(&count) {
                    return Err(RuleFlaw::Threshold);
                }
            }
            Threshold::Usual { factor, floor } => {
                let of_all = self.per == Group::All && self.what == Counted::Events;
                if !of_all || !within(self.window, 10 * SECOND..=HOUR) {
                    return Err(RuleFlaw::Usual);
                }
                if !(2..=1_000).contains(&factor) || !(1..=MAX_EVENTS).contains(&floor) {
                    return Err(RuleFlaw::Threshold);
                }
            }
        }
        let Some(challenge) = self.challenge else {
            return Ok(());
        };
        if !within(challenge, SECOND..=DAY) {
            return Err(RuleFlaw::Challenge);
        }
        // Codes of strangers are tried on accounts that last no longer than the code, so only a real
        // account gathers tries from several codes.
        let blind = self.counts.iter().all(|signal| signal.is_blind());
        if !blind || self.per == Group::User || self.what == Counted::Users {
            return Err(RuleFlaw::Tells);
        }
        Ok(())
    }
}

/// Rules that were checked, each with a name of its own.
///
/// The default is the set that `docs/alarms.md` describes. Its numbers suit a service with up to
/// about 2,000 requests an hour, which is the flow's default budget; [`scaled`](Self::scaled) makes
/// them larger.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// No rule at all; to add one's own.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Adds a rule, or replaces the one of its name.
    ///
    /// # Errors
    ///
    /// [`RuleError`] when the rule cannot be used.
    pub fn with(mut self, rule: Rule) -> Result<Self, RuleError> {
        let name = rule.name;
        let error = |flaw| RuleError { rule: name, flaw };
        rule.check().map_err(error)?;
        self.0.retain(|other| other.name != name);
        if self.0.len() >= MAX_RULES {
            return Err(error(RuleFlaw::TooMany));
        }
        self.0.push(rule);
        Ok(self)
    }

    /// Leaves a rule out.
    pub fn without(mut self, name: RuleName) -> Self {
        self.0.retain(|rule| rule.name != name);
        self
    }

    /// The rule of this name.
    pub fn get(&self, name: RuleName) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.name == name)
    }

    /// The rules.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    /// For a service of so many times the size: thresholds of what everybody, or everybody behind
    /// one address, does together are multiplied. What one account or one identifier does stays as
    /// it is.
    pub fn scaled(mut self, factor: u32) -> Self {
        let factor = factor.max(1);
        for rule in &mut self.0 {
            let shared = matches!(rule.per, Group::All | Group::Source | Group::Network);
            let most = match rule.what {
                Counted::Events => MAX_EVENTS,
                _ => MAX_DISTINCT,
            };
            match &mut rule.threshold {
                Threshold::Count(count) if shared && *count > 1 => {
                    *count = count.saturating_mul(factor).min(most);
                }
                _ => {}
            }
        }
        self
    }

    /// With the rule `budget_low` at four fifths of this budget, of its longest rate.
    pub fn budget(mut self, budget: &Quota) -> Self {
        let longest = budget.rates().max_by_key(|rate| rate.per());
        let Some(rate) = longest else {
            return self;
        };
        if let Some(rule) = self.0.iter_mut().find(|rule| rule.name == BUDGET_LOW) {
            let count = u64::from(rate.count()) * 4 / 5;
            let count = u32::try_from(count).unwrap_or(MAX_EVENTS);
            rule.threshold = Threshold::Count(count.clamp(1, MAX_EVENTS));
            rule.window = rate.per().clamp(SECOND, DAY);
        }
        self
    }
}

const BUDGET_LOW: RuleName = RuleName::new("budget_low");

impl Default for Rules {
    fn default() -> Self {
        Self(standard())
    }
}

impl fmt::Display for Rules {
    /// One line for each: its name and its numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for rule in &self.0 {
            writeln!(f, "{rule}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Rule {
    /// `disowned: 3 users of all in 3600 s (disowned)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        match self.threshold {
            Threshold::Count(count) => write!(f, "{count}")?,
            Threshold::Usual { factor, floor } => {
                write!(f, "{factor} times the usual, at least {floor}")?;
            }
        }
        let (what, per) = (self.what.as_str(), self.per.as_str());
        write!(f, " {what} per {per} in {} s (", self.window.as_secs())?;
        for (nth, signal) in self.counts.iter().enumerate() {
            let comma = if nth == 0 { "" } else { ", " };
            write!(f, "{comma}{}", signal.as_str())?;
        }
        f.write_str(")")
    }
}

/// The set of `docs/alarms.md`, where each has a paragraph: what it means and what to do.
fn standard() -> Vec<Rule> {
    use Counted::{Events, Identifiers, Networks, Sources, Tokens, Users};
    use Severity::{Critical, Warn};
    use Threshold::{Count, Usual};

    let rule = |name, signal, what, per, threshold, window| Rule {
        name: RuleName::new(name),
        counts: vec![signal],
        what,
        per,
        threshold,
        window,
        cool_down: HOUR,
        severity: Critical,
        challenge: None,
    };
    let challenging = |rule: Rule| Rule {
        challenge: Some(HOUR / 2),
        ..rule
    };
    let daily = |rule: Rule| Rule {
        cool_down: DAY,
        ..rule
    };
    let mild = |rule: Rule| Rule {
        severity: Warn,
        ..rule
    };
    let (asked, wrong) = (Signal::Asked, Signal::WrongCode);
    let presented = vec![Signal::BadToken, Signal::TokenLimited];
    let all = Group::All;
    vec![
        // Enumeration. Two hundred people behind one address, and a carrier's address that
        // thousands share, stay below; so does everybody who mistypes.
        challenging(rule(
            "identifiers_of_a_source",
            asked,
            Identifiers,
            Group::Source,
            Count(50),
            HOUR,
        )),
        challenging(rule(
            "identifiers_of_a_network",
            asked,
            Identifiers,
            Group::Network,
            Count(200),
            HOUR,
        )),
        mild(rule(
            "strangers_of_a_source",
            Signal::Unknown,
            Identifiers,
            Group::Source,
            Count(15),
            HOUR,
        )),
        // Mail bombing: nobody asks for one account from ten places within an hour.
        challenging(rule(
            "sources_of_an_identifier",
            asked,
            Sources,
            Group::Identifier,
            Count(10),
            HOUR,
        )),
        // Floods.
        challenging(mild(rule(
            "request_spike",
            asked,
            Events,
            all,
            Usual {
                factor: 10,
                floor: 100,
            },
            5 * MINUTE,
        ))),
        mild(rule(
            "budget_low",
            Signal::Taken,
            Events,
            all,
            Count(1_600),
            HOUR,
        )),
        challenging(rule(
            "budget_spent",
            Signal::BudgetSpent,
            Events,
            all,
            Count(1),
            HOUR,
        )),
        // Tokens and codes.
        daily(rule(
            "token_reused",
            Signal::Reused,
            Events,
            Group::User,
            Count(1),
            HOUR,
        )),
        mild(rule(
            "bad_tokens_of_a_source",
            Signal::BadToken,
            Events,
            Group::Source,
            Count(30),
            10 * MINUTE,
        )),
        mild(Rule {
            counts: presented.clone(),
            ..rule(
                "bad_tokens_of_a_network",
                Signal::BadToken,
                Sources,
                Group::Network,
                Count(20),
                10 * MINUTE,
            )
        }),
        // Also where no address is known.
        mild(Rule {
            counts: presented.clone(),
            ..rule(
                "bad_token_spike",
                Signal::BadToken,
                Events,
                all,
                Usual {
                    factor: 10,
                    floor: 300,
                },
                10 * MINUTE,
            )
        }),
        // Many sources, each of them quiet.
        Rule {
            counts: presented,
            ..rule(
                "bad_tokens",
                Signal::BadToken,
                Networks,
                all,
                Count(200),
                10 * MINUTE,
            )
        },
        rule(
            "networks_of_a_code",
            wrong,
            Networks,
            Group::User,
            Count(4),
            HOUR,
        ),
        daily(rule(
            "codes_locked",
            Signal::CodesLocked,
            Events,
            Group::User,
            Count(1),
            HOUR,
        )),
        challenging(rule(
            "codes_tried_out",
            Signal::CodeTriedOut,
            Tokens,
            all,
            Count(10),
            HOUR,
        )),
        challenging(rule(
            "wrong_codes",
            wrong,
            Events,
            all,
            Usual {
                factor: 10,
                floor: 100,
            },
            10 * MINUTE,
        )),
        // What owners say.
        rule("disowned", Signal::Disowned, Users, all, Count(3), HOUR),
        daily(rule(
            "change_disowned",
            Signal::ChangeDisowned,
            Events,
            Group::User,
            Count(1),
            DAY,
        )),
        // What fails in silence.
        mild(rule(
            "mail_given_up",
            Signal::MailGivenUp,
            Events,
            all,
            Count(20),
            HOUR,
        )),
        rule(
            "notices_stuck",
            Signal::NoticeStuck,
            Users,
            all,
            Count(3),
            HOUR,
        ),
        rule(
            "parts_failing",
            Signal::PartFailed,
            Events,
            all,
            Count(20),
            5 * MINUTE,
        ),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    fn plain() -> Rule {
        Rule {
            name: RuleName::new("plain"),
            counts: vec![Signal::Asked],
            what: Counted::Events,
            per: Group::All,
            threshold: Threshold::Count(1),
            window: HOUR,
            cool_down: HOUR,
            severity: Severity::Warn,
            challenge: None,
        }
    }

    #[test]
    fn the_default_rules_are_valid_and_have_names_of_their_own() {
        let mut again = Rules::none();
        for rule in Rules::default().iter() {
            assert!(again.get(rule.name).is_none());
            assert_ne!(rule.name, RuleName::new("unnamed"));
            again = again.with(rule.clone()).unwrap();
        }
        assert_eq!(again, Rules::default());
    }

    #[test]
    fn a_rule_that_cannot_be_is_refused_by_name() {
        let flaw = |change: fn(&mut Rule)| {
            let mut rule = plain();
            change(&mut rule);
            Rules::none().with(rule).err().map(|error| error.flaw)
        };
        assert_eq!(flaw(|_| ()), None);
        assert_eq!(flaw(|rule| rule.counts.clear()), Some(RuleFlaw::Nothing));
        assert_eq!(flaw(|rule| rule.per = Group::User), Some(RuleFlaw::Unnamed));
        assert_eq!(
            flaw(|rule| {
                rule.counts.push(Signal::PartFailed);
                rule.what = Counted::Sources;
            }),
            Some(RuleFlaw::Unnamed)
        );
        for count in [0, MAX_EVENTS + 1] {
            let mut rule = plain();
            rule.threshold = Threshold::Count(count);
            let flaw = Rules::none().with(rule).unwrap_err().flaw;
            assert_eq!(flaw, RuleFlaw::Threshold);
        }
        let distinct: fn(&mut Rule) = |rule| {
            rule.what = Counted::Sources;
            rule.threshold = Threshold::Count(MAX_DISTINCT + 1);
        };
        assert_eq!(flaw(distinct), Some(RuleFlaw::Threshold));
        let usual: fn(&mut Rule) = |rule| {
            rule.per = Group::Source;
            rule.threshold = Threshold::Usual {
                factor: 10,
                floor: 1,
            };
        };
        assert_eq!(flaw(usual), Some(RuleFlaw::Usual));
        let factor: fn(&mut Rule) = |rule| {
            rule.threshold = Threshold::Usual {
                factor: 1,
                floor: 1,
            };
        };
        assert_eq!(flaw(factor), Some(RuleFlaw::Threshold));
        assert_eq!(flaw(|rule| rule.window = 2 * DAY), Some(RuleFlaw::Window));
        assert_eq!(
            flaw(|rule| rule.cool_down = Duration::ZERO),
            Some(RuleFlaw::CoolDown)
        );
        assert_eq!(
            flaw(|rule| rule.challenge = Some(2 * DAY)),
            Some(RuleFlaw::Challenge)
        );
    }

    /// "Blind": a captcha that is turned on by what only accounts can cause tells who has one.
    #[test]
    fn only_what_strangers_cause_alike_may_demand_a_proof() {
        for signal in Signal::ALL {
            let mut rule = plain();
            rule.counts = vec![*signal];
            rule.challenge = Some(HOUR);
            let allowed = Rules::none().with(rule).is_ok();
            assert_eq!(allowed, signal.is_blind(), "{}", signal.as_str());
        }
        let mut rule = plain();
        (rule.counts, rule.challenge) = (vec![Signal::WrongCode], Some(HOUR));
        for (per, what) in [(Group::User, Counted::Events), (Group::All, Counted::Users)] {
            (rule.per, rule.what) = (per, what);
            let refused = Rules::none().with(rule.clone()).unwrap_err();
            assert_eq!(refused.flaw, RuleFlaw::Tells);
        }
    }

    #[test]
    fn a_set_is_bounded_and_a_name_is_replaced() {
        let mut rules = Rules::none();
        for number in 0..MAX_RULES {
            let mut rule = plain();
            rule.name = RuleName::parse(&format!("rule_{number}")).unwrap();
            rules = rules.with(rule.clone()).unwrap().with(rule).unwrap();
        }
        let full = rules.with(plain()).unwrap_err();
        assert_eq!(full.flaw, RuleFlaw::TooMany);
        assert_eq!(full.to_string(), "rule plain: a set has 64 rules at most");
    }

    #[test]
    fn a_larger_service_has_larger_shared_thresholds() {
        let rules = Rules::default().scaled(4);
        let threshold = |name| rules.get(RuleName::new(name)).unwrap().threshold;
        assert_eq!(threshold("identifiers_of_a_source"), Threshold::Count(200));
        assert_eq!(threshold("sources_of_an_identifier"), Threshold::Count(10));
        assert_eq!(threshold("budget_spent"), Threshold::Count(1));
        let budget = Quota::new(5, MINUTE).and(10_000, DAY);
        let rules = rules.budget(&budget);
        let rule = rules.get(BUDGET_LOW).unwrap();
        assert_eq!(rule.threshold, Threshold::Count(8_000));
        assert_eq!(rule.window, DAY);
    }
}

//! What is played, and what must hold of it.

use std::sync::Arc;
use std::time::Duration;

use password_reset::error::BoxError;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::facts::address;
use crate::say;
use crate::siege::attack::{Attack, Shot, Siege, VICTIM};
use crate::siege::person::{self, Visit};
use crate::siege::site::{Method, Outcome, Site, Trail};

/// How long alarms and mails may take behind the last request.
const AFTERWARDS: Duration = Duration::from_secs(15);
/// By when the first alarm has to ring, in seconds. Rules wait five seconds for events that come late.
const SOON: f64 = 15.0;
/// When somebody elsewhere has forgotten a password, too: the alarm has rung by then.
const ELSEWHERE_AFTER: [u64; 2] = [15, 30];
const ELSEWHERE: &str = "100.64.200.9";
/// Of the ordinary morning.
const PEOPLE: u32 = 60;
const OFFICE: &str = "192.0.2.80";
const OFFICE_PEOPLE: u32 = 10;
// The defaults of the library, of the hour: requests of a source, sources of a network that ask so
// often, requests for an identifier, and tries of an account's codes.
const OF_A_SOURCE: usize = 20;
const OF_A_NETWORK: usize = 5 * OF_A_SOURCE;
const OF_AN_IDENTIFIER: usize = 3;
const OF_CODES: u64 = 20;

/// What shall happen.
pub(crate) struct Plan {
    pub(crate) title: &'static str,
    /// `None` on an ordinary morning.
    siege: Option<Siege>,
    /// The rules that have to ring.
    rings: &'static [&'static str],
}

pub(crate) const SCENES: &[Plan] = &[
    Plan {
        title: "an ordinary morning",
        siege: None,
        rings: &[],
    },
    Plan {
        title: "unknown addresses from one source",
        siege: Some(Siege {
            attack: Attack::SweepFromOneSource,
            sources: 10_000,
            per_second: 200,
        }),
        rings: &["identifiers_of_a_source"],
    },
    Plan {
        title: "unknown addresses from 10,000 sources of one /48",
        siege: Some(Siege {
            attack: Attack::SweepFromOneNetwork,
            sources: 10_000,
            per_second: 200,
        }),
        rings: &["identifiers_of_a_network"],
    },
    Plan {
        title: "one mailbox from 2,000 networks",
        siege: Some(Siege {
            attack: Attack::FillOneMailbox,
            sources: 2_000,
            per_second: 50,
        }),
        rings: &["sources_of_an_identifier"],
    },
    Plan {
        title: "one account's codes from 1,000 networks",
        siege: Some(Siege {
            attack: Attack::GuessCodes,
            sources: 1_000,
            per_second: 25,
        }),
        rings: &[
            "sources_of_an_identifier",
            "networks_of_a_code",
            "codes_tried_out",
        ],
    },
];

/// What happened.
pub(crate) struct Scene {
    pub(crate) title: &'static str,
    pub(crate) shots: Vec<Shot>,
    pub(crate) visits: Vec<Visit>,
    pub(crate) trail: Trail,
    pub(crate) claims: Vec<Claim>,
    attacked: bool,
    /// Links and codes that were mailed to the one who is attacked.
    mailed: usize,
}

/// What must hold.
pub(crate) struct Claim {
    pub(crate) text: String,
    pub(crate) holds: bool,
}

impl Plan {
    pub(crate) async fn play(&self, site: &Arc<Site>) -> Result<Scene, BoxError> {
        let (shots, mut visits) = match self.siege {
            None => morning(site).await?,
            Some(siege) => {
                let mut elsewhere = JoinSet::new();
                for (account, after) in (VICTIM.saturating_add(1)..).zip(ELSEWHERE_AFTER) {
                    let site = Arc::clone(site);
                    elsewhere.spawn(async move {
                        sleep(Duration::from_secs(after)).await;
                        person::visit(&site, account, ELSEWHERE).await
                    });
                }
                let shots = siege.lay(site).await;
                let visits = elsewhere.join_all().await.into_iter();
                (shots, visits.collect::<Result<Vec<_>, _>>()?)
            }
        };
        sleep(AFTERWARDS).await;
        let trail = site.trail().await?;
        let letters = site.letters().await?;
        let victim = address(VICTIM);
        let mailed = letters.iter().filter(|letter| letter.to == victim);
        let mailed = mailed.filter(|letter| letter.kind.starts_with("reset_"));
        let mailed = mailed.count();
        visits.sort_by(|one, other| one.asked.total_cmp(&other.asked));
        let mut scene = Scene {
            title: self.title,
            shots,
            visits,
            trail,
            claims: Vec::new(),
            attacked: self.siege.is_some(),
            mailed,
        };
        scene.judge(self, site).await?;
        Ok(scene)
    }
}

/// People who reset their passwords, some of them from one office; some mistype their address first.
async fn morning(site: &Arc<Site>) -> Result<(Vec<Shot>, Vec<Visit>), BoxError> {
    let mut people = JoinSet::new();
    for number in 0..PEOPLE {
        let site = Arc::clone(site);
        people.spawn(async move {
            sleep(Duration::from_secs(number.into())).await;
            let source = match number < OFFICE_PEOPLE {
                true => OFFICE.to_owned(),
                false => format!("100.64.{number}.9"),
            };
            let mut shots = Vec::new();
            if number % 4 == 0 {
                let at = site.seconds();
                let mistyped = format!("user-{number}@exmaple.example.com");
                let asked = site.ask(&source, &mistyped, Method::Link, false).await;
                shots.push(Shot {
                    at,
                    outcome: asked.0,
                });
                sleep(Duration::from_secs(3)).await;
            }
            let account = number.saturating_add(VICTIM).saturating_add(1);
            let visit = person::visit(&site, account, &source).await;
            visit.map(|visit| (shots, visit))
        });
    }
    let (mut shots, mut visits) = (Vec::new(), Vec::new());
    while let Some(came) = people.join_next().await {
        let (mistyped, visit) = came??;
        shots.extend(mistyped);
        shots.push(Shot {
            at: visit.asked,
            outcome: visit.outcome,
        });
        visits.push(visit);
    }
    shots.sort_by(|one, other| one.at.total_cmp(&other.at));
    Ok((shots, visits))
}

impl Scene {
    pub(crate) fn held(&self) -> bool {
        self.claims.iter().all(|claim| claim.holds)
    }

    pub(crate) fn print(&self) {
        for (code, count) in &self.trail.counts {
            say(&format!("  {count:>6}  {code}"));
        }
        for alarm in &self.trail.alarms {
            say(&format!("  {} after {:.1} s", alarm.rule, alarm.after));
        }
    }

    fn number(&self, outcome: Outcome) -> usize {
        let shots = self.shots.iter();
        shots.filter(|shot| shot.outcome == outcome).count()
    }

    fn event(&self, code: &str) -> u64 {
        self.trail.counts.get(code).copied().unwrap_or_default()
    }

    fn claim(&mut self, text: impl Into<String>, holds: bool) {
        let text = text.into();
        self.claims.push(Claim { text, holds });
    }

    async fn judge(&mut self, plan: &Plan, site: &Site) -> Result<(), BoxError> {
        let everybody = self.visits.iter().all(|visit| visit.lasted.is_some());
        self.claim("whoever forgot a password elsewhere got in", everybody);
        self.claim(
            "every request was answered",
            self.number(Outcome::Failed) == 0,
        );
        for rule in plan.rings {
            let rang = self.trail.alarms.iter().any(|alarm| alarm.rule == *rule);
            self.claim(format!("{rule} rang"), rang);
        }
        if plan.siege.is_some() {
            let first = self.trail.alarms.first();
            let soon = first.is_some_and(|alarm| alarm.after <= SOON);
            self.claim(format!("something rang within {SOON} s"), soon);
        }
        let accepted = self.number(Outcome::Accepted);
        match plan.siege.map(|siege| siege.attack) {
            None => {
                self.claim("nothing rang", self.trail.alarms.is_empty());
                let stopped = [
                    "challenged",
                    "rate_limited",
                    "network_limited",
                    "global_limited",
                ];
                let nobody = stopped.iter().all(|code| self.event(code) == 0);
                self.claim("nobody met a limit or a challenge", nobody);
            }
            Some(Attack::SweepFromOneSource) => self.claim(
                format!("at most {OF_A_SOURCE} requests were taken"),
                accepted <= OF_A_SOURCE,
            ),
            Some(Attack::SweepFromOneNetwork) => self.claim(
                format!("at most {OF_A_NETWORK} requests were taken"),
                accepted <= OF_A_NETWORK,
            ),
            Some(Attack::FillOneMailbox) => {
                self.few_mails();
                // From a network that asked for nothing.
                let visit = person::return_later(site, VICTIM, "100.64.201.9").await?;
                self.claim("a link that came was good", visit.lasted.is_some());
                self.visits.push(visit);
            }
            Some(Attack::GuessCodes) => {
                self.few_mails();
                self.claim("no code was guessed", self.number(Outcome::Through) == 0);
                let text = format!("1 to {OF_CODES} guesses were compared with a mailed code");
                self.claim(text, (1..=OF_CODES).contains(&self.trail.compared));
                let (victim, old) = (address(VICTIM), &site.password);
                let same = site.logs_in("100.64.201.9", &victim, old).await;
                self.claim("the password is the old one", same);
            }
        }
        Ok(())
    }

    fn few_mails(&mut self) {
        let few = (1..=OF_AN_IDENTIFIER).contains(&self.mailed);
        self.claim(format!("1 to {OF_AN_IDENTIFIER} mails were sent"), few);
    }

    fn row(&self) -> String {
        let got_through = match (self.attacked, self.trail.compared) {
            (false, _) => String::new(),
            (true, 0) => format!("mails: {}", self.mailed),
            (true, compared) => format!("mails: {}, guesses compared: {compared}", self.mailed),
        };
        let rang = self.trail.alarms.iter().map(|alarm| {
            let before = self.shots.iter().filter(|shot| shot.at < alarm.after);
            let count = before.count();
            format!("`{}` {:.0} s, {count} requests", alarm.rule, alarm.after)
        });
        let rang = rang.collect::<Vec<_>>().join("; ");
        let visits = self.visits.iter().filter_map(|visit| visit.lasted);
        let (in_time, slowest) = visits.fold((0, 0.0_f64), |(number, slowest), lasted| {
            (number + 1, slowest.max(lasted))
        });
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {in_time} of {}, {slowest:.1} s at most |",
            self.title,
            self.shots.len(),
            self.number(Outcome::Accepted),
            self.number(Outcome::Work),
            self.number(Outcome::Later),
            self.number(Outcome::Wrong),
            got_through,
            if rang.is_empty() { "nothing" } else { &rang },
            self.visits.len(),
        )
    }
}

/// In Markdown.
pub(crate) fn table(scenes: &[Scene]) -> Vec<String> {
    let head = [
        "| | requests | taken | asked for work | told to wait | wrong codes | got through | rang after | people elsewhere got in |",
        "|---|---|---|---|---|---|---|---|---|",
    ];
    let rows = scenes.iter().map(Scene::row);
    head.map(str::to_owned).into_iter().chain(rows).collect()
}

//! Token stores, all but one broken.

use std::sync::Mutex;

use async_trait::async_trait;
use password_reset::Timestamp;
use password_reset::account::UserId;
use password_reset::error::BoxError;
use password_reset::store::{Insert, Live, Reach, TokenStore};
use password_reset::token::state::{Claim, ClaimId, Hold, Revocation, Settlement};
use password_reset::token::{KeyId, Purpose, Selector, TokenRecord};
use tokio::task::yield_now;

pub(crate) struct Tokens {
    defect: &'static str,
    rows: Mutex<Vec<TokenRecord>>,
    /// Places that were taken before their record was stored, for one of the defects.
    places: Mutex<Vec<UserId>>,
}

impl Tokens {
    pub(crate) fn with(defect: &'static str) -> Self {
        Self {
            defect,
            rows: Mutex::default(),
            places: Mutex::default(),
        }
    }

    fn is(&self, defect: &str) -> bool {
        self.defect == defect
    }

    fn rows<T>(&self, work: impl FnOnce(&mut Vec<TokenRecord>) -> T) -> T {
        work(&mut self.rows.lock().unwrap())
    }

    fn row<T>(&self, selector: &Selector, work: impl FnOnce(&mut TokenRecord) -> T) -> Option<T> {
        self.rows(|rows| {
            rows.iter_mut()
                .find(|row| self.same(&row.selector, selector))
                .map(work)
        })
    }

    /// The racy window of a defect.
    async fn window(&self, defect: &str) {
        if self.is(defect) {
            yield_now().await;
        }
    }

    fn same(&self, a: &Selector, b: &Selector) -> bool {
        match self.defect {
            "selectors_are_cut" => a.as_bytes()[..8] == b.as_bytes()[..8],
            "selectors_are_text" => a.as_bytes().eq_ignore_ascii_case(b.as_bytes()),
            _ => a == b,
        }
    }

    fn same_user(&self, a: &UserId, b: &UserId) -> bool {
        let (a, b) = (a.as_str(), b.as_str());
        match self.defect {
            "users_fold_case" => a.to_lowercase() == b.to_lowercase(),
            "users_are_patterns" => b == "%" || a == b,
            "users_are_numbers" => match (a.parse::<f64>(), b.parse::<f64>()) {
                (Ok(a), Ok(b)) => a == b,
                _ => a == b,
            },
            "users_skip_soft_hyphens" => a.replace('\u{ad}', "") == b.replace('\u{ad}', ""),
            "revoke_all_hits_everyone" => true,
            _ => a == b,
        }
    }

    fn written(&self, record: &TokenRecord) -> TokenRecord {
        let mut row = record.clone();
        let rounded =
            |at: Timestamp, step: i64| Timestamp::from_unix_micros(at.unix_micros() / step * step);
        let each = |row: &mut TokenRecord, change: &dyn Fn(Timestamp) -> Timestamp| {
            row.issued_at = change(row.issued_at);
            row.expires_at = change(row.expires_at);
        };
        match self.defect {
            "tenants_are_lost" => row.tenant = None,
            "purposes_are_two" if row.purpose != Purpose::First => row.purpose = Purpose::Reset,
            "key_ids_wrap" => row.key = KeyId(row.key.0 & 0x7fff_ffff),
            "times_in_seconds" => each(&mut row, &|at| rounded(at, 1_000_000)),
            "times_in_milliseconds" => each(&mut row, &|at| rounded(at, 1_000)),
            "times_in_32_bits" => each(&mut row, &|at| {
                let micros = at.unix_micros();
                let seconds = i64::from((micros / 1_000_000) as u32);
                Timestamp::from_unix_micros(seconds * 1_000_000 + micros % 1_000_000)
            }),
            _ => {}
        }
        row
    }

    fn takes_a_place(&self, row: &TokenRecord, user: &UserId, now: Timestamp) -> bool {
        if !self.same_user(&row.user, user) {
            return false;
        }
        match self.defect {
            "expired_take_places" => row.state.is_open(),
            "claimed_take_no_place" => row.is_live(now) && row.state.hold == Hold::Free,
            _ => row.is_live(now),
        }
    }
}

#[async_trait]
impl TokenStore for Tokens {
    async fn insert(&self, record: &TokenRecord, live: Live) -> Result<Insert, BoxError> {
        let now = record.issued_at;
        let written = self.written(record);
        let taken = |rows: &Vec<TokenRecord>| {
            rows.iter()
                .any(|row| self.same(&row.selector, &record.selector))
        };
        let full = |rows: &Vec<TokenRecord>| {
            let live_now = rows
                .iter()
                .filter(|row| self.takes_a_place(row, &record.user, now))
                .count();
            let reserved = self.places.lock().unwrap();
            let reserved = reserved.iter().filter(|user| **user == record.user).count();
            match live {
                Live::AtMost(max) => live_now + reserved >= max.get() as usize,
                _ => false,
            }
        };
        let supersede = |rows: &mut Vec<TokenRecord>| {
            let Live::Newest(keep) = live else { return };
            if self.is("newest_revokes_nothing") {
                return;
            }
            let mut open: Vec<_> = rows
                .iter_mut()
                .filter(|row| row.user == record.user && row.is_live(now))
                .collect();
            if !self.is("newest_by_arrival") {
                open.sort_by_key(|row| row.issued_at);
            }
            for row in open.into_iter().rev().skip(keep.get() as usize - 1) {
                row.state.revoke(now, Revocation::Superseded);
            }
        };
        if self.is("insert_replaces") {
            self.rows(|rows| rows.retain(|row| row.selector != record.selector));
        }
        if self.is("insert_counts_then_stores") && self.rows(|rows| full(rows)) {
            return Ok(Insert::Full);
        }
        if self.is("newest_revokes_then_stores") {
            self.rows(supersede);
        }
        if self.is("places_before_records") {
            if self.rows(|rows| full(rows)) {
                return Ok(Insert::Full);
            }
            self.places.lock().unwrap().push(record.user.clone());
            yield_now().await;
            let mut places = self.places.lock().unwrap();
            let place = places.iter().position(|user| *user == record.user).unwrap();
            places.remove(place);
        }
        self.window("insert_counts_then_stores").await;
        self.window("newest_revokes_then_stores").await;
        if self.is("insert_looks_then_replaces") && !self.rows(|rows| taken(rows)) {
            yield_now().await;
            self.rows(|rows| rows.retain(|row| row.selector != record.selector));
        }
        self.rows(|rows| {
            if taken(rows) {
                return Err("taken".into());
            }
            if full(rows) && !self.is("insert_counts_then_stores") {
                if self.is("full_but_stored") {
                    rows.push(written);
                }
                return Ok(Insert::Full);
            }
            if !self.is("newest_revokes_then_stores") {
                supersede(rows);
            }
            rows.push(written);
            Ok(Insert::Done)
        })
    }

    async fn find(&self, selector: &Selector) -> Result<Option<TokenRecord>, BoxError> {
        Ok(self.row(selector, |row| row.clone()))
    }

    async fn claim(
        &self,
        selector: &Selector,
        claim: ClaimId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Claim, BoxError> {
        let attempt = |row: &mut TokenRecord| {
            let state = &mut row.state;
            match (self.defect, state.hold) {
                ("lease_is_ignored", Hold::Claimed { .. }) => state.hold = Hold::Free,
                ("lease_never_ends", Hold::Claimed { .. }) if state.is_open() => {
                    return Claim::Held;
                }
                ("lease_ends_too_late", Hold::Claimed { until, .. }) if now == until => {
                    return Claim::Held;
                }
                ("spent_is_claimed", _) => state.spent_at = None,
                ("revoked_is_claimed", _) => state.revoked = None,
                _ => {}
            }
            state.claim(claim, now, until)
        };
        if self.is("claim_reads_then_writes") {
            let read = self.row(selector, |row| attempt(&mut row.clone()));
            yield_now().await;
            if read == Some(Claim::Won) {
                self.row(selector, |row| {
                    row.state.hold = Hold::Claimed { claim, until }
                });
            }
            return Ok(read.unwrap_or(Claim::Refused));
        }
        if self.is("claim_in_two_steps") {
            let never = Timestamp::from_unix_micros(i64::MAX);
            let won = self.row(selector, |row| row.state.claim(claim, now, never));
            yield_now().await;
            if won == Some(Claim::Won) {
                self.row(selector, |row| {
                    row.state.hold = Hold::Claimed { claim, until }
                });
            }
            return Ok(won.unwrap_or(Claim::Refused));
        }
        Ok(self.row(selector, attempt).unwrap_or(Claim::Refused))
    }

    async fn settle(
        &self,
        selector: &Selector,
        claim: ClaimId,
        settlement: Settlement,
    ) -> Result<bool, BoxError> {
        if self.is("settle_reads_then_writes") {
            let read = self.row(selector, |row| row.clone().state.settle(claim, settlement));
            yield_now().await;
            if read == Some(true) {
                let Settlement::Spent { at } = settlement else {
                    return Ok(false);
                };
                self.row(selector, |row| row.state.spent_at = Some(at));
            }
            return Ok(read.unwrap_or(false));
        }
        let answer = self.row(selector, |row| {
            let state = &mut row.state;
            match (self.defect, state.hold, settlement) {
                ("anyone_settles", Hold::Claimed { claim: holder, .. }, _) => {
                    return state.settle(holder, settlement);
                }
                ("late_holders_are_turned_away", Hold::Claimed { until, .. }, _) => {
                    let late = matches!(settlement, Settlement::Spent { at } if at >= until);
                    return !late && state.settle(claim, settlement);
                }
                ("closed_is_swept", _, Settlement::Closed) => {
                    let check_at = Timestamp::from_unix_micros(0);
                    return state.settle(claim, Settlement::Released { check_at });
                }
                ("released_is_forgotten", _, Settlement::Released { .. }) => {
                    let settled = state.settle(claim, settlement);
                    if settled {
                        state.hold = Hold::Free;
                    }
                    return settled;
                }
                _ => {}
            }
            state.settle(claim, settlement)
        });
        Ok(answer.unwrap_or(false))
    }

    async fn abandoned(
        &self,
        claim: ClaimId,
        now: Timestamp,
        until: Timestamp,
        max: u32,
    ) -> Result<Vec<TokenRecord>, BoxError> {
        let mut due: Vec<_> = self.rows(|rows| {
            rows.iter()
                .filter(|row| {
                    if self.is("sweep_skips_revoked") && row.state.revoked.is_some() {
                        return false;
                    }
                    let mut state = row.state;
                    if self.is("spent_is_swept") {
                        state.spent_at = None;
                    }
                    state.take_over(claim, now, until)
                })
                .map(|row| (row.state.hold.due(), row.selector))
                .collect()
        });
        due.sort_unstable();
        if self.is("sweep_takes_the_youngest") {
            due.reverse();
        }
        if !self.is("sweep_ignores_its_limit") {
            due.truncate(max as usize);
        }
        self.window("sweep_reads_then_writes").await;
        let racy = self.is("sweep_reads_then_writes");
        let found = due.into_iter().filter_map(|(_, selector)| {
            self.row(&selector, |row| {
                let before = row.clone();
                let holder = row.state.hold;
                if self.is("spent_is_swept") || racy {
                    row.state.hold = Hold::Claimed { claim, until };
                } else if !row.state.take_over(claim, now, until) {
                    return None;
                }
                if let ("sweep_keeps_the_holder", Hold::Claimed { claim, .. }) =
                    (self.defect, holder)
                {
                    row.state.hold = Hold::Claimed { claim, until };
                }
                let stale = self.is("sweep_answers_old_records");
                Some(if stale { before } else { row.clone() })
            })?
        });
        Ok(found.collect())
    }

    async fn count_attempt(&self, selector: &Selector) -> Result<Option<u32>, BoxError> {
        let read = self.row(selector, |row| row.clone());
        self.window("attempts_read_then_write").await;
        self.window("attempts_write_the_row_back").await;
        let count = self.row(selector, |row| {
            match (self.defect, read) {
                ("attempts_read_then_write", Some(read)) => row.attempts = read.attempts,
                ("attempts_write_the_row_back", Some(read)) => row.state = read.state,
                _ => {}
            }
            row.attempts += 1;
            row.attempts
        });
        Ok(count.or(self.is("unknown_selectors_count").then_some(1)))
    }

    async fn revoke(
        &self,
        selector: &Selector,
        at: Timestamp,
        why: Revocation,
    ) -> Result<bool, BoxError> {
        if self.is("revoke_hits_siblings") {
            let user = self.row(selector, |row| row.user.clone());
            return match user {
                Some(user) => Ok(self.revoke_all(&user, Reach::All, at, why).await? > 0),
                None => Ok(false),
            };
        }
        let why = match self.defect {
            "reasons_are_lost" => Revocation::Requested,
            _ => why,
        };
        let answer = self.row(selector, |row| {
            let revoked = row.state.revoke(at, why);
            if revoked && self.is("revoking_ends_the_claim") {
                row.state.hold = Hold::Free;
            }
            revoked
        });
        Ok(answer.unwrap_or(false))
    }

    async fn revoke_all(
        &self,
        user: &UserId,
        reach: Reach<'_>,
        at: Timestamp,
        why: Revocation,
    ) -> Result<u64, BoxError> {
        Ok(self.rows(|rows| {
            let mut reached = 0;
            for row in rows
                .iter_mut()
                .filter(|row| self.same_user(&row.user, user))
            {
                let held = matches!(row.state.hold, Hold::Claimed { .. });
                let spared = match self.defect {
                    "revoke_all_skips_claimed" => held,
                    "revoke_all_skips_expired" => at >= row.expires_at,
                    "revoke_all_ignores_its_reach" => false,
                    _ => !reach.includes(row),
                };
                reached += u64::from(!spared && row.state.revoke(at, why));
            }
            reached
        }))
    }

    async fn purge(&self, expired_before: Timestamp, limit: u32) -> Result<u64, BoxError> {
        Ok(self.rows(|rows| {
            let before = rows.len();
            let mut left = limit;
            rows.retain(|row| {
                let expired = match self.defect {
                    "purge_keeps_the_dead" => row.expires_at > expired_before,
                    _ => row.expires_at < expired_before,
                };
                let watched = matches!(row.state.hold, Hold::Watched { .. });
                let dead = row.state.is_purgeable()
                    || self.is("purge_takes_claimed")
                    || (watched && self.is("purge_takes_watched"));
                let removed = expired && dead && (left > 0 || self.is("purge_ignores_its_limit"));
                left = left.saturating_sub(u32::from(removed));
                !removed
            });
            (before - rows.len()) as u64
        }))
    }
}

//! Broken backends, each caught by a named check of the conformance kit.
//!
//! A mutant is a plain in-memory backend with one defect, of the kind that a careful stranger
//! writes. Each line of the tables below names the defect and the check that has to catch it; the
//! same backend without the defect has to pass that check. A check that no mutant fails proves
//! nothing, so every check of the kit must stand in a table.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

#[path = "mutants/limiter.rs"]
mod limiter;
#[path = "mutants/log.rs"]
mod log;
#[path = "mutants/queue.rs"]
mod queue;
#[path = "mutants/tokens.rs"]
mod tokens;
#[path = "mutants/users.rs"]
mod users;

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use password_reset::testing::kit::{Check, Race};

/// No defect.
const HEALTHY: &str = "healthy";

macro_rules! mutants {
    ($kit:ident: $store:ty; $($(#[$doc:meta])* $mutant:ident => $check:ident,)+) => {
        mod $kit {
            use super::*;

            $(
                $(#[$doc])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $mutant() {
                    caught_by(
                        find(password_reset::testing::kit::$kit::CHECKS, stringify!($check)),
                        Arc::new(<$store>::with(stringify!($mutant))),
                        Arc::new(<$store>::with(HEALTHY)),
                    )
                    .await;
                }
            )+

            #[test]
            fn every_check_catches_something() {
                let caught = [$(stringify!($check)),+];
                for promise in password_reset::testing::kit::$kit::PROMISES {
                    assert!(caught.contains(promise), "no mutant fails `{promise}`");
                }
            }
        }
    };
}

mod caught {
    use super::*;

    mutants! { tokens: crate::tokens::Tokens;
        tenants_are_lost => a_record_comes_back_as_it_went_in,
        purposes_are_two => a_record_comes_back_as_it_went_in,
        key_ids_wrap => a_record_comes_back_as_it_went_in,
        times_in_seconds => times_survive_the_round_trip,
        times_in_milliseconds => times_survive_the_round_trip,
        times_in_32_bits => times_survive_the_round_trip,
        reasons_are_lost => every_state_survives_the_round_trip,
        unknown_selectors_count => an_unknown_selector_is_nothing,
        selectors_are_cut => selectors_are_compared_byte_by_byte,
        selectors_are_text => selectors_are_compared_byte_by_byte,
        users_fold_case => user_ids_are_case_sensitive,
        users_are_patterns => user_ids_are_compared_byte_by_byte,
        users_are_numbers => user_ids_are_compared_byte_by_byte,
        users_skip_soft_hyphens => user_ids_are_compared_byte_by_byte,
        insert_replaces => a_selector_is_never_replaced,
        insert_looks_then_replaces => one_of_many_inserts_is_kept,
        full_but_stored => a_full_account_stores_nothing,
        expired_take_places => dead_tokens_take_no_place,
        claimed_take_no_place => dead_tokens_take_no_place,
        insert_counts_then_stores => live_tokens_are_bounded_under_contention,
        newest_revokes_nothing => newest_supersedes_older_tokens,
        newest_by_arrival => newest_supersedes_older_tokens,
        newest_revokes_then_stores => newest_is_bounded_under_contention,
        places_before_records => a_dropped_insert_takes_no_place,
        claim_reads_then_writes => one_claim_wins,
        lease_is_ignored => a_claim_is_exclusive_until_its_lease_is_over,
        lease_never_ends => a_claim_is_exclusive_until_its_lease_is_over,
        lease_ends_too_late => a_claim_is_exclusive_until_its_lease_is_over,
        claim_in_two_steps => a_dropped_claim_is_only_a_lease,
        spent_is_claimed => a_spent_token_is_never_claimed_again,
        revoked_is_claimed => a_revoked_token_is_never_claimed,
        anyone_settles => only_the_holder_settles,
        late_holders_are_turned_away => only_the_holder_settles,
        sweep_reads_then_writes => abandoned_claims_have_one_finder,
        sweep_answers_old_records => abandoned_claims_have_one_finder,
        sweep_takes_the_youngest => the_longest_overdue_are_swept_first,
        sweep_ignores_its_limit => the_longest_overdue_are_swept_first,
        sweep_keeps_the_holder => a_swept_claim_is_lost_to_its_holder,
        settle_reads_then_writes => the_holder_and_the_sweep_never_both_win,
        sweep_skips_revoked => a_revoked_claim_is_still_swept,
        revoking_ends_the_claim => a_revoked_claim_is_still_swept,
        released_is_forgotten => a_released_token_is_watched,
        spent_is_swept => a_spent_token_leaves_the_sweep,
        attempts_read_then_write => every_attempt_is_counted,
        attempts_write_the_row_back => racing_writes_lose_nothing,
        revoke_hits_siblings => revoking_one_spares_the_others,
        revoke_all_skips_claimed => revoking_reaches_every_open_token_of_one_user,
        revoke_all_skips_expired => revoking_reaches_every_open_token_of_one_user,
        revoke_all_hits_everyone => revoking_reaches_every_open_token_of_one_user,
        revoke_all_ignores_its_reach => revoking_siblings_spares_later_tokens,
        closed_is_swept => a_closed_token_leaves_the_sweep,
        /// The inverted comparison of W28.
        purge_keeps_the_dead => purge_removes_only_dead_records,
        purge_takes_claimed => purge_removes_only_dead_records,
        purge_takes_watched => purge_removes_only_dead_records,
        purge_ignores_its_limit => purge_stops_at_its_limit,
    }

    mutants! { queue: crate::queue::Queue;
        suppression_is_lost => a_job_comes_back_as_it_went_in,
        lease_reads_then_writes => a_job_is_leased_to_one_worker,
        due_is_ignored => a_job_is_not_leased_before_it_is_due,
        youngest_first => the_longest_due_are_leased_first,
        max_is_ignored => the_longest_due_are_leased_first,
        leased_for_ever => a_lost_lease_is_handed_over,
        leases_do_not_hold => a_lost_lease_is_handed_over,
        take_over_reads_then_writes => a_lost_lease_is_handed_to_one_worker,
        attempts_are_not_counted => every_lease_counts_an_attempt,
        retry_starts_over => every_lease_counts_an_attempt,
        any_lease_settles => an_old_lease_settles_nothing,
        ack_reads_then_writes => a_lease_is_settled_once,
        retry_is_at_once => a_retried_job_waits_for_its_time,
        retry_keeps_the_lease => a_retried_job_waits_for_its_time,
        ack_keeps_the_job => an_acknowledged_job_never_returns,
        push_reads_then_writes => no_job_is_lost_under_contention,
        lease_takes_jobs_out => a_dropped_lease_loses_no_job,
        any_lease_buries => an_old_lease_settles_nothing,
        the_dead_are_leased => a_dead_letter_is_never_leased,
        burying_forgets => a_dead_letter_is_never_leased,
        the_dead_lose_their_attempts => dead_letters_come_back_as_they_were,
        latest_dead_first => dead_letters_come_back_as_they_were,
        the_living_are_revived => a_revived_job_starts_over,
        revived_under_its_old_name => a_revived_job_starts_over,
        attempts_survive_death => a_revived_job_starts_over,
        revive_reads_then_writes => a_dead_letter_is_revived_once,
        purge_takes_the_living => purging_dead_letters_spares_the_others,
        dead_purge_ignores_its_limit => purging_dead_letters_spares_the_others,
        leased_jobs_are_not_counted => the_length_counts_every_job,
    }

    mutants! { limiter: crate::limiter::Limiter;
        hints_in_seconds => a_limiter_follows_gcra,
        a_wrong_clock_denies_for_ever => a_limiter_follows_gcra,
        third_rate_is_forgotten => every_rate_of_a_quota_holds,
        reads_then_writes => contention_never_allows_too_much,
        denied_is_charged => a_denied_use_is_free,
        hint_is_the_whole_span => the_retry_hint_is_exact,
        one_bucket => keys_are_independent,
        keys_are_text => keys_are_independent,
        clear_does_nothing => clearing_forgets_the_key,
        clear_clears_all => clearing_forgets_the_key,
        blocked_while_checking => a_dropped_check_never_blocks_the_key,
    }

    mutants! { log: crate::log::Log;
        actors_are_lost => every_event_comes_back_whole,
        names_are_trimmed => every_event_comes_back_whole,
        numbers_are_lost => every_event_comes_back_whole,
        noise_is_dropped => every_event_comes_back_whole,
        the_end_is_included => a_query_answers_what_it_matches,
        severity_is_exact => a_query_answers_what_it_matches,
        one_pseudonym_is_looked_for => a_query_answers_what_it_matches,
        always_the_newest_first => a_query_answers_what_it_matches,
        tenants_are_mixed => a_query_answers_what_it_matches,
        pages_go_by_time_alone => pages_follow_each_other,
        limits_are_ignored => pages_follow_each_other,
        the_last_span_is_lost => counts_add_up,
        causes_are_lumped_together => counts_add_up,
        arrivals_are_numbered_anew => what_arrives_is_told_once,
        the_latest_come_first => what_arrives_is_told_once,
        purge_ignores_its_limit => a_purge_takes_the_oldest,
        purge_takes_the_moment_too => a_purge_takes_the_oldest,
        forget_takes_everybody => what_is_forgotten_is_gone,
        forget_takes_the_like => what_is_forgotten_is_gone,
        forget_leaves_what_was_turned_away => what_is_forgotten_is_gone,
        forget_takes_shared_names => what_is_forgotten_is_gone,
        forget_answers_only => what_is_forgotten_is_gone,
    }

    mutants! { users: crate::users::Users;
        find_is_anybody => an_account_is_found_by_its_address,
        swap_compares_nothing => swap_is_compare_and_swap,
        swap_reads_then_writes => one_swap_wins,
        first_reads_then_writes => a_first_password_is_set_once,
        first_is_refused => a_first_password_is_set_once,
        find_is_cached => a_swap_is_seen_at_once,
        swap_drops_the_factor => a_swap_changes_only_the_password,
        swap_hits_everyone => a_swap_touches_nobody_else,
        find_with_like => wildcards_match_nobody,
        unknown_is_the_first => an_unknown_id_is_nobody,
        sessions_end_once => ending_sessions_twice_is_fine,
        reading_rehashes => reading_changes_nothing,
    }
}

fn find<S: ?Sized>(checks: &'static [Check<S>], name: &str) -> &'static Check<S> {
    let check = checks.iter().find(|check| check.name() == name);
    check.unwrap_or_else(|| panic!("the kit has no check `{name}`"))
}

async fn caught_by<S: ?Sized>(check: &Check<S>, mutant: Arc<S>, healthy: Arc<S>) {
    let name = check.name();
    let race = Race::on(tokio::spawn);
    if let Err(message) = verdict(check.run(healthy, race.clone())).await {
        panic!("`{name}` fails a healthy backend: {message}");
    }
    match verdict(check.run(mutant, race)).await {
        Ok(()) => panic!("`{name}` does not catch it"),
        Err(message) => println!("`{name}`: {message}"),
    }
}

/// Runs a check to its end, and catches its panic on this thread, so that a passing test is quiet.
async fn verdict(check: impl Future<Output = ()>) -> Result<(), String> {
    let mut check = Box::pin(check);
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| check.as_mut().poll(context)));
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(message(panic.as_ref()))),
        }
    })
    .await
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no message").to_owned()
}

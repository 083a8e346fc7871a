//! Tests of `calibrate`: no hash is made and no time passes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

use super::*;

const MIB: u32 = 1024;

fn budget(millis: u64, memory_kib: u32) -> Budget {
    Budget::new(Duration::from_millis(millis), memory_kib).unwrap()
}

/// A machine that takes so many nanoseconds for a KiB and a pass.
fn machine(budget: Budget, nanos: u64) -> Calibration {
    calibrate_with(budget, |argon2id| {
        let phc = format!("{argon2id:?}");
        let number = |name: &str| -> u64 {
            let (_, rest) = phc.split_once(name).unwrap();
            rest.split([',', ' ']).next().unwrap().parse().unwrap()
        };
        let work = number("m_kib: ") * number(", t: ");
        Ok::<_, ()>(Duration::from_nanos(work * nanos))
    })
    .unwrap()
}

fn chosen(calibration: &Calibration) -> Option<(u32, u32, u32)> {
    calibration.chosen().map(|row| (row.m_kib, row.t, row.p))
}

#[test]
fn memory_first_and_then_passes() {
    // RFC 9106, section 4. 1,000 ns a KiB: 64 MiB take 65.5 ms a pass.
    assert_eq!(
        chosen(&machine(budget(200, 64 * MIB), 1_000)),
        Some((65_536, 3, 1))
    );
    assert_eq!(
        chosen(&machine(budget(66, 64 * MIB), 1_000)),
        Some((65_536, 1, 1))
    );
    // Not even once: less memory.
    assert_eq!(
        chosen(&machine(budget(65, 64 * MIB), 1_000)),
        Some((47_104, 1, 1))
    );
    // A budget between the steps is used up.
    assert_eq!(
        chosen(&machine(budget(100, 70_000), 1_000)),
        Some((70_000, 1, 1))
    );
}

#[test]
fn no_row_is_below_the_table_however_slow_the_machine() {
    // R55.
    for nanos in [1, 100, 1_000, 2_000, 10_000, 1_000_000_000] {
        for memory in [12_288, 12_289, 19_456, 40_000, 47_104, MAX_KIB] {
            let calibration = machine(budget(100, memory), nanos);
            assert!(!calibration.measurements().is_empty());
            for row in calibration.measurements() {
                assert!(Argon2id::new(row.m_kib, row.t, row.p).is_ok(), "{row:?}");
                assert!(row.m_kib <= memory, "{row:?}");
            }
            let slow = 12_288 * 3 * nanos > 100_000_000;
            assert_eq!(calibration.chosen().is_none(), slow, "{nanos} {memory}");
        }
    }
}

#[test]
fn the_chosen_row_is_within_the_budget() {
    for nanos in (100..3_000).step_by(37) {
        let calibration = machine(budget(120, 256 * MIB), nanos);
        if let Some(row) = calibration.chosen() {
            assert!(row.fits && row.time <= Duration::from_millis(120));
        }
        assert!(calibration.measurements().len() < 24, "{calibration}");
    }
}

#[test]
fn a_machine_without_a_clock_is_no_endless_loop() {
    let calibration = calibrate_with(budget(1, MAX_KIB), |_| Ok::<_, ()>(Duration::ZERO)).unwrap();
    assert_eq!(chosen(&calibration), Some((MAX_KIB, MAX_PASSES, 1)));
}

#[test]
fn budgets_have_bounds() {
    let second = Duration::from_secs(1);
    for (time, memory, error) in [
        (Duration::ZERO, 65_536, InvalidBudget::Time),
        // R60.
        (
            second + Duration::from_nanos(1),
            65_536,
            InvalidBudget::Time,
        ),
        (second, 12_287, InvalidBudget::Memory),
        (second, MAX_KIB + 1, InvalidBudget::Memory),
    ] {
        assert_eq!(Budget::new(time, memory).unwrap_err(), error);
    }
    assert!(Budget::new(second, MAX_KIB).is_ok());
}

#[test]
fn the_first_error_ends_it() {
    let mut calls = 0;
    let failed = calibrate_with(budget(100, 65_536), |_| {
        calls += 1;
        Err::<Duration, _>("no memory")
    });
    assert_eq!((failed.unwrap_err(), calls), ("no memory", 1));
}

#[test]
fn the_table_shows_every_row_and_marks_one() {
    let calibration = machine(budget(66, 64 * MIB), 1_000);
    let table = calibration.to_string();
    assert_eq!(table.matches("<- chosen").count(), 1, "{table}");
    assert_eq!(
        table.lines().count(),
        2 + calibration.measurements().len(),
        "{table}"
    );
    let none = machine(budget(1, 64 * MIB), 1_000).to_string();
    assert!(
        none.contains("nothing fits") && !none.contains("chosen"),
        "{none}"
    );
}

/// The real one, on the cheapest budget; whatever the machine is, no row is weak.
#[test]
fn this_machine_can_be_measured() {
    let calibration = calibrate(budget(1_000, 12_288)).unwrap();
    let rows = calibration.measurements();
    assert!(rows.iter().all(|row| row.m_kib == 12_288 && row.t >= 3));
    assert!(rows[0].time > Duration::ZERO);
}

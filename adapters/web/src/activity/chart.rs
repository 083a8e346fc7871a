//! Counts as charts: numbers in, SVG out. Pure, and without a script.

use std::fmt::Write;

use password_reset::Timestamp;
use password_reset::audit::log::{Count, Spans};

const WIDTH: u32 = 600;
const HEIGHT: u32 = 150;
/// Above the bars, for the number at their top; and below them, for the times.
const HEAD: u32 = 16;
const FOOT: u32 = 20;
const BARS: u32 = HEIGHT - HEAD - FOOT;

/// A chart, and what is stacked in its bars from below: each event counts for the first series that
/// names the beginning of its code.
struct Plan {
    title: &'static str,
    about: &'static str,
    series: &'static [(&'static str, Colour, &'static [&'static str])],
}

/// A class of the style sheet.
#[derive(Clone, Copy)]
pub(crate) enum Colour {
    Plain,
    Grey,
    Bad,
    Good,
}

impl Colour {
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Plain => "s0",
            Self::Grey => "s1",
            Self::Bad => "s2",
            Self::Good => "s3",
        }
    }
}

const PLANS: [Plan; 6] = [
    Plan {
        title: "Alarms",
        about: "Rules that rang, owners who said that it was not them, links handed to operators.",
        series: &[
            ("alarm", Colour::Bad, &["alarm"]),
            ("this wasn't me", Colour::Plain, &["disowned"]),
            ("link handed over", Colour::Grey, &["link_handed_over"]),
        ],
    },
    Plan {
        title: "Requests",
        about: "Who asked for a link or a code, whether or not there is such an account.",
        series: &[
            (
                "over the identifier's limit",
                Colour::Grey,
                &["requested.suppressed"],
            ),
            ("taken", Colour::Plain, &["requested"]),
            ("by an operator", Colour::Good, &["started"]),
        ],
    },
    Plan {
        title: "Outcomes",
        about: "Passwords changed, mails and text messages sent, requests that led to none.",
        series: &[
            ("password changed", Colour::Good, &["completed"]),
            (
                "mailed",
                Colour::Plain,
                &["link_sent", "code_sent", "text_sent", "hint_sent"],
            ),
            ("no mail", Colour::Grey, &["withheld"]),
        ],
    },
    Plan {
        title: "Limits",
        about: "Requests that were told to wait, or to show that a human asks.",
        series: &[
            ("source", Colour::Plain, &["rate_limited"]),
            ("network", Colour::Grey, &["network_limited"]),
            ("everybody", Colour::Bad, &["global_limited"]),
            ("challenged", Colour::Good, &["challenged", "proof_refused"]),
        ],
    },
    Plan {
        title: "Refused",
        about: "Links and codes that did not work, and why.",
        series: &[
            (
                "guessed",
                Colour::Bad,
                &[
                    "refused.malformed",
                    "refused.unknown",
                    "refused.wrong_verifier",
                    "refused.wrong_tenant",
                    "refused.wrong_code",
                    "refused.code_tries",
                    "refused.codes_locked",
                ],
            ),
            ("used before", Colour::Plain, &["refused.spent"]),
            ("other", Colour::Grey, &["refused"]),
        ],
    },
    Plan {
        title: "Failures",
        about: "Mails that did not go out, parts that failed, changes that were finished late.",
        series: &[
            ("mail", Colour::Plain, &["mail_failed", "dead_letter"]),
            ("part", Colour::Bad, &["backend_failed", "worker_panicked"]),
            (
                "unfinished",
                Colour::Grey,
                &[
                    "settle_pending",
                    "change_uncertain",
                    "key_missing",
                    "settled.by_sweep",
                ],
            ),
        ],
    },
];

/// One chart, with its numbers.
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) about: &'static str,
    pub(crate) series: Vec<Series>,
    /// Where each bar begins.
    pub(crate) moments: Vec<Timestamp>,
    end: Timestamp,
}

pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) colour: Colour,
    /// One number for each bar.
    pub(crate) bars: Vec<u64>,
}

impl Series {
    pub(crate) fn total(&self) -> u64 {
        self.bars
            .iter()
            .fold(0, |sum, bar| sum.saturating_add(*bar))
    }
}

/// All charts of these counts. Counts outside of the spans, and codes that no chart names, are left
/// out.
pub(crate) fn charts(counts: &[Count], spans: &Spans) -> Vec<Chart> {
    let moments = (0..spans.number()).map(|number| {
        let into = spans.micros().saturating_mul(number.into());
        Timestamp::from_unix_micros(spans.from().unix_micros().saturating_add(into))
    });
    let moments: Vec<_> = moments.collect();
    let chart = |plan: &Plan| {
        let empty = |(name, colour, _): &(&'static str, Colour, _)| Series {
            name,
            colour: *colour,
            bars: vec![0; moments.len()],
        };
        let mut chart = Chart {
            title: plan.title,
            about: plan.about,
            series: plan.series.iter().map(empty).collect(),
            moments: moments.clone(),
            end: spans.until(),
        };
        for count in counts {
            let series = plan
                .series
                .iter()
                .position(|(_, _, codes)| codes.iter().any(|code| begins_with(&count.code, code)));
            let bar = spans
                .of(count.at)
                .and_then(|at| moments.binary_search(&at).ok());
            let series = series.and_then(|series| chart.series.get_mut(series));
            let bar = series
                .zip(bar)
                .and_then(|(series, bar)| series.bars.get_mut(bar));
            if let Some(bar) = bar {
                *bar = bar.saturating_add(count.events);
            }
        }
        chart
    };
    PLANS.iter().map(chart).collect()
}

fn begins_with(code: &str, words: &str) -> bool {
    let rest = code.strip_prefix(words);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl Chart {
    /// The tallest bar.
    fn top(&self) -> u64 {
        let heights = (0..self.moments.len()).map(|bar| self.height(bar));
        heights.max().unwrap_or(0)
    }

    fn height(&self, bar: usize) -> u64 {
        let parts = self.series.iter().filter_map(|series| series.bars.get(bar));
        parts.fold(0, |sum, part| sum.saturating_add(*part))
    }

    /// The bars in which something happened: a line for each of a table.
    pub(crate) fn table(&self) -> Vec<(Timestamp, Vec<u64>)> {
        let lines = self.moments.iter().enumerate();
        lines
            .filter(|(bar, _)| self.height(*bar) > 0)
            .map(|(bar, at)| {
                let numbers = self.series.iter();
                let numbers = numbers.map(|series| series.bars.get(bar).copied().unwrap_or(0));
                (*at, numbers.collect())
            })
            .collect()
    }

    /// The picture. Colours are classes; nothing in it comes from an event but numbers.
    pub(crate) fn svg(&self) -> String {
        let id = self.title.to_ascii_lowercase();
        let top = self.top();
        let totals: Vec<_> = self
            .series
            .iter()
            .map(|series| format!("{} {}", series.total(), series.name))
            .collect();
        let mut svg = String::with_capacity(4_096);
        // Writing into a string does not fail.
        let _ = write!(
            svg,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             aria-labelledby=\"{id}-title {id}-about\">\
             <title id=\"{id}-title\">{}</title>\
             <desc id=\"{id}-about\">{} From {} to {}: {}. Most at once: {top}.</desc>",
            self.title,
            self.about.replace('\'', "&#39;"),
            self.moments.first().copied().unwrap_or(self.end),
            self.end,
            totals.join(", ").replace('\'', "&#39;"),
        );
        let floor = HEAD + BARS;
        let number = u32::try_from(self.moments.len()).unwrap_or(u32::MAX).max(1);
        for (bar, place) in (0..self.moments.len()).zip(0_u32..) {
            let (left, right) = (edge(place, number), edge(place.saturating_add(1), number));
            let width = (right - left - 1.0).max(1.0);
            let mut below = 0_u64;
            for series in &self.series {
                let events = series.bars.get(bar).copied().unwrap_or(0);
                let (low, high) = (level(below, top), level(below.saturating_add(events), top));
                below = below.saturating_add(events);
                if events > 0 {
                    let height = (high - low).max(1.0);
                    let _ = write!(
                        svg,
                        "<rect class=\"{}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{width:.1}\" \
                         height=\"{height:.1}\"/>",
                        series.colour.class(),
                        f64::from(floor) - low - height,
                    );
                }
            }
        }
        let _ = write!(
            svg,
            "<path class=\"axis\" d=\"M0 {floor}.5H{WIDTH}M0 {HEAD}.5H{WIDTH}\"/>\
             <text x=\"0\" y=\"12\">{top}</text>",
        );
        let text = HEIGHT - 4;
        for (x, anchor, at) in [
            (0, "start", self.moments.first().copied()),
            (
                WIDTH / 2,
                "middle",
                self.moments.get(self.moments.len() / 2).copied(),
            ),
            (WIDTH, "end", Some(self.end)),
        ] {
            if let Some(at) = at {
                let _ = write!(
                    svg,
                    "<text x=\"{x}\" y=\"{text}\" text-anchor=\"{anchor}\">{}</text>",
                    minute(at),
                );
            }
        }
        svg.push_str("</svg>");
        svg
    }
}

/// Where a bar begins.
fn edge(place: u32, number: u32) -> f64 {
    f64::from(WIDTH) * f64::from(place) / f64::from(number)
}

/// How far above the floor so many events reach.
fn level(events: u64, top: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a picture has a hundred lines")]
    let share = events as f64 / top.max(1) as f64;
    share * f64::from(BARS)
}

/// `11-24 05:15`, in UTC.
pub(crate) fn minute(at: Timestamp) -> String {
    let text = at.to_string();
    let text = text.get(5..16).unwrap_or(&text);
    text.replace('T', " ")
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "tests may panic"
    )]

    use std::time::Duration;

    use password_reset::audit::EventKind;
    use password_reset::audit::log::CodePrefix;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix_micros((1_800_000_000 + second) * 1_000_000)
    }

    fn count(second: i64, code: &str, events: u64) -> Count {
        Count::new(at(second), code.to_owned(), events)
    }

    fn spans() -> Spans {
        Spans::new(at(0), Duration::from_secs(60), 10)
    }

    fn requests(counts: &[Count]) -> Chart {
        charts(counts, &spans()).remove(1)
    }

    #[test]
    fn counts_fall_into_their_bars_and_series() {
        let chart = requests(&[
            count(0, "requested", 5),
            count(0, "requested.suppressed", 2),
            count(59, "requested", 1),
            count(60, "requested", 7),
            count(540, "started", 1),
            // Outside, and of another chart.
            count(600, "requested", 100),
            count(-1, "requested", 100),
            count(0, "requested_by_a_newer_version", 100),
            count(0, "completed", 100),
        ]);
        let bars: Vec<_> = chart
            .series
            .iter()
            .map(|series| &series.bars[..2])
            .collect();
        assert_eq!(bars, [&[2, 0], &[6, 7], &[0, 0]]);
        assert_eq!(chart.series[2].bars[9], 1);
        assert_eq!(
            chart.table(),
            [
                (at(0), vec![2, 6, 0]),
                (at(60), vec![0, 7, 0]),
                (at(540), vec![0, 0, 1]),
            ]
        );
    }

    #[test]
    fn bars_are_stacked_to_scale_and_stay_inside() {
        let svg = requests(&[
            count(0, "requested.suppressed", 1),
            count(0, "requested", 3),
            count(60, "requested", 2),
        ])
        .svg();
        // 114 lines for the tallest: a quarter, three quarters above it, and a half.
        for bar in [
            "<rect class=\"s1\" x=\"0.0\" y=\"101.5\" width=\"59.0\" height=\"28.5\"/>",
            "<rect class=\"s0\" x=\"0.0\" y=\"16.0\" width=\"59.0\" height=\"85.5\"/>",
            "<rect class=\"s0\" x=\"60.0\" y=\"73.0\" width=\"59.0\" height=\"57.0\"/>",
        ] {
            assert!(svg.contains(bar), "{svg}");
        }
        assert_eq!(svg.matches("<rect").count(), 3);
        assert!(svg.contains("1 over the identifier&#39;s limit, 5 taken, 0 by an operator"));
        assert!(svg.contains("role=\"img\"") && svg.contains("<title"));
        assert!(!svg.contains("style=") && !svg.contains("<script"));
    }

    #[test]
    fn nothing_and_too_much_are_drawn_too() {
        let empty = charts(&[], &spans());
        assert!(empty.iter().all(|chart| !chart.svg().contains("<rect")));
        let most = requests(&[
            count(0, "requested", u64::MAX),
            count(0, "started", u64::MAX),
        ]);
        let svg = most.svg();
        assert!(
            !svg.contains("NaN") && !svg.contains("inf") && !svg.contains("y=\"-"),
            "{svg}"
        );
        let one = Spans::new(at(0), Duration::from_secs(1), 1);
        assert_eq!(charts(&[], &one).len(), PLANS.len());
    }

    /// A code that is renamed is not lost from its chart without a sound.
    #[test]
    fn every_chart_names_codes_that_there_are() {
        let every: Vec<_> = EventKind::every().iter().map(EventKind::code).collect();
        for plan in &PLANS {
            for code in plan.series.iter().flat_map(|(_, _, codes)| *codes) {
                let prefix = CodePrefix::parse(code).unwrap();
                assert!(every.iter().any(|it| prefix.matches(it)), "{code}");
            }
        }
    }
}

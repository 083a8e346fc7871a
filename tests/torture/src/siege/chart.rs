//! The sieges as one drawing: requests each second, what they came to, and what rang when.

use std::fmt::Write;

use crate::siege::scene::Scene;
use crate::siege::site::Outcome;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 40.0;
const RIGHT: f64 = 10.0;
const LEGEND: f64 = 30.0;
const TITLE: f64 = 58.0;
const BARS: f64 = 90.0;
const LANE: f64 = 14.0;
const AXIS: f64 = 26.0;
const PANEL: f64 = TITLE + BARS + LANE + AXIS;
/// The bars, from the bottom up. Readable beside each other without colours, too: they differ in
/// lightness.
const KINDS: [(Outcome, &str, &str); 6] = [
    (Outcome::Through, "code guessed", "#d00000"),
    (Outcome::Accepted, "taken", "#1f5fa8"),
    (Outcome::Wrong, "wrong code", "#7a4fb0"),
    (Outcome::Work, "asked for work", "#e3a008"),
    (Outcome::Later, "told to wait", "#b9bec7"),
    (Outcome::Failed, "no answer", "#d00000"),
];
const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#1c1f24}.axis{stroke:#8a9099}\
    .alarm{stroke:#c1121f;stroke-width:1.5}.rang{fill:#c1121f}.visit{stroke:#2a9134;stroke-width:6}\
    @media(prefers-color-scheme:dark){text{fill:#e6e8eb}.rang{fill:#ff8087}.alarm{stroke:#ff8087}}";

pub(crate) fn draw(scenes: &[Scene]) -> String {
    let height = scenes.iter().fold(LEGEND, |height, _| height + PANEL);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"Requests each second, what they came to, and when an alarm rang\">\n\
         <style>{STYLE}</style>\n"
    );
    legend(&mut svg);
    let mut top = LEGEND;
    for scene in scenes {
        panel(&mut svg, scene, top);
        top += PANEL;
    }
    svg += "</svg>\n";
    svg
}

fn legend(svg: &mut String) {
    let mut x = LEFT;
    let shown = KINDS.iter().filter(|(outcome, ..)| {
        // What never happens in a siege that held needs no room.
        !matches!(outcome, Outcome::Through | Outcome::Failed)
    });
    for (_, name, colour) in shown {
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"8\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"17\">{name}</text>",
            x + 14.0
        );
        x += 125.0;
    }
    let _ = writeln!(
        svg,
        "<path class=\"alarm\" d=\"M{x} 6v14\"/><text x=\"{}\" y=\"17\">alarm</text>",
        x + 6.0
    );
    x += 70.0;
    let _ = writeln!(
        svg,
        "<path class=\"visit\" d=\"M{x} 13h12\"/><text x=\"{}\" y=\"17\">a person gets in</text>",
        x + 16.0
    );
}

fn panel(svg: &mut String, scene: &Scene, top: f64) {
    let ends = scene.shots.iter().map(|shot| shot.at);
    let visits = scene.visits.iter();
    let ends = ends.chain(visits.map(|visit| visit.asked + visit.lasted.unwrap_or_default()));
    let seconds = ends.fold(10.0, f64::max).ceil() + 1.0;
    let across = |second: f64| LEFT + second / seconds * (WIDTH - LEFT - RIGHT);
    let bins = bins(scene, seconds);
    let most = bins.iter().map(|bin| bin.iter().sum::<u32>()).max();
    let most = most.unwrap_or_default().max(5);
    let ground = top + TITLE + BARS;

    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"600\">{}</text>",
        top + 14.0,
        scene.title
    );
    let width = (across(1.0) - LEFT - 0.5).max(0.5);
    for (second, bin) in (0_u32..).zip(&bins) {
        let mut y = ground;
        for ((_, _, colour), count) in KINDS.iter().zip(bin) {
            if *count == 0 {
                continue;
            }
            let height = f64::from(*count) / f64::from(most) * BARS;
            y -= height;
            let _ = writeln!(
                svg,
                "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>",
                across(second.into())
            );
        }
    }
    let _ = writeln!(
        svg,
        "<path class=\"axis\" fill=\"none\" d=\"M{LEFT} {:.1}V{ground:.1}H{}\"/>\
         <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{most}/s</text>",
        top + TITLE,
        WIDTH - RIGHT,
        LEFT - 4.0,
        top + TITLE + 10.0
    );
    for (down, alarm) in [27.0, 40.0, 53.0]
        .into_iter()
        .cycle()
        .zip(&scene.trail.alarms)
    {
        let x = across(alarm.after);
        let (label, anchor) = match x < WIDTH / 2.0 {
            true => (x + 4.0, "start"),
            false => (x - 4.0, "end"),
        };
        let _ = writeln!(
            svg,
            "<path class=\"alarm\" d=\"M{x:.1} {:.1}V{ground:.1}\"/>\
             <text class=\"rang\" x=\"{label:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{} {:.0} s</text>",
            top + down - 11.0,
            top + down,
            alarm.rule,
            alarm.after
        );
    }
    for visit in &scene.visits {
        let lasted = visit.lasted.unwrap_or_default();
        let (from, to) = (across(visit.asked), across(visit.asked + lasted));
        let _ = writeln!(
            svg,
            "<path class=\"visit\" d=\"M{from:.1} {:.1}H{:.1}\"/>",
            ground + 8.0,
            to.max(from + 2.0)
        );
    }
    let mut second = 0.0;
    while second < seconds {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{second:.0} s</text>",
            across(second),
            ground + LANE + 12.0
        );
        second += if seconds > 60.0 { 10.0 } else { 5.0 };
    }
}

/// How many of each kind in each second.
fn bins(scene: &Scene, seconds: f64) -> Vec<[u32; KINDS.len()]> {
    let mut bins = Vec::new();
    let mut end = 1.0;
    let mut shots = scene.shots.iter().peekable();
    while end <= seconds {
        let mut bin = [0; KINDS.len()];
        while let Some(shot) = shots.next_if(|shot| shot.at < end) {
            for ((outcome, ..), count) in KINDS.iter().zip(&mut bin) {
                if *outcome == shot.outcome {
                    *count += 1;
                }
            }
        }
        bins.push(bin);
        end += 1.0;
    }
    bins
}

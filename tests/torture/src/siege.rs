//! Attacks on the demo with its default limits: what gets through, what rings, and how soon. And an
//! ordinary morning, in which nothing rings.

mod attack;
mod chart;
mod person;
mod scene;
mod site;
mod work;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use password_reset::error::BoxError;

use crate::demo::binary;
use crate::flags::Flags;
use crate::siege::scene::{SCENES, Scene};
use crate::siege::site::Site;
use crate::{report, run, say};

/// Whether everything held. Each scene has a demo and a database of its own.
pub(crate) async fn run(flags: Flags, chart: Option<PathBuf>) -> Result<bool, BoxError> {
    let binary = binary(flags.demo)?;
    let folder = run::fresh("siege")?;
    let mut scenes = Vec::new();
    for (number, plan) in SCENES.iter().enumerate() {
        say(&format!("\n{}", plan.title));
        let folder = folder.join(number.to_string());
        fs::create_dir_all(folder.join("logs"))?;
        let site = Arc::new(Site::open(binary.clone(), folder).await?);
        let scene = plan.play(&site).await?;
        Arc::into_inner(site)
            .ok_or("somebody is still there")?
            .close()
            .await?;
        scene.print();
        scenes.push(scene);
    }
    say("");
    for line in scene::table(&scenes) {
        say(&line);
    }
    if let Some(path) = chart {
        fs::write(path, chart::draw(&scenes))?;
    }
    say("");
    let held = scenes.iter().all(Scene::held);
    for scene in &scenes {
        for claim in &scene.claims {
            report::claim(&format!("{}: {}", scene.title, claim.text), claim.holds);
        }
    }
    if held && !flags.keep {
        fs::remove_dir_all(folder)?;
    } else {
        say(&format!("everything is kept in {}", folder.display()));
    }
    Ok(held)
}

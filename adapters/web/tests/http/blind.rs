//! Nobody learns from an answer who has an account.

use serde_json::json;

use crate::client::Reply;
use crate::server::Front;
use crate::world::{ADA, ASK, SENT, World, bytes_of, post_json};
use password_reset::testing::{Behaviour, Faults};

suite!(
    w45_r26_every_account_and_none_get_the_same_answer,
    w45_what_cannot_be_an_identifier_gets_the_same_answer,
    what_comes_along_when_an_address_is_copied_is_left_out,
    w46_r28_over_the_limit_of_an_identifier_the_answer_is_the_same,
    w47_r38_when_a_part_fails_the_answer_is_the_same,
    w1_w9_one_field_never_becomes_two_recipients,
);

const KINDS: [&str; 7] = [
    ADA,
    "nobody@example.com",
    "disabled@example.com",
    "unverified@example.com",
    "external@example.com",
    "guarded@example.com",
    " ADA@example.com ",
];

/// The answers to a form and to JSON.
fn ask(world: &World, identifier: &str) -> [Reply; 2] {
    let by_form = world.browser().post(ASK, &[("identifier", identifier)]);
    let body = json!({ "identifier": identifier });
    [by_form, post_json(&mut world.browser(), ASK, &body)]
}

#[track_caller]
fn assert_same(answers: &[Reply; 2], world: &World) {
    let usual = ask(world, "somebody@example.com");
    usual[0].leads_to(SENT);
    assert_eq!(usual[1].status, 202);
    for (answer, usual) in answers.iter().zip(&usual) {
        assert_eq!(bytes_of(answer), bytes_of(usual));
    }
}

fn w45_r26_every_account_and_none_get_the_same_answer(front: Front) {
    for identifier in KINDS {
        let world = World::new(front);
        let answers = ask(&world, identifier);
        assert_same(&answers, &world);
        world.work();
        let mailed = matches!(
            identifier.trim(),
            ADA | "ADA@example.com" | "guarded@example.com"
        );
        assert_eq!(
            world.outbox.links().len(),
            usize::from(mailed),
            "{identifier}"
        );
    }
}

fn w45_what_cannot_be_an_identifier_gets_the_same_answer(front: Front) {
    for identifier in [
        "",
        "   ",
        "ada@example.com\r\nBcc: eve@example.com",
        "ada\0@example.com",
        "\u{202e}ada@example.com",
        "' OR 1=1--",
        "{\"$ne\":null}",
        &"a".repeat(10_000),
        &"a".repeat(255),
        "\u{1f511}",
    ] {
        let world = World::new(front);
        let answers = ask(&world, identifier);
        assert_same(&answers, &world);
        world.work();
        assert!(world.outbox.messages().is_empty(), "{identifier:?}");
    }
}

fn what_comes_along_when_an_address_is_copied_is_left_out(front: Front) {
    for copied in [
        "\u{202a}ada@example.com\u{202c}",
        "\u{200b}ada@example.com\u{feff}",
        "\tada@example.com\r\n",
        "\u{2068}ada@example.com\u{2069} ",
    ] {
        let world = World::new(front);
        assert_same(&ask(&world, copied), &world);
        world.work();
        assert_eq!(world.outbox.messages().len(), 1, "{copied:?}");
    }
}

fn w46_r28_over_the_limit_of_an_identifier_the_answer_is_the_same(front: Front) {
    let world = World::new(front);
    // One a minute: the second of each is over the limit.
    for identifier in [ADA, ADA, "nobody@example.com", "nobody@example.com"] {
        assert_same(&ask(&world, identifier), &world);
    }
    world.work();
    assert_eq!(world.outbox.links().len(), 1);
}

fn w47_r38_when_a_part_fails_the_answer_is_the_same(front: Front) {
    let healthy = World::new(front);
    let usual = ask(&healthy, "somebody@example.com");
    let broken: [fn(&World) -> &Faults; 5] = [
        |world| &world.faults.users,
        |world| &world.faults.tokens,
        |world| &world.faults.queue,
        |world| &world.faults.mailer,
        |world| &world.faults.limiter,
    ];
    for (part, plan) in broken.into_iter().enumerate() {
        let world = World::new(front);
        plan(&world).always_fail();
        for identifier in [ADA, "nobody@example.com"] {
            let answers = ask(&world, identifier);
            world.work();
            for (answer, usual) in answers.iter().zip(&usual) {
                assert_eq!(bytes_of(answer), bytes_of(usual), "part {part}");
            }
        }
        assert!(plan(&world).calls() > 0 && world.outbox.messages().is_empty());
    }
    for behaviour in [
        Behaviour::FailPermanent,
        Behaviour::Uncertain,
        Behaviour::Panic,
    ] {
        let world = World::new(front);
        world.outbox.behave(behaviour);
        assert_same(&ask(&world, ADA), &world);
        world.work();
        assert_same(&ask(&world, "nobody@example.com"), &world);
        assert!(world.outbox.attempts() > 0);
    }
}

fn w1_w9_one_field_never_becomes_two_recipients(front: Front) {
    let world = World::new(front);
    for identifier in [
        "ada@example.com,eve@example.com",
        "ada@example.com;eve@example.com",
        "ada@example.com eve@example.com",
        "ada@example.com|eve@example.com",
        "eve@example.com%0d%0aCc: ada@example.com",
        "ada@example.com\nCc: eve@example.com",
        "Ada <ada@example.com>",
        "ada@example.com%00",
    ] {
        world
            .browser()
            .post(ASK, &[("identifier", identifier)])
            .leads_to(SENT);
    }
    world.work();
    assert!(world.outbox.messages().is_empty());
}

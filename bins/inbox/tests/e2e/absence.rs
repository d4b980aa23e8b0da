//! Uploads while the inbox is off for most of a day, or for longer.

use std::time::Duration;

use server_harness::{Store, bytes, on_each_store};

use crate::support::platform::TimedPlatform;
use crate::support::scene::Scene;

on_each_store! {
    files_that_were_sent_twenty_three_hours_ago_arrive,
    files_that_were_sent_twenty_five_hours_ago_are_lost_and_their_messages_say_so,
}

const HOUR: Duration = Duration::from_hours(1);

/// A platform whose clock is so many hours behind, with an inbox that is off: it has run before and
/// confirmed all that there was then.
async fn begin(store: &Store, hours: u32) -> (TimedPlatform, server_harness::Client, Scene) {
    let platform = TimedPlatform::start(store, HOUR * hours);
    let workspace = platform.client(None).register_poll().await;
    let client = platform.client(Some(&workspace.token));
    let mut scene = Scene::begin(&client, &workspace, platform.url()).await;
    scene.say(&client, "before the absence", &[]).await;
    let inbox = scene.desk.run();
    scene.finish(&client, inbox).await;
    (platform, client, scene)
}

async fn files_that_were_sent_twenty_three_hours_ago_arrive(store: Store) {
    let (platform, client, mut scene) = begin(&store, 23).await;
    let uris = scene
        .upload(&client, [bytes(1, 300_000), bytes(2, 1)])
        .await;
    scene.say(&client, "about both", &uris).await;
    platform.pass(HOUR * 23).await;

    let inbox = scene.desk.run();
    scene.finish(&client, inbox).await;
    scene.check(&client).await;
    scene.history.assert_nothing_is_repeated();
    assert_eq!(scene.history.runs()[1].len(), 3);
    platform.stop().await;
}

async fn files_that_were_sent_twenty_five_hours_ago_are_lost_and_their_messages_say_so(
    store: Store,
) {
    let (platform, client, mut scene) = begin(&store, 25).await;
    let expired = client
        .must_upload(scene.workspace(), "old", b"nobody came for it")
        .await;
    let expired = format!("platform-pending:{}/{expired}", scene.workspace().id);
    scene
        .say(&client, "about the old one", std::slice::from_ref(&expired))
        .await;
    platform.pass(HOUR * 25).await;
    let uris = scene.upload(&client, [bytes(1, 1_000)]).await;
    let both = [expired.clone(), uris[0].clone()];
    scene.say(&client, "about both", &both).await;

    let inbox = scene.desk.run();
    scene.finish(&client, inbox).await;
    scene.check(&client).await;
    scene.history.assert_nothing_is_repeated();
    let lost = scene.history.lost();
    assert_eq!(lost.keys().collect::<Vec<_>>(), [&expired]);
    assert_eq!(lost[&expired]["reason"], "expired");
    assert_eq!(lost[&expired]["original_name"], "old");
    assert_eq!(lost[&expired]["size"], b"nobody came for it".len());
    let told: Vec<_> = scene
        .history
        .events()
        .filter(|event| event["event"] == "message")
        .collect();
    for (event, place) in [(told[1], "/1/file/uri"), (told[2], "/1/file/uri")] {
        let parts = &event["row"]["request_body"]["params"]["message"]["parts"];
        assert_eq!(parts.pointer(place).unwrap(), &expired, "{event}");
    }
    let parts = &told[2]["row"]["request_body"]["params"]["message"]["parts"];
    let arrived = scene.history.arrived();
    let path = arrived[&uris[0]]["path"].as_str().unwrap();
    assert_eq!(parts[2]["url"], format!("workspace:{path}"));
    platform.stop().await;
}

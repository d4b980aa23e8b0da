//! A token that the platform does not take.

use std::fs;
use std::time::Instant;

use server_harness::{FaultProxy, Store, eventually, on_each_store, remember_secret};

use crate::support::desk::{hasty, program};
use crate::support::scene::Scene;

on_each_store! {
    a_wrong_token_is_told_of_and_tried_again_slowly_until_its_file_holds_the_right_one,
}

const WRONG: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// The server's count of requests with a token that is not right.
const REFUSED: &str = "pending_uploads_rejected_total{code=\"unauthorized\"}";
/// How many requests with a wrong token are waited for.
const REQUESTS: f64 = 10.0;
/// How many there may be a second: with pauses of up to a second, there are about two of each of the
/// two that ask, the list and the poll.
const MOST_A_SECOND: f64 = 20.0;

async fn a_wrong_token_is_told_of_and_tried_again_slowly_until_its_file_holds_the_right_one(
    store: Store,
) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let proxy = FaultProxy::start(server.address());
    let mut scene = Scene::begin(&client, &workspace, &proxy.url()).await;
    scene.say(&client, "a message", &[]).await;
    remember_secret(WRONG);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, WRONG).unwrap();
    let before = server.metric(REFUSED).await;
    let start = Instant::now();
    let inbox = hasty(program())
        .set("INBOX_PLATFORM_URL", proxy.url())
        .set("INBOX_WORKSPACE_ID", &workspace.id)
        .set("INBOX_TOKEN_FILE", file.display())
        .set("INBOX_STATE_DIR", scene.desk.state().display())
        .set("INBOX_DIR", scene.desk.files().display())
        .arg("run")
        .spawn();
    let refused = eventually("the wrong token is tried again", async || {
        let refused = server.metric(REFUSED).await - before;
        (refused >= REQUESTS).then_some(refused)
    })
    .await;
    let most = MOST_A_SECOND * (1.0 + start.elapsed().as_secs_f64());
    assert!(refused <= most, "{refused} in {:?}", start.elapsed());
    let log = inbox.log();
    assert!(
        log.contains("the platform does not take the token"),
        "{log}"
    );
    assert!(log.contains("condition=unauthorized"), "{log}");
    assert_eq!(inbox.stdout(), "");

    fs::write(&file, format!("{}\n", workspace.token)).unwrap();
    scene.finish(&client, inbox).await;
    scene.check(&client).await;
    scene.history.assert_nothing_is_repeated();
}

//! When the list of what waits is asked for, beside every few minutes.

use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::scripted::Answer;
use crate::support::stand_in::{StandIn, instead, next_arrived};

/// So long that no list comes by itself.
const AN_HOUR: Duration = Duration::from_hours(1);
/// Long enough for anything that is to happen.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_failed_fetch_has_the_list_asked_for() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let builder = platform.inbox(folder.path()).reconcile_every(AN_HOUR);
    let mut inbox = builder.open().await.unwrap();
    platform.is_followed().await;
    let unannounced = platform.hold(b"nobody told of it");
    let file = platform.hold(b"fails at first");
    let down = instead(Answer::error(503, "platform_unavailable"));
    platform.break_fetches(&file, [down]);
    platform.announce_late(&file);
    let both = async {
        [
            next_arrived(&mut inbox).await,
            next_arrived(&mut inbox).await,
        ]
    };
    let arrived = timeout(PATIENCE, both).await.unwrap();
    assert!(arrived.iter().any(|file| file.uri == unannounced.uri()));
}

#[tokio::test]
async fn a_cursor_that_is_gone_has_the_list_asked_for() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    platform.send_about("a row to stand behind", &[]);
    let builder = platform.inbox(folder.path()).reconcile_every(AN_HOUR);
    let mut inbox = builder.open().await.unwrap();
    inbox.next().await.unwrap().confirm();
    platform.is_followed().await;
    let unannounced = platform.hold(b"nobody told of it");
    platform.replace_cursors();
    let arrived = timeout(PATIENCE, next_arrived(&mut inbox)).await.unwrap();
    assert_eq!(arrived.uri, unannounced.uri());
}

//! When the source of tokens is asked, and what a fresh one is good for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use inbox_client::{CallError, PlatformWorkspace, TokenError, TokenSource, UploadFile};
use pending_uploads_core::{Mimetype, Token};
use serde_json::json;

use crate::support::scripted::{Answer, Request, Scripted};
use crate::support::{HASTY, PATIENT, TOKEN, Tokens, token, workspace_with};

/// A platform that takes only the token `good`, and a workspace with tokens of its own.
async fn guarded(tokens: &Arc<Tokens>, good: &'static str) -> (Scripted, PlatformWorkspace) {
    let scripted = Scripted::start().await;
    let (workspace, path) = workspace_with(&scripted, PATIENT, Arc::clone(tokens) as _);
    let guard = move |request: &Request| {
        if request.header("authorization") == Some(&format!("Bearer {good}")) {
            Answer::json(200, &json!([]))
        } else {
            Answer::error(401, "unauthorized").header("www-authenticate", "Bearer")
        }
    };
    for (method, path) in [
        ("GET", format!("{path}/pending-uploads")),
        ("POST", format!("{path}/chat/uploads")),
    ] {
        scripted.on_each(method, &path, guard);
    }
    (scripted, workspace)
}

fn shown(scripted: &Scripted) -> Vec<String> {
    let requests = scripted.requests();
    let tokens = requests.iter().filter_map(|r| r.header("authorization"));
    tokens.map(|value| value.replace("Bearer ", "")).collect()
}

#[tokio::test]
async fn a_good_token_is_asked_for_once() {
    let tokens = Tokens::of(&["good", "another"]);
    let (scripted, workspace) = guarded(&tokens, "good").await;
    for _ in 0..3 {
        workspace.clone().waiting().await.unwrap();
    }
    assert_eq!(tokens.asked(), 1);
    assert_eq!(shown(&scripted), ["good"; 3]);
}

#[tokio::test]
async fn a_call_whose_token_is_stale_is_repeated_with_a_fresh_one() {
    let tokens = Tokens::of(&["stale", "good"]);
    let (scripted, workspace) = guarded(&tokens, "good").await;
    workspace.waiting().await.unwrap();
    workspace.waiting().await.unwrap();
    assert_eq!(tokens.asked(), 2);
    assert_eq!(shown(&scripted), ["stale", "good", "good"]);
}

#[tokio::test]
async fn a_call_is_repeated_once_and_no_more() {
    let tokens = Tokens::of(&["stale", "staler", "good"]);
    let (scripted, workspace) = guarded(&tokens, "good").await;
    let error = workspace.waiting().await.unwrap_err();
    assert!(matches!(error, CallError::Unauthorized), "{error:?}");
    assert_eq!(tokens.asked(), 2);
    workspace.waiting().await.unwrap();
    assert_eq!(shown(&scripted), ["stale", "staler", "good"]);
}

#[tokio::test]
async fn the_same_token_again_does_not_repeat_a_call() {
    let tokens = Tokens::of(&["stale"]);
    let (scripted, workspace) = guarded(&tokens, "good").await;
    let error = workspace.waiting().await.unwrap_err();
    assert!(matches!(error, CallError::Unauthorized), "{error:?}");
    assert_eq!(tokens.asked(), 2);
    assert_eq!(shown(&scripted), ["stale"]);
}

#[tokio::test]
async fn each_later_call_asks_once_and_tries_what_it_gets() {
    let tokens = Tokens::of(&["stale", "stale", "stale", "good"]);
    let (scripted, workspace) = guarded(&tokens, "good").await;
    for asked in [2, 3] {
        let error = workspace.waiting().await.unwrap_err();
        assert!(matches!(error, CallError::Unauthorized), "{error:?}");
        assert_eq!(tokens.asked(), asked);
    }
    workspace.waiting().await.unwrap();
    assert_eq!(tokens.asked(), 4);
    assert_eq!(shown(&scripted), ["stale", "stale", "good"]);
}

#[tokio::test]
async fn many_calls_that_are_refused_at_once_ask_once() {
    let tokens = Tokens::of(&["stale", "good", "another"]);
    let (_scripted, workspace) = guarded(&tokens, "good").await;
    let calls = (0..8).map(|_| workspace.waiting());
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(tokens.asked(), 2);
}

#[tokio::test]
async fn many_calls_that_get_the_same_token_again_ask_once() {
    let tokens = Tokens::of(&["stale"]);
    let (_scripted, workspace) = guarded(&tokens, "good").await;
    let calls = (0..8).map(|_| workspace.waiting());
    let answers = futures_util::future::join_all(calls).await;
    let refused = |answer: &Result<_, _>| matches!(answer, Err(CallError::Unauthorized));
    assert!(answers.iter().all(refused), "{answers:?}");
    assert_eq!(tokens.asked(), 2);
}

#[tokio::test]
async fn without_a_token_nobody_is_called() {
    let tokens = Tokens::of(&["", "good"]);
    let (scripted, workspace) = guarded(&tokens, "good").await;
    let error = workspace.waiting().await.unwrap_err();
    assert!(matches!(error, CallError::NoToken(_)), "{error:?}");
    assert!(scripted.requests().is_empty());
    workspace.waiting().await.unwrap();
}

#[tokio::test]
async fn a_source_that_fails_after_a_refusal_is_asked_again_by_the_next_call() {
    let tokens = Tokens::of(&["stale", "", "good"]);
    let (scripted, workspace) = guarded(&tokens, "good").await;
    let error = workspace.waiting().await.unwrap_err();
    assert!(matches!(error, CallError::NoToken(_)), "{error:?}");
    workspace.waiting().await.unwrap();
    assert_eq!(shown(&scripted), ["stale", "good"]);
}

#[tokio::test]
async fn an_upload_is_not_repeated_but_the_next_call_has_a_fresh_token() {
    let tokens = Tokens::of(&["stale", "good"]);
    let (scripted, workspace) = guarded(&tokens, "good").await;
    let file = UploadFile::from_reader("a", Mimetype::absent(), Some(3), &b"abc"[..]);
    let error = workspace.upload(vec![file]).await.unwrap_err();
    assert!(matches!(error, CallError::Unauthorized), "{error:?}");
    assert_eq!(tokens.asked(), 1);
    workspace.waiting().await.unwrap();
    assert_eq!(shown(&scripted), ["stale", "good"]);
}

/// Says nothing at first.
struct SlowToAnswer(AtomicBool);

#[async_trait]
impl TokenSource for SlowToAnswer {
    async fn token(&self) -> Result<Token, TokenError> {
        if self.0.swap(true, Ordering::SeqCst) {
            return Ok(token(TOKEN));
        }
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_source_that_says_nothing_is_not_waited_for_without_end() {
    let scripted = Scripted::start().await;
    let source = Arc::new(SlowToAnswer(AtomicBool::new(false)));
    let (workspace, path) = workspace_with(&scripted, HASTY, source);
    let nothing = Answer::json(200, &json!([]));
    scripted.on("GET", &format!("{path}/pending-uploads"), [nothing]);
    let error = workspace.waiting().await.unwrap_err();
    assert!(matches!(error, CallError::NoToken(_)), "{error:?}");
    workspace.waiting().await.unwrap();
}

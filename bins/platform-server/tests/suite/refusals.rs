//! Every bad input of the contract's tables, through the whole process.

use serde_json::{Value, json};
use uuid::Uuid;

use server_harness::{
    Answer, Client, Form, Part, RawConnection, Store, Workspace, bytes, on_each_store,
};

on_each_store! {
    bad_uploads_are_refused_and_leave_nothing,
    a_refusal_names_the_file_and_the_limit,
    a_full_workspace_is_refused_until_it_takes_something,
    ids_that_are_none_and_paths_that_lead_nowhere_are_refused,
    bad_feed_queries_are_refused_and_good_ones_are_not,
    bad_registrations_are_refused,
    only_the_admin_registers_where_registration_is_the_admins,
    bad_messages_are_refused,
    an_ack_with_another_digest_acks_nothing,
    a_body_that_would_be_refused_is_never_asked_for,
}

/// The status and the code of an error that must be one: JSON with a sentence and a code.
fn refusal(answer: &Answer) -> (u16, String) {
    let body = answer.json();
    assert!(body["error"].is_string(), "{answer:?}");
    (answer.status, answer.code())
}

fn expect(answer: &Answer, status: u16, code: &str) {
    assert_eq!(refusal(answer), (status, code.to_owned()), "{answer:?}");
}

async fn send(client: &Client, workspace: &Workspace, body: Vec<u8>) -> Answer {
    client
        .post_body(&workspace.uploads(), &Form::content_type(), body)
        .await
}

async fn bad_uploads_are_refused_and_leave_nothing(store: Store) {
    let server = store
        .server()
        .with_admin()
        .set("MAX_FILE_BYTES", 3_000_000)
        .set("MAX_REQUEST_BYTES", 5_500_000)
        .start();
    let (workspace, client) = server.workspace().await;
    let big = bytes(4, 2_000_000);
    let good = Form::of([
        Part::file("first.bin", &*big),
        Part::file("second.txt", "second"),
    ]);
    let form = |part| Form::of([Part::file("first.bin", &*big), part]);

    let wrong_length = |length| form(Part::file("a.txt", "12345").header("Content-Length", length));
    for (form, status, code) in [
        (form(Part::file("empty.txt", "")), 400, "empty_file"),
        (Form::of([]), 400, "no_files"),
        (
            Form::of([Part::named("file", "a.txt", "a")]),
            400,
            "no_files",
        ),
        (
            Form::of((0..65).map(|_| Part::file("a.txt", "a"))),
            400,
            "too_many_files",
        ),
        (
            form(Part::file("large.bin", bytes(5, 3_000_001))),
            413,
            "file_too_large",
        ),
        (
            Form::of((0..3).map(|_| Part::file("a.bin", &*big))),
            413,
            "request_too_large",
        ),
        (wrong_length("4"), 400, "malformed_multipart"),
        (wrong_length("6"), 400, "malformed_multipart"),
    ] {
        expect(&client.upload(&workspace, &form).await, status, code);
    }

    for missing in [1, 30, 1_000_000, good.body().len() - 1] {
        let truncated = send(&client, &workspace, good.truncated_body(missing)).await;
        // A body whose last line break alone is missing is whole, by RFC 2046.
        if missing > 2 {
            expect(&truncated, 400, "malformed_multipart");
        }
    }
    for (kind, body) in [
        ("application/json", b"{}".to_vec()),
        ("multipart/form-data", good.body()),
        ("multipart/form-data; boundary=other", good.body()),
        ("text/plain", b"x".to_vec()),
    ] {
        let answer = client.post_body(&workspace.uploads(), kind, body).await;
        expect(&answer, 400, "malformed_multipart");
    }
    expect(
        &client.post(&workspace.uploads()).await,
        400,
        "malformed_multipart",
    );

    let taken: i64 = client.waiting(&workspace).await.len().try_into().unwrap();
    assert_eq!(
        client.feed(&workspace, "").await.len(),
        usize::try_from(taken).unwrap()
    );
    assert_eq!(store.recorded_files().await, taken);
}

async fn a_refusal_names_the_file_and_the_limit(store: Store) {
    let server = store.server().set("MAX_FILE_BYTES", 10).start();
    let (workspace, client) = server.workspace().await;
    let empty = client
        .upload(&workspace, &Form::of_file("no thing.txt", ""))
        .await;
    assert_eq!(empty.json()["filename"], "no_thing.txt");
    let large = client
        .upload(&workspace, &Form::of_file("large.txt", "12345678901"))
        .await;
    assert_eq!(
        (large.status, &large.json()["filename"]),
        (413, &json!("large.txt"))
    );
    assert_eq!(large.json()["max"], 10);
    let exact = client
        .upload(&workspace, &Form::of_file("exact.txt", "1234567890"))
        .await;
    assert_eq!(exact.status, 200, "{exact:?}");
    let body = vec![b'x'; 10 + 1024 * 1024 + 1];
    let huge = send(&client, &workspace, body).await;
    expect(&huge, 413, "request_too_large");
    assert_eq!(huge.json()["max"], 10 + 1024 * 1024);
}

async fn a_full_workspace_is_refused_until_it_takes_something(store: Store) {
    let server = store
        .server()
        .set("MAX_WAITING_FILES", 2)
        .set("MAX_WAITING_BYTES", 100)
        .start();
    let (workspace, client) = server.workspace().await;
    let large = client
        .upload(&workspace, &Form::of_file("a.bin", bytes(6, 101)))
        .await;
    expect(&large, 507, "quota_exceeded");
    assert_eq!(large.json()["limit"], "waiting_bytes");
    assert_eq!(large.json()["max"], 100);
    let first = client.must_upload(&workspace, "1.txt", b"1").await;
    client.must_upload(&workspace, "2.txt", b"2").await;
    let third = client
        .upload(&workspace, &Form::of_file("3.txt", "3"))
        .await;
    expect(&third, 507, "quota_exceeded");
    assert_eq!(third.json()["limit"], "waiting_files");
    assert_eq!(client.post(&workspace.ack(&first)).await.status, 200);
    client.must_upload(&workspace, "3.txt", b"3").await;
}

async fn ids_that_are_none_and_paths_that_lead_nowhere_are_refused(store: Store) {
    let server = store.server().with_admin().start();
    let (workspace, client) = server.workspace().await;
    let admin = server.admin();
    let unknown = Workspace {
        id: Uuid::new_v4().to_string(),
        token: String::new(),
    };
    let form = Form::of_file("a.txt", "a");

    let no_uuid = "/workspaces/42/chat/uploads";
    let answer = admin
        .post_body(no_uuid, &Form::content_type(), form.body())
        .await;
    expect(&answer, 400, "invalid_id");
    expect(
        &admin.get("/workspaces/42/activity").await,
        400,
        "invalid_id",
    );
    expect(
        &client.get(&workspace.content("42")).await,
        400,
        "invalid_id",
    );
    expect(&client.post(&workspace.ack("42")).await, 400, "invalid_id");
    expect(
        &admin.upload(&unknown, &form).await,
        404,
        "workspace_not_found",
    );
    expect(&admin.get("/nowhere").await, 404, "route_not_found");
    expect(
        &client.post(&workspace.path("activity")).await,
        405,
        "method_not_allowed",
    );
}

async fn bad_feed_queries_are_refused_and_good_ones_are_not(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    for query in [
        "source=everybody",
        "since_secs=0",
        "since_secs=-1",
        "since_secs=soon",
        "before_ts=yesterday",
        "before_ts=2026-05-04",
        "limit=0",
        "limit=many",
    ] {
        let answer = client
            .get(&workspace.path(&format!("activity?{query}")))
            .await;
        assert_eq!(answer.status, 400, "{query} {answer:?}");
    }
    client.must_upload(&workspace, "a.txt", b"a").await;
    for (query, rows) in [
        ("", 1),
        ("limit=100000", 1),
        ("source=canvas", 1),
        ("source=agent", 0),
        ("type=a2a_receive", 1),
        ("type=other", 0),
        ("since_secs=3600", 1),
        ("since_secs=99999999", 1),
        ("before_ts=2020-01-01T00:00:00Z", 0),
        ("before_ts=2999-01-01T00:00:00%2B02:00", 1),
    ] {
        assert_eq!(client.feed(&workspace, query).await.len(), rows, "{query}");
    }
}

async fn bad_registrations_are_refused(store: Store) {
    let server = store.server().start();
    let client = server.anonymous();
    let id = Uuid::new_v4().to_string();
    let card = json!({"name": "x"});
    for body in [
        json!({}),
        json!([]),
        json!({"id": "42", "delivery_mode": "poll", "agent_card": card}),
        json!({"id": id, "delivery_mode": "pigeon", "agent_card": card}),
        json!({"id": id, "delivery_mode": 1, "agent_card": card}),
        json!({"id": id, "delivery_mode": "push", "url": "ftp://h/", "agent_card": card}),
        json!({"id": id, "delivery_mode": "push", "url": "not a url", "agent_card": card}),
    ] {
        let answer = client.post_json("/registry/register", &body).await;
        assert_eq!(refusal(&answer).0, 400, "{body} {answer:?}");
        if body["delivery_mode"] == "pigeon" {
            let sentence = answer.json()["error"].clone();
            assert!(
                sentence.as_str().unwrap().contains("delivery_mode"),
                "{sentence}"
            );
        }
    }
    let broken = client
        .post_body("/registry/register", "application/json", b"{".to_vec())
        .await;
    expect(&broken, 400, "invalid_json");
}

async fn only_the_admin_registers_where_registration_is_the_admins(store: Store) {
    let server = store
        .server()
        .with_admin()
        .set("REGISTRATION", "admin")
        .start();
    let body = json!({"id": Uuid::new_v4().to_string(), "delivery_mode": "poll", "agent_card": {"name": "x"}});
    expect(
        &server
            .anonymous()
            .post_json("/registry/register", &body)
            .await,
        401,
        "unauthorized",
    );
    let registered = server.admin().post_json("/registry/register", &body).await;
    assert_eq!(registered.status, 200);
    registered.secret("auth_token");
}

async fn bad_messages_are_refused(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    for body in [
        json!({"jsonrpc": "1.0", "id": 1, "method": "message/send", "params": {"message": {}}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "message/stream", "params": {}}),
        json!("hello"),
    ] {
        let answer = client.post_json(&workspace.path("a2a"), &body).await;
        assert_eq!(answer.status, 400, "{body} {answer:?}");
    }
    assert_eq!(client.feed(&workspace, "").await, [] as [Value; 0]);
}

async fn an_ack_with_another_digest_acks_nothing(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let file = client.must_upload(&workspace, "a.txt", b"a").await;
    let other = json!({"sha256": "0".repeat(64)});
    let answer = client.post_json(&workspace.ack(&file), &other).await;
    expect(&answer, 409, "digest_mismatch");
    let broken = json!({"sha256": "short"});
    assert_eq!(
        client
            .post_json(&workspace.ack(&file), &broken)
            .await
            .status,
        400
    );
    assert_eq!(client.waiting(&workspace).await.len(), 1);
    assert_eq!(client.get(&workspace.content(&file)).await.body, b"a");
}

async fn a_body_that_would_be_refused_is_never_asked_for(store: Store) {
    let server = store.server().set("MAX_FILE_BYTES", 10).start();
    let (workspace, _) = server.workspace().await;
    for (token, length, expected) in [
        ("wrong", 100, "HTTP/1.1 401"),
        (workspace.token.as_str(), 99_999_999, "HTTP/1.1 413"),
        (workspace.token.as_str(), 100, "HTTP/1.1 100"),
    ] {
        let mut connection = RawConnection::open(&server).await;
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: {}\r\n\
             Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n",
            workspace.uploads(),
            Form::content_type(),
        );
        connection.send(head.as_bytes()).await;
        let answer = connection.read_head().await;
        assert!(answer.starts_with(expected), "{expected}: {answer}");
    }
}

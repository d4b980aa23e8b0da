//! How a server starts and how it stops.

use std::net::TcpListener;

use pg_cluster::{Cluster, ClusterOptions};
use rustix::process::Signal;
use serde_json::json;
use uuid::Uuid;

use server_harness::database::migrate;
use server_harness::text;
use server_harness::{Form, RawConnection, ServerBuilder, Store, bytes, eventually, on_each_store};

on_each_store! {
    the_first_line_says_where_it_listens_and_where_it_stores,
    a_server_that_takes_no_new_workspace_says_so,
    a_server_that_is_told_to_stop_finishes_what_is_under_way,
    what_does_not_finish_in_time_is_cut_off,
    a_server_that_is_told_again_stops_at_once,
    a_server_that_is_told_twice_within_a_moment_finishes_what_is_under_way,
}

async fn the_first_line_says_where_it_listens_and_where_it_stores(store: Store) {
    let server = store.server().start();
    let line = server.first_line();
    let address = server.address();
    let expected = format!(
        "listening on http://{address}, storing in {}; ",
        store.place()
    );
    assert!(line.starts_with(&expected), "{line}");
    assert_eq!(server.anonymous().get("/healthz").await.status, 200);
    let log = server.log();
    assert!(log.contains("ADMIN_TOKEN is not set"), "{log}");
    drop(server);

    // What an admin's token opens is no longer closed, so that nothing is said of it.
    let server = store.server().with_admin().start();
    let log = server.log();
    assert!(!log.contains("ADMIN_TOKEN"), "{log}");
    assert_eq!(server.admin().get("/readyz").await.status, 200);
}

async fn a_server_that_takes_no_new_workspace_says_so(store: Store) {
    let server = store.server().set("REGISTRATION", "admin").start();
    let log = server.log();
    assert!(log.contains("no new workspace can register"), "{log}");
    let body = json!({"id": Uuid::new_v4().to_string(), "agent_card": {"name": "an agent"}});
    let answer = server
        .anonymous()
        .post_json("/registry/register", &body)
        .await;
    assert_eq!(answer.status, 401, "{answer:?}");
}

#[test]
fn the_password_of_the_database_is_never_printed() {
    let Store::Postgres(database) = Store::postgres() else {
        unreachable!("it was asked for")
    };
    let url = database.url().replace("postgres@", "postgres:hunter2@");
    let server = ServerBuilder::on(&url).start();
    let line = server.first_line();
    assert!(line.contains(database.name()), "{line}");
    assert!(!line.contains("hunter2"), "{line}");
    assert!(!server.log().contains("hunter2"), "{}", server.log());
}

async fn a_server_that_is_told_to_stop_finishes_what_is_under_way(store: Store) {
    for (signal, files) in [(Signal::TERM, 2), (Signal::INT, 4)] {
        let server = store.server().start();
        let (workspace, client) = server.workspace().await;
        client.must_upload(&workspace, "a.txt", b"a").await;
        let cursor = text(&client.feed(&workspace, "").await[0], "id");
        let body = Form::of_file("b.bin", bytes(60, 3_000_000)).body();
        let mut upload = RawConnection::begin_upload(&server, &workspace, body.len()).await;
        upload.send(&body[..2_000_000]).await;
        store.wait_for_staged_bytes().await;
        let poll = workspace.path(&format!("activity?since_id={cursor}&wait=60"));
        let poll = RawConnection::begin_get(&server, &workspace, &poll).await;
        poll.wait_until_read().await;

        server.signal(signal);
        eventually("it stops", async || {
            server.log().contains("stopping").then_some(())
        })
        .await;
        let polled = String::from_utf8(poll.read_to_end().await).unwrap();
        assert!(
            polled.starts_with("HTTP/1.1 200") && polled.ends_with("[]"),
            "{polled:?}"
        );
        upload.send(&body[2_000_000..]).await;
        let answer = String::from_utf8(upload.read_to_end().await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let (code, log) = server.wait();
        assert_eq!(code, Some(0), "{log}");
        assert_eq!(store.recorded_files().await, files);
        assert!(!store.holds_staged_bytes().await, "bytes are left");
    }
}

async fn what_does_not_finish_in_time_is_cut_off(store: Store) {
    let server = store.server().set("SHUTDOWN_TIMEOUT_SECS", 1).start();
    let (workspace, _) = server.workspace().await;
    let upload = RawConnection::begin_upload(&server, &workspace, 1000).await;
    upload.wait_until_read().await;
    server.signal(Signal::TERM);
    let (code, log) = server.wait();
    assert_eq!(code, Some(0), "{log}");
    drop(upload);
    assert_eq!(store.recorded_files().await, 0);
}

async fn a_server_that_is_told_again_stops_at_once(store: Store) {
    let server = store.server().set("SHUTDOWN_TIMEOUT_SECS", 600).start();
    let (workspace, _) = server.workspace().await;
    let body = Form::of_file("b.bin", bytes(61, 3_000_000)).body();
    let mut upload = RawConnection::begin_upload(&server, &workspace, body.len()).await;
    upload.send(&body[..2_000_000]).await;
    store.wait_for_staged_bytes().await;
    server.signal(Signal::TERM);
    eventually("it stops", async || {
        server.log().contains("stopping").then_some(())
    })
    .await;
    let (code, log) = server.insist(Signal::INT);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("stopped at once"), "{log}");
    drop(upload);
}

async fn a_server_that_is_told_twice_within_a_moment_finishes_what_is_under_way(store: Store) {
    let server = store.server().start();
    let (workspace, _) = server.workspace().await;
    let body = Form::of_file("b.bin", bytes(62, 3_000_000)).body();
    let mut upload = RawConnection::begin_upload(&server, &workspace, body.len()).await;
    upload.send(&body[..2_000_000]).await;
    store.wait_for_staged_bytes().await;
    server.signal(Signal::TERM);
    server.signal(Signal::INT);
    eventually("it stops", async || {
        server.log().contains("stopping").then_some(())
    })
    .await;
    upload.send(&body[2_000_000..]).await;
    let answer = String::from_utf8(upload.read_to_end().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (code, log) = server.wait();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_server_whose_address_is_taken_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for store in [Store::postgres(), Store::sqlite()] {
        let (status, process) = store.server().set("BIND", address).run();
        assert_eq!(status.code(), Some(1));
        let expected = format!("platform-server: cannot listen on {address}");
        assert!(process.log().contains(&expected), "{}", process.log());
        assert_eq!(process.stdout(), "");
    }
}

#[tokio::test]
async fn a_server_waits_for_its_database() {
    let mut cluster = Cluster::start(ClusterOptions::default()).unwrap();
    let url = cluster.url(&cluster.create_database().unwrap());
    migrate(&url, &[]);
    cluster.stop().unwrap();
    let builder = ServerBuilder::on(&url).set("DATABASE_WAIT_SECS", 1);
    let (status, process) = builder.run();
    assert_eq!(status.code(), Some(1));
    assert!(
        process.log().contains("cannot use PostgreSQL at"),
        "{}",
        process.log()
    );

    let process = ServerBuilder::on(&url)
        .set("DATABASE_WAIT_SECS", 600)
        .spawn();
    eventually("it waits", async || {
        process
            .log()
            .contains("waiting for the database")
            .then_some(())
    })
    .await;
    assert_eq!(process.stdout(), "");
    cluster.restart().unwrap();
    eventually("it listens", async || {
        process.stdout().starts_with("listening").then_some(())
    })
    .await;
}

#[test]
fn a_server_that_waits_for_its_database_can_be_stopped() {
    let url = "postgres://postgres@127.0.0.1:1/none";
    let mut process = ServerBuilder::on(url)
        .set("DATABASE_WAIT_SECS", 600)
        .spawn();
    process.wait_for_log("waiting for the database");
    process.signal(Signal::TERM);
    assert_eq!(process.wait().code(), Some(0), "{}", process.log());
}

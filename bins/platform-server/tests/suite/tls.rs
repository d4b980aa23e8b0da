//! TLS to the database.

use pg_cluster::{Cluster, ClusterOptions, Tls};

use server_harness::database::migrated;
use server_harness::{Form, ServerBuilder};

fn tls_cluster() -> Cluster {
    Cluster::start(ClusterOptions::default().tls(Tls::OwnCertificate)).unwrap()
}

#[tokio::test]
async fn a_url_that_requires_tls_gets_it_or_nothing() {
    let cluster = tls_cluster();
    let name = cluster.create_database().unwrap();
    let url = format!("{}?sslmode=require", cluster.url(&name));
    let ca_file = cluster.ca_file().unwrap().display().to_string();

    let (status, process) = ServerBuilder::bare()
        .set("DATABASE_URL", &url)
        .set("DATABASE_CA_FILE", &ca_file)
        .arg("migrate")
        .run();
    assert!(status.success(), "{}", process.log());
    let server = ServerBuilder::on(&url)
        .set("DATABASE_CA_FILE", &ca_file)
        .start();
    let (workspace, client) = server.workspace().await;
    assert_eq!(
        client
            .upload(&workspace, &Form::of_file("a.txt", "a"))
            .await
            .status,
        200
    );
    let plain = "SELECT count(*) FILTER (WHERE ssl), count(*) FILTER (WHERE NOT ssl) \
         FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE application_name = 'pending-uploads'";
    let counts = cluster.sql(&name, plain).unwrap();
    let (encrypted, plain) = counts.split_once('|').unwrap();
    assert_ne!(encrypted, "0");
    assert_eq!(plain, "0");

    let other = tls_cluster();
    let wrong_ca = other.ca_file().unwrap().display().to_string();
    refused(ServerBuilder::on(&url).set("DATABASE_CA_FILE", &wrong_ca));
    refused(ServerBuilder::on(&url));
}

#[test]
fn a_server_without_tls_is_refused_by_a_url_that_requires_it() {
    let database = migrated();
    refused(ServerBuilder::on(&format!(
        "{}?sslmode=require",
        database.url()
    )));
}

/// The server must give up at once, with a sentence.
fn refused(builder: ServerBuilder) {
    let (status, process) = builder.set("DATABASE_WAIT_SECS", 0).run();
    assert_eq!(status.code(), Some(1), "{}", process.log());
    let log = process.log();
    assert!(
        log.contains("platform-server: cannot use PostgreSQL at"),
        "{log}"
    );
    assert_eq!(process.stdout(), "");
}

#[test]
fn a_file_that_holds_no_certificate_is_refused() {
    let database = migrated();
    let (status, process) = ServerBuilder::on(&database.url())
        .set("DATABASE_CA_FILE", "/dev/null")
        .run();
    assert_ne!(status.code(), Some(0));
    assert!(process.log().contains("/dev/null"), "{}", process.log());
}

//! Faults that happen to one request of HTTP and not to another.

use server_harness::{Client, Fault, FaultKind, FaultProxy, Moment, Plan, RawConnection, Receiver};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n0123456789";

async fn receiver_behind(plan: Plan) -> (Receiver, FaultProxy, Client) {
    let receiver = Receiver::answering(ANSWER).await;
    let address = receiver.url();
    let address = address.trim_start_matches("http://");
    let proxy = FaultProxy::start(address.split('/').next().unwrap());
    proxy.set_plan(plan);
    let client = Client::new(proxy.url(), None);
    (receiver, proxy, client)
}

/// Posts to a path; whether an answer came.
async fn is_answered(client: &Client, path: &str) -> bool {
    let request = client.request(reqwest::Method::POST, path).body("x");
    server_harness::Answer::try_of(request).await.is_ok()
}

#[tokio::test]
async fn half_of_an_answer_is_no_answer() {
    let half = Plan::Times(1, Fault::HalfAnswer("/half".to_owned()));
    let (receiver, proxy, client) = receiver_behind(half).await;
    assert!(is_answered(&client, "/whole").await);
    assert!(!is_answered(&client, "/half").await);
    assert!(is_answered(&client, "/half").await);
    assert_eq!(receiver.calls().len(), 3);
    assert_eq!(proxy.counts().of(FaultKind::HalfAnswer), 1);

    proxy.set_plan(Plan::Always(Fault::HalfAnswer("/half".to_owned())));
    let address = proxy.address().to_string();
    let mut raw = RawConnection::open_at(&address).await;
    raw.send(b"POST /half HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        .await;
    let text = String::from_utf8(raw.read_to_end().await).unwrap();
    assert!(text.ends_with("\r\n\r\n01234"), "{text}");
}

#[tokio::test]
async fn an_answer_that_is_lost_was_given() {
    let lost = Fault::Cut(Moment::Answer("/ack".to_owned()));
    let (receiver, proxy, client) = receiver_behind(Plan::Times(1, lost)).await;
    assert!(is_answered(&client, "/content").await);
    assert!(!is_answered(&client, "/ack").await);
    assert!(is_answered(&client, "/ack").await);
    assert_eq!(receiver.calls().len(), 3);
    assert_eq!(proxy.counts().faults(), 1);
}

#[tokio::test]
async fn a_request_that_is_lost_never_arrives() {
    let lost = Fault::Reset(Moment::Request("/ack".to_owned()));
    let (receiver, proxy, client) = receiver_behind(Plan::Always(lost)).await;
    assert!(is_answered(&client, "/content").await);
    assert!(!is_answered(&client, "/ack").await);
    proxy.set_plan(Plan::Pass);
    assert!(is_answered(&client, "/content").await);
    let heads = receiver.calls().into_iter().map(|call| call.head);
    assert!(heads.into_iter().all(|head| head.contains("/content")));
}

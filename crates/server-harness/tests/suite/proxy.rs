//! Each fault of the proxy, byte by byte.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use server_harness::{
    Counts, Direction, Fault, FaultKind, FaultProxy, Moment, Plan, Storm, Weights, bytes,
    eventually,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::upstream::{Echo, HowItEnded};

use Direction::{ToClient, ToServer};

async fn echo_behind(plan: Plan) -> (Echo, FaultProxy) {
    let echo = Echo::start().await;
    let proxy = FaultProxy::start(echo.address());
    proxy.set_plan(plan);
    (echo, proxy)
}

async fn connect(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

/// What comes until the end, and what that end is.
async fn hear_out(stream: &mut TcpStream) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut heard = Vec::new();
    let end = stream.read_to_end(&mut heard).await;
    (heard, end.map(drop).map_err(|error| error.kind()))
}

/// Connects, sends `data`, and hears what comes. A reset may come before all that is done.
async fn exchange(proxy: &FaultProxy, data: &[u8]) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut stream = match TcpStream::connect(proxy.address()).await {
        Ok(stream) => stream,
        Err(error) => return (Vec::new(), Err(error.kind())),
    };
    if stream.write_all(data).await.is_ok() {
        drop(stream.shutdown().await);
    }
    hear_out(&mut stream).await
}

/// Sends `data`, which comes back.
async fn must_echo(stream: &mut TcpStream, data: &[u8]) {
    stream.write_all(data).await.unwrap();
    let mut back = vec![0; data.len()];
    stream.read_exact(&mut back).await.unwrap();
    assert!(back == data, "other bytes came back");
}

/// Waits until a connection of the server's has ended, and answers how.
async fn end_of(echo: &Echo, number: usize) -> HowItEnded {
    eventually("the server's connection ends", async || {
        echo.heard().get(number).and_then(|heard| heard.end)
    })
    .await
}

async fn wait_until_all_are_closed(proxy: &FaultProxy) {
    eventually("no connection is open", async || {
        (proxy.counts().open == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_a_fault_everything_passes_both_ways_and_is_counted() {
    let (echo, proxy) = echo_behind(Plan::Pass).await;
    let data = bytes(1, 1_000_000);
    let (mut reader, mut writer) = connect(&proxy).await.into_split();
    let sent = data.clone();
    let sending = tokio::spawn(async move {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut back = Vec::new();
    reader.read_to_end(&mut back).await.unwrap();
    sending.await.unwrap();
    assert!(back == data, "other bytes came back");
    assert_eq!(end_of(&echo, 0).await, HowItEnded::Ended);
    wait_until_all_are_closed(&proxy).await;
    let counts = proxy.counts();
    assert_eq!((counts.to_server, counts.to_client), (1_000_000, 1_000_000));
    assert_eq!((counts.connections, counts.faults()), (1, 0));
}

#[tokio::test]
async fn a_connection_is_cut_after_so_many_bytes_to_the_client() {
    let (echo, proxy) = echo_behind(Plan::Always(Fault::Cut(Moment::Bytes(ToClient, 300)))).await;
    let mut stream = connect(&proxy).await;
    let data = bytes(2, 1000);
    stream.write_all(&data).await.unwrap();
    assert_eq!(hear_out(&mut stream).await, (data[..300].to_vec(), Ok(())));
    drop(stream);
    assert_eq!(end_of(&echo, 0).await, HowItEnded::Ended);
    assert_eq!(proxy.counts().of(FaultKind::Cut), 1);
}

#[tokio::test]
async fn a_connection_is_cut_after_so_many_bytes_to_the_server() {
    let (echo, proxy) = echo_behind(Plan::Always(Fault::Cut(Moment::Bytes(ToServer, 300)))).await;
    let mut stream = connect(&proxy).await;
    let data = bytes(3, 1000);
    stream.write_all(&data).await.unwrap();
    assert_eq!(hear_out(&mut stream).await.1, Ok(()));
    assert_eq!(end_of(&echo, 0).await, HowItEnded::Ended);
    assert_eq!(echo.heard()[0].bytes, data[..300]);
    assert_eq!(proxy.counts().to_server, 300);
}

#[tokio::test]
async fn a_connection_is_reset_after_so_many_bytes() {
    let fault = Fault::Reset(Moment::Bytes(ToClient, 300));
    let (echo, proxy) = echo_behind(Plan::Always(fault)).await;
    let mut stream = connect(&proxy).await;
    stream.write_all(&bytes(4, 1000)).await.unwrap();
    let (heard, end) = hear_out(&mut stream).await;
    assert!(heard.len() <= 300, "{} bytes have passed", heard.len());
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
    assert_eq!(end_of(&echo, 0).await, HowItEnded::Broken);
    assert_eq!(proxy.counts().of(FaultKind::Reset), 1);
}

#[tokio::test]
async fn a_connection_that_is_reset_at_once_never_comes_to_the_server() {
    let (echo, proxy) = echo_behind(Plan::Times(1, Fault::Reset(Moment::AtOnce))).await;
    let (_, end) = exchange(&proxy, b"").await;
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
    assert_eq!(echo.heard().len(), 0);
    must_echo(&mut connect(&proxy).await, b"it happens once").await;
    assert_eq!(proxy.counts().of(FaultKind::Reset), 1);
}

#[tokio::test]
async fn a_connection_that_stalls_is_silent_until_somebody_gives_up() {
    let stall = Fault::Stall(Moment::Bytes(ToServer, 4));
    let (echo, proxy) = echo_behind(Plan::Times(2, stall)).await;
    let (mut one, mut other) = (connect(&proxy).await, connect(&proxy).await);
    for stream in [&mut one, &mut other] {
        stream.write_all(b"12345678").await.unwrap();
    }
    eventually("both have stalled", async || {
        let both_have = echo.heard().iter().all(|heard| heard.bytes == b"1234");
        (both_have && proxy.counts().of(FaultKind::Stall) == 2).then_some(())
    })
    .await;
    one.write_all(b"nobody hears it").await.unwrap();
    drop(one);
    let (first, second) = (end_of(&echo, 0), end_of(&echo, 1));
    let either = tokio::select! { end = first => end, end = second => end };
    assert_eq!(either, HowItEnded::Ended);
    assert_eq!(proxy.counts().open, 1);

    proxy.reset_open();
    let reset = (Vec::new(), Err(ErrorKind::ConnectionReset));
    assert_eq!(hear_out(&mut other).await, reset);
    wait_until_all_are_closed(&proxy).await;
    assert!(echo.heard().iter().all(|heard| heard.bytes == b"1234"));
}

#[tokio::test]
async fn what_is_delayed_is_late_and_whole() {
    let time = Duration::from_millis(50);
    let (_echo, proxy) = echo_behind(Plan::Always(Fault::Delay(time))).await;
    let mut stream = connect(&proxy).await;
    let started = Instant::now();
    must_echo(&mut stream, b"there and back").await;
    assert!(started.elapsed() >= 2 * time, "{:?}", started.elapsed());
    must_echo(&mut stream, b"again").await;
    assert!(started.elapsed() >= 4 * time, "{:?}", started.elapsed());
    assert_eq!(proxy.counts().of(FaultKind::Delay), 1);
}

#[tokio::test]
async fn what_trickles_is_slow_until_there_is_another_plan() {
    let every = Duration::from_millis(10);
    let trickle = Fault::Trickle {
        direction: ToClient,
        bytes: 10,
        every,
    };
    let (_echo, proxy) = echo_behind(Plan::Always(trickle)).await;
    let mut stream = connect(&proxy).await;
    let started = Instant::now();
    must_echo(&mut stream, &bytes(5, 200)).await;
    assert!(started.elapsed() >= 19 * every, "{:?}", started.elapsed());
    assert_eq!(proxy.counts().of(FaultKind::Trickle), 1);

    // At that speed it would take a quarter of an hour.
    let data = bytes(6, 1_000_000);
    let (mut reader, mut writer) = stream.into_split();
    let sent = data.clone();
    let sending = tokio::spawn(async move { writer.write_all(&sent).await.unwrap() });
    let mut back = vec![0; data.len()];
    reader.read_exact(&mut back[..10]).await.unwrap();
    proxy.set_plan(Plan::Pass);
    reader.read_exact(&mut back[10..]).await.unwrap();
    sending.await.unwrap();
    assert!(back == data, "other bytes came back");
}

#[tokio::test]
async fn a_plan_holds_for_connections_that_are_open() {
    let (_echo, proxy) = echo_behind(Plan::Pass).await;
    let mut stream = connect(&proxy).await;
    must_echo(&mut stream, b"before").await;
    proxy.set_plan(Plan::Always(Fault::Cut(Moment::Bytes(ToClient, 3))));
    stream.write_all(b"after").await.unwrap();
    assert_eq!(hear_out(&mut stream).await, (b"aft".to_vec(), Ok(())));
}

#[tokio::test]
async fn open_connections_are_cut_on_demand() {
    let (echo, proxy) = echo_behind(Plan::Pass).await;
    let mut stream = connect(&proxy).await;
    must_echo(&mut stream, b"before").await;
    proxy.cut_open();
    assert_eq!(hear_out(&mut stream).await, (Vec::new(), Ok(())));
    drop(stream);
    assert_eq!(end_of(&echo, 0).await, HowItEnded::Ended);
    must_echo(&mut connect(&proxy).await, b"a later one is left alone").await;
}

#[tokio::test]
async fn nobody_listens_for_a_while() {
    let (_echo, proxy) = echo_behind(Plan::Pass).await;
    let mut open = connect(&proxy).await;
    must_echo(&mut open, b"before").await;
    proxy.stop_listening();
    let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    must_echo(&mut open, b"one that is open goes on").await;
    proxy.listen_again();
    must_echo(&mut connect(&proxy).await, b"after").await;
}

#[tokio::test]
async fn the_server_behind_it_moves() {
    let (echo, proxy) = echo_behind(Plan::Pass).await;
    must_echo(&mut connect(&proxy).await, b"one").await;
    let other = Echo::start().await;
    proxy.set_upstream(other.address());
    must_echo(&mut connect(&proxy).await, b"other").await;
    assert_eq!(echo.heard()[0].bytes, b"one");
    assert_eq!(other.heard()[0].bytes, b"other");

    let nobody = FaultProxy::start(echo.address());
    nobody.stop_listening();
    proxy.set_upstream(&nobody.address().to_string());
    let (_, end) = exchange(&proxy, b"").await;
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
    assert_eq!(proxy.counts().unreachable, 1);
}

/// What a storm of that seed does to one connection after the other.
async fn weathered(seed: u64) -> Counts {
    // Nobody here gives up.
    let weights = Weights {
        stall: 0,
        ..Weights::default()
    };
    let (_echo, proxy) = echo_behind(Plan::Storm(Storm::from_seed(seed, weights))).await;
    let data = bytes(7, 5000);
    for _ in 0..40 {
        let (back, _) = exchange(&proxy, &data).await;
        assert!(data.starts_with(&back), "other bytes came back");
    }
    proxy.counts()
}

#[tokio::test]
async fn a_storm_of_the_same_seed_does_the_same() {
    let kinds = [
        FaultKind::Cut,
        FaultKind::Reset,
        FaultKind::Delay,
        FaultKind::Trickle,
    ];
    let (one, same) = (weathered(8).await, weathered(8).await);
    for kind in kinds {
        assert!(one.of(kind) > 0, "{one:?}");
        assert_eq!(one.of(kind), same.of(kind), "{kind:?}");
    }
    assert!(one.faults() < one.connections, "nothing has passed");
}

#[tokio::test]
async fn with_the_proxy_everything_of_it_ends() {
    let (echo, proxy) = echo_behind(Plan::Pass).await;
    let address = proxy.address();
    let mut open = connect(&proxy).await;
    must_echo(&mut open, b"before").await;
    proxy.set_plan(Plan::Always(Fault::Stall(Moment::AtOnce)));
    let mut stalled = connect(&proxy).await;
    stalled.write_all(b"silence").await.unwrap();
    drop(proxy);
    assert_eq!(hear_out(&mut open).await.0, b"");
    assert_eq!(hear_out(&mut stalled).await.0, b"");
    end_of(&echo, 0).await;
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

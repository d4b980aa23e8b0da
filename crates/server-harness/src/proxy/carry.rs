//! Carrying one connection's bytes both ways, as its course has it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{join_all, select_all};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::Direction;
use super::course::{Course, End, Pace};
use super::shared::Shared;

/// What is read at once.
const PIECE: usize = 64 * 1024;
/// How long both sides have to end their part of a connection that was cut.
const FAREWELL: Duration = Duration::from_secs(10);

/// How all connections that are open are to end, whenever they are.
pub(super) type EndOfAll = watch::Receiver<End>;

/// Counts a connection as open while it is there.
struct Open(Arc<Shared>);

impl Open {
    fn count(shared: &Arc<Shared>) -> Self {
        let mut counts = shared.counts();
        counts.connections += 1;
        counts.open += 1;
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counts().open -= 1;
    }
}

/// Carries everything between a client and the server until both have ended or something happens.
pub(super) async fn carry(client: TcpStream, shared: Arc<Shared>, mut all: EndOfAll) {
    let _open = Open::count(&shared);
    let mut course = shared.course();
    if let Some((end, kind)) = course.at_accept() {
        shared.note_fault(kind);
        return finish(end, vec![client], all).await;
    }
    let Ok(server) = TcpStream::connect(shared.upstream()).await else {
        shared.counts().unreachable += 1;
        return finish(End::Reset, vec![client], all).await;
    };
    for stream in [&client, &server] {
        // A connection that is gone already is found out about when it is read.
        drop(stream.set_nodelay(true));
    }
    let line = Line {
        shared: &shared,
        course: Mutex::new(course),
    };
    let (mut client, mut server) = (client, server);
    let end = {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let up = line.pump(Direction::ToServer, &mut from_client, &mut to_server);
        let down = line.pump(Direction::ToClient, &mut from_server, &mut to_client);
        tokio::select! {
            both = async { tokio::try_join!(up, down) } => both.err(),
            end = end_of_all(&mut all) => Some(end),
        }
    };
    if let Some(end) = end {
        finish(end, vec![client, server], all).await;
    }
}

struct Line<'a> {
    shared: &'a Shared,
    course: Mutex<Course>,
}

impl Line<'_> {
    /// Passes on what one side sends until it has ended, or until the connection is to end.
    async fn pump(
        &self,
        direction: Direction,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), End> {
        let mut buffer = vec![0; PIECE];
        loop {
            // What breaks one side breaks the other.
            let count = from.read(&mut buffer).await.map_err(|_| End::Reset)?;
            if count == 0 {
                return to.shutdown().await.map_err(|_| End::Reset);
            }
            let piece = &buffer[..count];
            let (verdict, generation) = {
                let mut course = self.course.lock().unwrap();
                self.shared.refresh(&mut course);
                (course.judge(direction, piece), course.generation())
            };
            if let Some(kind) = verdict.happened {
                self.shared.note_fault(kind);
            }
            let passing = &piece[..verdict.pass];
            match verdict.pace {
                Pace::AtOnce => self.pass(direction, to, passing).await?,
                Pace::Late(time) => {
                    sleep(time).await;
                    self.pass(direction, to, passing).await?;
                }
                Pace::Trickle { bytes, every } => {
                    let mut rest = passing;
                    while !rest.is_empty() && self.shared.holds(generation) {
                        let (now, later) = rest.split_at(bytes.min(rest.len()));
                        self.pass(direction, to, now).await?;
                        sleep(every).await;
                        rest = later;
                    }
                    self.pass(direction, to, rest).await?;
                }
            }
            if let Some(end) = verdict.end {
                return Err(end);
            }
        }
    }

    async fn pass(
        &self,
        direction: Direction,
        to: &mut (impl AsyncWrite + Unpin),
        bytes: &[u8],
    ) -> Result<(), End> {
        to.write_all(bytes).await.map_err(|_| End::Reset)?;
        self.shared.note_bytes(direction, bytes.len());
        Ok(())
    }
}

/// Waits until all connections are to end.
async fn end_of_all(all: &mut EndOfAll) -> End {
    match all.changed().await {
        Ok(()) => *all.borrow_and_update(),
        // The proxy itself ends.
        Err(_) => End::Reset,
    }
}

/// Ends a connection, or what there is of it.
async fn finish(end: End, mut streams: Vec<TcpStream>, mut all: EndOfAll) {
    let end = match end {
        End::Stall => stay_silent(&mut streams, &mut all).await,
        other => other,
    };
    match end {
        End::Cut => drop(join_all(streams.into_iter().map(bid_farewell)).await),
        End::Reset | End::Stall => reset(&streams),
    }
}

/// Says nothing until one side gives up, and answers how the other one is left then.
async fn stay_silent(streams: &mut [TcpStream], all: &mut EndOfAll) -> End {
    let ears = streams.iter_mut().map(|stream| Box::pin(hear_out(stream)));
    tokio::select! {
        _ = select_all(ears) => End::Cut,
        end = end_of_all(all) => end,
    }
}

/// Reads until the other side ends, and does nothing with it.
async fn hear_out(stream: &mut TcpStream) {
    let mut buffer = vec![0; PIECE];
    while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
}

/// Says that there will be no more. A socket with unread bytes would be reset when it is closed, so
/// that what comes is read until the other side has ended, too.
async fn bid_farewell(mut stream: TcpStream) {
    // One that is gone already needs no farewell.
    drop(stream.shutdown().await);
    drop(timeout(FAREWELL, hear_out(&mut stream)).await);
}

/// Ends connections with RST: that is what closing does when nothing is to linger.
fn reset(streams: &[TcpStream]) {
    for stream in streams {
        drop(stream.set_zero_linger());
    }
}

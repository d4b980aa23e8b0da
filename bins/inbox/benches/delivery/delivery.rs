//! Files on their way: uploaded to the platform, and taken by an inbox in this process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use inbox_client::{Event, FileArrived, FixedToken, Inbox};
use server_harness::{Client, Form, Server, Workspace, bytes};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::place::folder_on_disk;
use crate::steps::{self, StepTimes};

/// When a delivery counts as lost.
const PATIENCE: Duration = Duration::from_mins(1);

/// One file that was delivered.
#[derive(Debug)]
pub(crate) struct Delivered {
    /// When the 200 of its upload had been read.
    pub(crate) answered: Instant,
    /// What the inbox did, and when.
    pub(crate) steps: StepTimes,
    /// When `Inbox::next` answered with the event.
    pub(crate) arrived: Instant,
}

/// A workspace whose inbox is at work.
#[derive(Debug)]
pub(crate) struct Deliveries {
    workspace: Workspace,
    client: Client,
    arrivals: mpsc::Receiver<(Instant, FileArrived)>,
    stop: oneshot::Sender<()>,
    inbox: JoinHandle<()>,
    // Last, so that it outlives the inbox.
    folder: TempDir,
}

impl Deliveries {
    /// Registers a workspace, and opens its inbox.
    pub(crate) async fn begin(server: &Server) -> Self {
        let (workspace, client) = server.workspace().await;
        let folder = folder_on_disk();
        let inbox = Inbox::builder()
            .platform(server.url().parse().unwrap())
            .workspace(workspace.id.parse().unwrap())
            .token(Arc::new(FixedToken(workspace.token.parse().unwrap())))
            .folder(folder.path().join("files"))
            .state_folder(folder.path().join("state"))
            .open()
            .await
            .unwrap();
        let (arrived, arrivals) = mpsc::channel(1);
        let (stop, stopped) = oneshot::channel();
        Self {
            workspace,
            client,
            arrivals,
            stop,
            inbox: tokio::spawn(follow(inbox, arrived, stopped)),
            folder,
        }
    }

    /// Uploads a file of that length, and waits until it has arrived.
    pub(crate) async fn deliver(&mut self, seed: u64, length: usize) -> Delivered {
        let form = Form::of_file("delivery.bin", bytes(seed, length));
        let answer = self.client.upload(&self.workspace, &form).await;
        let answered = Instant::now();
        assert_eq!(answer.status, 200, "{answer:?}");
        let (arrived, file) = timeout(PATIENCE, self.arrivals.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!([file.uri.file_id.to_string()], *answer.file_ids());
        std::fs::remove_file(&file.path).unwrap();
        Delivered {
            answered,
            steps: steps::take(),
            arrived,
        }
    }

    /// Closes the inbox.
    pub(crate) async fn end(self) {
        drop(self.stop);
        self.inbox.await.unwrap();
        drop(self.folder);
    }
}

/// Notes each arrival and confirms it, as an embedder would, until nobody wants to know any more.
async fn follow(
    mut inbox: Inbox,
    arrivals: mpsc::Sender<(Instant, FileArrived)>,
    mut stopped: oneshot::Receiver<()>,
) {
    loop {
        let delivery = tokio::select! {
            delivery = inbox.next() => delivery.unwrap(),
            _ = &mut stopped => break,
        };
        let now = Instant::now();
        let file = match delivery.event() {
            Event::FileArrived(file) => file.clone(),
            other => panic!("only files are sent, and all arrive: {other:?}"),
        };
        delivery.confirm();
        arrivals.send((now, file)).await.unwrap();
    }
    inbox.close().await;
}

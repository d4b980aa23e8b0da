//! What has to be there before a closed loop can begin.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cell::{Cell, GB, KB, MB, Scenario};
use crate::client::{Connection, Form, Request};
use crate::error::BenchError;
use crate::scenarios::jobs::{
    self, Ack, Cycle, Fetch, Job, Poll, Queue, Round, Upload, ack_request, content_request,
    newest_row, poll_path,
};
use crate::site::{WORKSPACES, Workspace, workspaces};

/// The most files in one request.
const BATCH: u64 = 64;
/// How many rows a busy poll reads.
const BUSY_ROWS: u64 = 100;
/// About how many acks a second there is material for.
const ACKS_A_SECOND: u64 = 6_000;
/// How many large files are acked.
const LARGE_ACKS: u64 = 96;
/// How many files are acked where few are enough.
const FEW_LARGE_ACKS: u64 = 16;
const FEW_ACKS: u64 = 2_000;
const FEWEST_ACKS: u64 = 256;

/// How much is prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stock {
    /// As much as a fast server is done with in the time.
    Plenty,
    /// As much as a slow server is done with.
    Few,
    /// As little as there can be, and each file in a request of its own.
    OneByOne,
}

/// A load that can begin.
#[derive(Debug)]
pub(crate) enum Prepared {
    Upload(Arc<Vec<Request>>),
    Fetch {
        files: Arc<Vec<Request>>,
        bytes: u64,
    },
    Ack(Queue),
    Poll {
        polls: Arc<Vec<Request>>,
        rows: u64,
    },
    Cycle {
        workspaces: Arc<Vec<Workspace>>,
        form: Arc<Form>,
    },
}

impl Prepared {
    /// Prepares the load of a cell on the server at `address`, if it is a closed loop; none for other
    /// cells. `window` is how
    /// long it will be.
    pub(crate) async fn of(
        cell: Cell,
        address: SocketAddr,
        stock: Stock,
        window: Duration,
    ) -> Result<Option<Self>, BenchError> {
        let workspaces = workspaces(address, WORKSPACES).await?;
        let builder = Builder {
            address,
            workspaces,
            stock,
        };
        Ok(Some(match cell.scenario {
            Scenario::Upload => builder.upload(1, cell.bytes),
            Scenario::Batch => builder.upload(BATCH, cell.bytes),
            Scenario::Fetch => builder.fetch(cell.bytes).await?,
            Scenario::Ack => builder.ack(cell.bytes, window).await?,
            Scenario::IdlePoll => builder.idle_poll().await?,
            Scenario::BusyPoll => builder.busy_poll().await?,
            Scenario::Cycle => Self::Cycle {
                workspaces: builder.workspaces,
                form: Arc::new(Form::new(1, cell.bytes)),
            },
            Scenario::Idle | Scenario::Arrival | Scenario::Waiters | Scenario::Mixed => {
                return Ok(None);
            }
        }))
    }

    /// Workers that are connected to the server at `address`; each byte of content that they move is
    /// counted in `moved`.
    pub(crate) async fn workers(
        &self,
        address: SocketAddr,
        at_once: usize,
        moved: &Arc<AtomicU64>,
    ) -> Result<Vec<Job>, BenchError> {
        let mut jobs = Vec::with_capacity(at_once);
        for number in 0..at_once {
            let connection = Connection::open(address).await?.counted_in(moved);
            // Neighbours begin far from each other.
            let place = number * WORKSPACES / at_once;
            jobs.push(self.worker(connection, place).await?);
        }
        Ok(jobs)
    }

    async fn worker(&self, connection: Connection, place: usize) -> Result<Job, BenchError> {
        Ok(match self {
            Self::Upload(requests) => Job::Upload(Upload {
                connection,
                round: Round::from(requests, place),
            }),
            Self::Fetch { files, bytes } => Job::Fetch(Fetch {
                connection,
                round: Round::from(files, place),
                bytes: *bytes,
            }),
            Self::Ack(queue) => Job::Ack(Ack {
                connection,
                queue: Arc::clone(queue),
            }),
            Self::Poll { polls, rows } => Job::Poll(Poll {
                connection,
                round: Round::from(polls, place),
                rows: usize::try_from(*rows).unwrap_or_default(),
            }),
            Self::Cycle { workspaces, form } => {
                let workspace = &workspaces[place % workspaces.len()];
                Job::Cycle(Cycle::begin(connection, workspace, Arc::clone(form)).await?)
            }
        })
    }

    /// How many turns there is material for.
    pub(crate) fn turns(&self) -> u64 {
        match self {
            Self::Ack(queue) => {
                let queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                queue.len() as u64
            }
            _ => u64::MAX,
        }
    }
}

struct Builder {
    address: SocketAddr,
    workspaces: Arc<Vec<Workspace>>,
    stock: Stock,
}

impl Builder {
    fn uploads(&self, files: u64, bytes: u64) -> Vec<Request> {
        let form = Arc::new(Form::new(files, bytes));
        let workspaces = self.workspaces.iter();
        workspaces
            .map(|workspace| upload_request(workspace, &form))
            .collect()
    }

    fn upload(&self, files: u64, bytes: u64) -> Prepared {
        Prepared::Upload(Arc::new(self.uploads(files, bytes)))
    }

    /// Uploads so many files, spread over the workspaces, and answers where each is.
    async fn stock(&self, files: u64, bytes: u64) -> Result<Vec<(usize, String)>, BenchError> {
        let in_one = match self.stock {
            Stock::Plenty | Stock::Few if bytes <= 100 * KB => files.min(BATCH),
            _ => 1,
        };
        let requests = self.uploads(in_one, bytes);
        let mut connection = Connection::open(self.address).await?;
        let mut stock = Vec::new();
        let places = (0..requests.len()).cycle();
        // Only as many requests as it takes.
        for (_, place) in (0..files.div_ceil(in_one)).zip(places) {
            let ids = jobs::upload(&mut connection, &requests[place]).await?;
            stock.extend(ids.into_iter().map(|id| (place, id)));
        }
        Ok(stock)
    }

    async fn fetch(&self, bytes: u64) -> Result<Prepared, BenchError> {
        let stock = self.stock(files_to_fetch(bytes), bytes).await?;
        let requests = stock
            .iter()
            .map(|(place, id)| content_request(&self.workspaces[*place], id));
        Ok(Prepared::Fetch {
            files: Arc::new(requests.collect()),
            bytes,
        })
    }

    async fn ack(&self, bytes: u64, window: Duration) -> Result<Prepared, BenchError> {
        let files = match (self.stock, bytes) {
            (Stock::OneByOne, _) => FEWEST_ACKS,
            (Stock::Few, MB..) => FEW_LARGE_ACKS,
            (Stock::Few, _) => FEW_ACKS,
            (Stock::Plenty, MB..) => LARGE_ACKS,
            (Stock::Plenty, _) => (window.as_secs() + 1) * ACKS_A_SECOND,
        };
        let stock = self.stock(files, bytes).await?;
        let requests = stock
            .iter()
            .map(|(place, id)| ack_request(&self.workspaces[*place], id));
        Ok(Prepared::Ack(Arc::new(Mutex::new(requests.collect()))))
    }

    async fn idle_poll(&self) -> Result<Prepared, BenchError> {
        self.stock(WORKSPACES as u64 * BATCH, KB).await?;
        let mut connection = Connection::open(self.address).await?;
        let mut polls = Vec::new();
        for workspace in &*self.workspaces {
            let cursor = newest_row(&mut connection, workspace).await?;
            polls.push(poll_request(workspace, cursor.as_deref()));
        }
        Ok(Prepared::Poll {
            polls: Arc::new(polls),
            rows: 0,
        })
    }

    async fn busy_poll(&self) -> Result<Prepared, BenchError> {
        let mut connection = Connection::open(self.address).await?;
        for workspace in &*self.workspaces {
            for files in [BATCH, BUSY_ROWS - BATCH] {
                let form = Arc::new(Form::new(files, KB));
                jobs::upload(&mut connection, &upload_request(workspace, &form)).await?;
            }
        }
        let workspaces = self.workspaces.iter();
        let polls = workspaces.map(|workspace| poll_request(workspace, None));
        Ok(Prepared::Poll {
            polls: Arc::new(polls.collect()),
            rows: BUSY_ROWS,
        })
    }
}

/// How many files of a size are fetched in turn, here and by the floors.
pub(crate) fn files_to_fetch(bytes: u64) -> u64 {
    match bytes {
        GB.. => 1,
        MB.. => (400 * MB / bytes).min(64),
        _ => WORKSPACES as u64,
    }
}

/// The request that uploads a form to a workspace.
pub(crate) fn upload_request(workspace: &Workspace, form: &Arc<Form>) -> Request {
    let path = workspace.path("chat/uploads");
    Request::upload(&path, Some(&workspace.token), Arc::clone(form))
}

fn poll_request(workspace: &Workspace, cursor: Option<&str>) -> Request {
    Request::get(&poll_path(workspace, cursor), Some(&workspace.token))
}

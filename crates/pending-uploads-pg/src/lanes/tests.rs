//! Groups of work that no database does: how they form, and what becomes of those who asked.

use std::sync::Mutex;

use tokio::sync::Semaphore;

use super::*;
use crate::config::DatabaseConfig;

/// Work that is done when the test lets it.
#[derive(Debug)]
struct Held {
    /// A permit for each group.
    gate: Semaphore,
    /// The groups that were begun.
    groups: Mutex<Vec<Vec<u32>>>,
    alone: Mutex<Vec<(u32, Attempt)>>,
}

/// What a group answers to those of its asks.
const PASSED_BY: u32 = 100;
const FAILS: u32 = 200;
const PANICS: u32 = 300;
const FINDS_NO_CONNECTION: u32 = 400;

#[derive(Debug, Clone, Copy)]
struct Ask {
    number: u32,
    workspace: Option<WorkspaceId>,
    bytes: usize,
}

impl From<u32> for Ask {
    fn from(number: u32) -> Self {
        Self {
            number,
            workspace: None,
            bytes: 0,
        }
    }
}

impl Grouped for Arc<Held> {
    type Ask = Ask;
    type Answer = u32;

    async fn together(&self, _: &Database, asks: &[Ask]) -> Result<Vec<Option<u32>>, PgError> {
        let numbers: Vec<u32> = asks.iter().map(|ask| ask.number).collect();
        self.groups.lock().unwrap().push(numbers.clone());
        self.gate.acquire().await.unwrap().forget();
        assert!(!numbers.contains(&PANICS), "it panics as it was told to");
        if numbers.contains(&FAILS) {
            return Err(PgError::NotFound);
        }
        if numbers.contains(&FINDS_NO_CONNECTION) {
            return Err(waited_in_vain(TimeoutType::Wait));
        }
        let answer = |number| (number != PASSED_BY).then_some(number);
        Ok(numbers.into_iter().map(answer).collect())
    }

    async fn alone(&self, _: &Database, ask: Ask, attempt: Attempt) -> Result<u32, PgError> {
        self.alone.lock().unwrap().push((ask.number, attempt));
        Ok(ask.number)
    }

    fn exclusive(ask: &Ask) -> Option<WorkspaceId> {
        ask.workspace
    }

    fn bytes(ask: &Ask) -> usize {
        ask.bytes
    }
}

/// The same, that no request waits for.
#[derive(Debug)]
struct Unhurried(Arc<Held>);

impl Grouped for Unhurried {
    type Ask = Ask;
    type Answer = u32;

    const PAUSE: Duration = Duration::from_millis(5);

    async fn together(
        &self,
        database: &Database,
        asks: &[Ask],
    ) -> Result<Vec<Option<u32>>, PgError> {
        self.0.together(database, asks).await
    }

    async fn alone(&self, database: &Database, ask: Ask, attempt: Attempt) -> Result<u32, PgError> {
        self.0.alone(database, ask, attempt).await
    }
}

/// Lanes that stand still until the test opens the gate.
struct Scene<K: Grouped<Ask = Ask, Answer = u32> = Arc<Held>> {
    lanes: Lanes<K>,
    held: Arc<Held>,
    database: Database,
}

impl Scene {
    fn with_patience(patience: Duration) -> Self {
        Self::of(patience, |held| held)
    }

    fn new() -> Self {
        Self::with_patience(Duration::from_hours(1))
    }
}

impl Scene<Unhurried> {
    fn unhurried() -> Self {
        Self::of(Duration::from_hours(1), Unhurried)
    }
}

impl<K: Grouped<Ask = Ask, Answer = u32>> Scene<K> {
    fn of(patience: Duration, kind: impl FnOnce(Arc<Held>) -> K) -> Self {
        let held = Arc::new(Held {
            gate: Semaphore::new(0),
            groups: Mutex::default(),
            alone: Mutex::default(),
        });
        // Nobody listens there; these lanes never ask.
        let config = DatabaseConfig::parse("postgres://nobody@127.0.0.1:1/none").unwrap();
        Self {
            lanes: Lanes::with_patience(kind(Arc::clone(&held)), patience),
            held,
            database: Database::connect(&config).unwrap(),
        }
    }

    /// Asks, and returns once the work is queued or taken.
    async fn ask(&self, ask: impl Into<Ask>) -> tokio::task::JoinHandle<Result<u32, PgError>> {
        let (lanes, database, ask) = (self.lanes.clone(), self.database.clone(), ask.into());
        let before = self.lanes.queue().next_number;
        let asked = tokio::spawn(async move { lanes.run(&database, ask).await });
        while self.lanes.queue().next_number == before {
            tokio::task::yield_now().await;
        }
        asked
    }

    /// Asks, and returns once a lane has taken it.
    async fn ask_and_see_it_taken(
        &self,
        ask: impl Into<Ask>,
    ) -> tokio::task::JoinHandle<Result<u32, PgError>> {
        let before = self.groups().len();
        let asked = self.ask(ask).await;
        while self.groups().len() == before {
            tokio::task::yield_now().await;
        }
        asked
    }

    /// Keeps every lane busy.
    async fn fill_the_lanes(&self) {
        for number in 0..LANES {
            let number = u32::try_from(number).unwrap();
            drop(self.ask_and_see_it_taken(1_000 + number).await);
        }
    }

    fn open_the_gate(&self) {
        self.held.gate.add_permits(1_000);
    }

    fn groups(&self) -> Vec<Vec<u32>> {
        self.held.groups.lock().unwrap().clone()
    }

    /// The groups behind those that filled the lanes.
    fn later_groups(&self) -> Vec<Vec<u32>> {
        self.groups().split_off(LANES)
    }

    fn alone(&self) -> Vec<(u32, Attempt)> {
        self.held.alone.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn what_is_asked_for_while_the_lanes_are_busy_goes_together() {
    let scene = Scene::new();
    scene.fill_the_lanes().await;
    let asked = [scene.ask(1).await, scene.ask(2).await, scene.ask(3).await];
    scene.open_the_gate();
    for (asked, expected) in asked.into_iter().zip(1..) {
        assert_eq!(asked.await.unwrap().unwrap(), expected);
    }
    assert_eq!(scene.later_groups(), [[1, 2, 3]]);
}

#[tokio::test]
async fn a_group_is_bounded_by_its_number() {
    let scene = Scene::new();
    scene.fill_the_lanes().await;
    let mut asked = Vec::new();
    for _ in 0..=GROUP {
        asked.push(scene.ask(1).await);
    }
    scene.open_the_gate();
    for asked in asked {
        asked.await.unwrap().unwrap();
    }
    let sizes: Vec<usize> = scene.later_groups().iter().map(Vec::len).collect();
    assert_eq!(sizes, [GROUP, 1]);
}

#[tokio::test]
async fn a_group_is_bounded_by_its_bytes() {
    let scene = Scene::new();
    scene.fill_the_lanes().await;
    let half = |number| Ask {
        bytes: <Arc<Held>>::GROUP_BYTES / 2,
        ..Ask::from(number)
    };
    let larger = Ask {
        bytes: <Arc<Held>>::GROUP_BYTES * 2,
        ..Ask::from(4)
    };
    let mut asked = Vec::new();
    for ask in [half(1), half(2), half(3), larger] {
        asked.push(scene.ask(ask).await);
    }
    scene.open_the_gate();
    for asked in asked {
        asked.await.unwrap().unwrap();
    }
    assert_eq!(scene.later_groups(), [vec![1, 2], vec![3], vec![4]]);
}

#[tokio::test]
async fn no_two_groups_have_the_same_exclusive_workspace() {
    let scene = Scene::new();
    let workspace = Some(WorkspaceId::generate());
    let exclusive = |number| Ask {
        workspace,
        ..Ask::from(number)
    };
    let first = scene.ask_and_see_it_taken(exclusive(1)).await;
    let second = scene.ask(exclusive(2)).await;
    let other = scene.ask_and_see_it_taken(3).await;
    assert_eq!(scene.groups(), [[1], [3]]);
    scene.open_the_gate();
    for asked in [first, second, other] {
        asked.await.unwrap().unwrap();
    }
    assert_eq!(scene.groups(), [[1], [3], [2]]);
}

#[tokio::test]
async fn what_a_group_passes_by_is_done_alone() {
    let scene = Scene::new();
    scene.open_the_gate();
    let passed_by = scene.ask(PASSED_BY).await;
    assert_eq!(passed_by.await.unwrap().unwrap(), PASSED_BY);
    assert_eq!(scene.alone(), [(PASSED_BY, Attempt::First)]);
}

#[tokio::test]
async fn each_of_a_group_that_failed_is_done_alone_and_may_have_been_done_before() {
    let scene = Scene::new();
    scene.fill_the_lanes().await;
    let asked = [scene.ask(1).await, scene.ask(FAILS).await];
    scene.open_the_gate();
    for asked in asked {
        asked.await.unwrap().unwrap();
    }
    let mut alone = scene.alone();
    alone.sort_by_key(|(number, _)| *number);
    let expected = [(1, Attempt::Repeated), (FAILS, Attempt::Repeated)];
    assert_eq!(alone, expected);
}

#[tokio::test]
async fn a_group_that_waited_for_a_connection_in_vain_does_not_wait_again() {
    let scene = Scene::new();
    scene.open_the_gate();
    let asked = scene.ask(FINDS_NO_CONNECTION).await.await.unwrap();
    assert!(matches!(asked, Err(PgError::Pool(_))), "{asked:?}");
    assert_eq!(scene.alone(), []);
}

#[tokio::test]
async fn what_no_lane_takes_in_time_is_refused_and_not_done() {
    let scene = Scene::with_patience(Duration::from_millis(50));
    scene.fill_the_lanes().await;
    let refused = scene.ask(1).await.await.unwrap();
    assert!(matches!(refused, Err(PgError::Pool(_))), "{refused:?}");
    scene.open_the_gate();
    let next = scene.ask(2).await.await.unwrap();
    assert_eq!(next.unwrap(), 2);
    assert!(!scene.groups().concat().contains(&1));
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_takes_no_room_and_is_not_done() {
    let scene = Scene::new();
    scene.fill_the_lanes().await;
    let given_up = scene.ask(1).await;
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    assert!(scene.lanes.queue().waiting.is_empty());
    scene.open_the_gate();
    scene.ask(2).await.await.unwrap().unwrap();
    assert!(!scene.groups().concat().contains(&1));
}

#[tokio::test]
async fn a_panic_is_told_to_who_asked_and_stops_nobody_else() {
    let scene = Scene::new();
    scene.open_the_gate();
    for _ in 0..=LANES {
        let asked = scene.ask(PANICS).await.await.unwrap();
        assert!(matches!(asked, Err(PgError::Stopped)), "{asked:?}");
    }
    assert_eq!(scene.ask(1).await.await.unwrap().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn work_that_no_request_waits_for_is_gathered_between_groups() {
    let scene = Scene::unhurried();
    scene.open_the_gate();
    scene.fill_the_lanes().await;
    let first = scene.ask(1).await;
    // As long as there is something to do, the clock stands still.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(scene.later_groups(), Vec::<Vec<u32>>::new());
    let second = scene.ask(2).await;
    for asked in [first, second] {
        asked.await.unwrap().unwrap();
    }
    assert_eq!(scene.later_groups(), [[1, 2]]);
}

#[tokio::test(start_paused = true)]
async fn a_full_group_is_not_gathered_for() {
    let scene = Scene::unhurried();
    scene.fill_the_lanes().await;
    let mut asked = Vec::new();
    for _ in 0..GROUP {
        asked.push(scene.ask(1).await);
    }
    scene.open_the_gate();
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(scene.later_groups(), [vec![1; GROUP]]);
    for asked in asked {
        asked.await.unwrap().unwrap();
    }
}

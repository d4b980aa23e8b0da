//! What the tests and the connections of a proxy share: the plan, where the server is, and the counts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::course::Course;
use super::{Direction, Fault, FaultKind, Plan};

/// What a proxy has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// The connections that it has accepted.
    pub connections: u64,
    /// Those of them that are still there.
    pub open: u64,
    /// Those for which there was no server.
    pub unreachable: u64,
    /// The bytes that have passed from clients to servers.
    pub to_server: u64,
    /// The bytes that have passed from servers to clients.
    pub to_client: u64,
    faults: BTreeMap<FaultKind, u64>,
}

impl Counts {
    /// How often a fault has happened; each counts once for a connection.
    pub fn of(&self, kind: FaultKind) -> u64 {
        self.faults.get(&kind).copied().unwrap_or_default()
    }

    /// How many faults have happened.
    pub fn faults(&self) -> u64 {
        self.faults.values().sum()
    }
}

/// How often a fault may still happen, whichever connection it happens to.
#[derive(Debug, Clone)]
pub(super) struct Budget(Option<Arc<AtomicU64>>);

impl Budget {
    pub(super) fn unlimited() -> Self {
        Self(None)
    }

    pub(super) fn of(times: u64) -> Self {
        Self(Some(Arc::new(AtomicU64::new(times))))
    }

    /// Whether it may happen once more, which it does then.
    pub(super) fn take(&self) -> bool {
        let Some(left) = &self.0 else { return true };
        let one_less = |left: u64| left.checked_sub(1);
        left.try_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .is_ok()
    }
}

/// What a plan has chosen for a connection.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    /// Which of the plans that were set one after the other has chosen.
    pub(super) generation: u64,
    pub(super) fault: Option<Fault>,
    pub(super) budget: Budget,
}

#[derive(Debug)]
struct Planned {
    generation: u64,
    plan: Plan,
    budget: Budget,
}

impl Planned {
    fn choose(&mut self) -> Choice {
        let fault = match &mut self.plan {
            Plan::Pass => None,
            Plan::Always(fault) | Plan::Times(_, fault) => Some(fault.clone()),
            Plan::Storm(storm) => storm.next(),
        };
        Choice {
            generation: self.generation,
            fault,
            budget: self.budget.clone(),
        }
    }
}

/// What is shared.
#[derive(Debug)]
pub(super) struct Shared {
    planned: Mutex<Planned>,
    upstream: Mutex<SocketAddr>,
    counts: Mutex<Counts>,
}

impl Shared {
    pub(super) fn new(upstream: SocketAddr) -> Self {
        Self {
            planned: Mutex::new(Planned {
                generation: 0,
                plan: Plan::Pass,
                budget: Budget::unlimited(),
            }),
            upstream: Mutex::new(upstream),
            counts: Mutex::default(),
        }
    }

    pub(super) fn set_plan(&self, plan: Plan) {
        let mut planned = self.planned.lock().unwrap();
        planned.generation += 1;
        planned.budget = match &plan {
            Plan::Times(times, _) => Budget::of(*times),
            _ => Budget::unlimited(),
        };
        planned.plan = plan;
    }

    pub(super) fn upstream(&self) -> SocketAddr {
        *self.upstream.lock().unwrap()
    }

    pub(super) fn set_upstream(&self, address: SocketAddr) {
        *self.upstream.lock().unwrap() = address;
    }

    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap()
    }

    pub(super) fn note_fault(&self, kind: FaultKind) {
        *self.counts().faults.entry(kind).or_default() += 1;
    }

    pub(super) fn note_bytes(&self, direction: Direction, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap();
        let mut counts = self.counts();
        match direction {
            Direction::ToServer => counts.to_server += bytes,
            Direction::ToClient => counts.to_client += bytes,
        }
    }

    /// The course of a new connection.
    pub(super) fn course(&self) -> Course {
        Course::new(self.planned.lock().unwrap().choose())
    }

    /// Puts a connection on a new course when there is a new plan.
    pub(super) fn refresh(&self, course: &mut Course) {
        let mut planned = self.planned.lock().unwrap();
        if planned.generation != course.generation() {
            *course = Course::new(planned.choose());
        }
    }

    /// Whether the plan of that generation holds still.
    pub(super) fn holds(&self, generation: u64) -> bool {
        self.planned.lock().unwrap().generation == generation
    }
}

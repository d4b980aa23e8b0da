//! How much one upload or one fetch has on its way at once: more while there are few of them.
//!
//! A database that is kept waiting by the only one does nothing. Where many are under way, others fill
//! the pauses, and what each holds in memory is what counts. One whose peer is slow counts as well: it
//! may be in haste at any moment.

use std::sync::Arc;

/// So many at the most are few.
const FEW: usize = 8;

/// Those who do the same thing in one store at the same time.
#[derive(Debug, Default)]
pub(crate) struct Crowd(Arc<()>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Member(Arc<()>);

/// How many they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Company {
    Few,
    Many,
}

impl Crowd {
    /// Counts one more.
    pub(crate) fn join(&self) -> Member {
        Member(self.0.clone())
    }
}

impl Member {
    pub(crate) fn company(&self) -> Company {
        // One of those who count is the crowd itself.
        if Arc::strong_count(&self.0) <= FEW + 1 {
            Company::Few
        } else {
            Company::Many
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_are_few_and_nine_are_many_until_one_has_left() {
        let crowd = Crowd::default();
        let mut eight: Vec<Member> = (0..8).map(|_| crowd.join()).collect();
        assert!(eight.iter().all(|member| member.company() == Company::Few));
        let ninth = crowd.join();
        assert!(eight.iter().all(|member| member.company() == Company::Many));
        eight.pop();
        assert_eq!(ninth.company(), Company::Few);
    }
}

//! The in-memory platform keeps the contract, and the list of clauses leaves none out.
#![cfg(feature = "contract")]

use std::sync::Arc;

use async_trait::async_trait;
use pending_uploads_core::contract::{Fixture, Instance, Subject, Terms};
use pending_uploads_core::memory::MemoryPlatform;

struct Memory;

#[async_trait]
impl Fixture for Memory {
    async fn subject(&self, terms: Terms) -> Subject {
        let clock = Arc::clone(&terms.clock);
        let platform = MemoryPlatform::new(clock, terms.ttl, terms.quota);
        let instance = Instance {
            storage: Arc::new(platform.clone()),
            activity: Arc::new(platform.clone()),
            workspaces: Arc::new(platform),
        };
        Subject::new(terms, instance.clone(), instance)
    }
}

pending_uploads_core::contract_tests!(Memory);

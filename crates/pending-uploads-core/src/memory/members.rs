//! The registered workspaces: [`Workspaces`] in memory.

use std::collections::HashMap;

use async_trait::async_trait;
use serde_json::Value;

use super::{MemoryPlatform, give_way};
use crate::{
    CallbackUrl, Delivery, DeliveryMode, Error, InboundSecret, Registered, Registrar, Registration,
    Result, Token, TokenDigest, Workspace, WorkspaceId, Workspaces,
};

#[derive(Default)]
pub(super) struct Members(HashMap<WorkspaceId, Member>);

struct Member {
    mode: DeliveryMode,
    url: Option<CallbackUrl>,
    agent_card: Option<Value>,
    token: TokenDigest,
    /// Made at the first registration, whatever its mode, so that it is the same for ever.
    secret: InboundSecret,
}

impl Members {
    /// Whether the workspace is registered.
    pub(super) fn contains(&self, workspace: WorkspaceId) -> bool {
        self.0.contains_key(&workspace)
    }

    /// The card that the workspace last registered with.
    pub(super) fn agent_card(&self, workspace: WorkspaceId) -> Option<Value> {
        self.0.get(&workspace)?.agent_card.clone()
    }

    fn register(&mut self, registration: Registration, registrar: Registrar) -> Result<Registered> {
        match self.0.get_mut(&registration.id) {
            Some(member) if registrar.may_update(registration.id) => {
                Ok(member.update(registration))
            }
            Some(_) => Err(Error::Unauthorized),
            None => self.create(registration),
        }
    }

    fn create(&mut self, registration: Registration) -> Result<Registered> {
        let id = registration.id;
        let token = Token::generate()?;
        let mut member = Member {
            mode: DeliveryMode::Push,
            url: None,
            agent_card: None,
            token: token.digest(),
            secret: InboundSecret::generate()?,
        };
        let registered = Registered {
            auth_token: Some(token),
            ..member.update(registration)
        };
        self.0.insert(id, member);
        Ok(registered)
    }

    fn get(&self, workspace: WorkspaceId) -> Result<Workspace> {
        let member = self.0.get(&workspace).ok_or(Error::UnknownWorkspace)?;
        Ok(member.as_workspace(workspace))
    }

    fn authenticate(&self, workspace: WorkspaceId, token: &Token) -> Option<Workspace> {
        let member = self.0.get(&workspace)?;
        member
            .token
            .is_of(token)
            .then(|| member.as_workspace(workspace))
    }
}

impl Member {
    /// Takes what the registration says and keeps what it does not say.
    fn update(&mut self, registration: Registration) -> Registered {
        self.mode = registration.delivery_mode.unwrap_or(self.mode);
        self.url = registration.url.or_else(|| self.url.take());
        self.agent_card = registration.agent_card.or_else(|| self.agent_card.take());
        Registered::new(self.mode, None, self.secret.clone())
    }

    fn as_workspace(&self, id: WorkspaceId) -> Workspace {
        Workspace {
            id,
            delivery: Delivery::new(self.mode, self.url.clone(), self.secret.clone()),
        }
    }
}

#[async_trait]
impl Workspaces for MemoryPlatform {
    async fn register(
        &self,
        registration: Registration,
        registrar: Registrar,
    ) -> Result<Registered> {
        give_way().await;
        self.state().members.register(registration, registrar)
    }

    async fn authenticate(
        &self,
        workspace: WorkspaceId,
        token: &Token,
    ) -> Result<Option<Workspace>> {
        give_way().await;
        Ok(self.state().members.authenticate(workspace, token))
    }

    async fn get(&self, workspace: WorkspaceId) -> Result<Workspace> {
        give_way().await;
        self.state().members.get(workspace)
    }
}

//! What agents, users and whoever asks by HTTP are answered.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::controller::{Input, Request, Status};
use portcullis_core::lease::{APPLICATION_LEADERSHIP, Key};
use portcullis_core::members::{Command, Outcome, Token, TokenHash};
use portcullis_core::queue::Answer;
use portcullis_core::sessions::Party;
use portcullis_core::{AskId, ConnectionId, GlobalTime, NodeId};
use tokio::sync::{oneshot, watch};

use super::serve::Serve;
use super::{Arrival, Greeting};
use crate::api::{
    self, Changed, Cluster, Elsewhere, Found, Health, Introspected, Login, Mark, PINNED_MAX, Page,
    Pins, Place, Query, Responsibility, Verdict, Watch,
};
use crate::credentials::Identity;
use crate::env::Env;
use crate::join;
use crate::metrics::Metrics;
use crate::peer::NotLed;
use crate::raft::membership::Seen;
use crate::raft::{self, NotWritten};

impl<E: Env> api::Handler for Serve<E> {
    async fn login(&self, connection: ConnectionId, login: Login) -> Verdict {
        let cluster = self.cluster.borrow().clone();
        let mut elsewhere = None;
        if let Place::Model(uuid) = &login.place
            && cluster.model(uuid).is_none()
        {
            elsewhere = cluster.moved.get(uuid).filter(|_| login.tag.starts_with("user-"));
            if elsewhere.is_none() {
                self.metrics.logged_in("no-model");
                return Verdict::NoModel { uuid: uuid.clone() };
            }
        }
        let Some((identity, runs_controller)) = self.verify(&cluster, login).await else {
            return Verdict::Refused;
        };
        // Nobody learns where a model went who could not have used it.
        if let Some(elsewhere) = elsewhere {
            return Verdict::Redirect(elsewhere.clone());
        }
        let party = match identity {
            // Only a certificate makes a controller: its asks are not bounded as others' are.
            Identity::Controller(_) | Identity::Unit { .. } | Identity::Machine(_) => Party::Agent,
            Identity::User(_) => Party::User,
        };
        let (reply, greeting) = oneshot::channel();
        self.arrive(Arrival::LoggedIn { connection, party, reply }).await;
        match greeting.await {
            Ok(Greeting::Welcome { first }) => {
                Verdict::Welcome { identity, runs_controller, first }
            }
            // Without an answer the connection is gone, and nobody is told this.
            Ok(Greeting::Refuse) | Err(_) => {
                Verdict::TryAgain { retry_after: self.api.retry_after }
            }
            Ok(Greeting::Redirect { to }) => {
                let cluster = self.cluster.borrow();
                Verdict::Redirect(Elsewhere {
                    servers: cluster.servers.get(&to).cloned().into_iter().collect(),
                    authority: cluster.authority.clone(),
                    controller: Some(cluster.uuid.clone()),
                    consent: false,
                })
            }
        }
    }

    async fn pinged(&self, connection: ConnectionId) {
        self.tell(Input::Pinged { connection }).await;
    }

    async fn ask(&self, ask: AskId, request: Request, patience: Duration) -> Answer {
        self.ask(ask, request, patience).await
    }

    fn cluster(&self) -> watch::Receiver<Arc<Cluster>> {
        self.cluster.subscribe()
    }

    async fn leases(&self, query: Query) -> Option<Page> {
        self.caught_up().await?;
        let (mut leases, mut more, mut after) = (Vec::new(), false, query.after.clone());
        loop {
            let scanned = self.leases.scan(after.as_ref(), |key, lease| {
                if !query.wants(key) {
                    return ControlFlow::Continue(());
                }
                more = leases.len() >= query.most;
                if more {
                    return ControlFlow::Break(());
                }
                leases.push((key.clone(), lease.clone()));
                ControlFlow::Continue(())
            });
            after = scanned.next;
            if after.is_none() {
                return Some(Page { now: scanned.now, leases, more });
            }
            tokio::task::yield_now().await;
        }
    }

    async fn pins(&self, model: &str) -> Option<Pins> {
        self.caught_up().await?;
        let (mut pins, mut bytes, mut after) = (BTreeMap::new(), 0, None);
        loop {
            let scanned = self.leases.scan_pins(after.as_ref(), |key, entities| {
                if key.model() != &*model || key.namespace() != APPLICATION_LEADERSHIP {
                    return ControlFlow::Continue(());
                }
                bytes +=
                    key.lease().len() + entities.iter().map(|entity| entity.len()).sum::<usize>();
                if bytes > PINNED_MAX {
                    return ControlFlow::Break(());
                }
                let entities = entities.iter().map(|entity| (**entity).to_owned()).collect();
                pins.insert(key.lease().to_owned(), entities);
                ControlFlow::Continue(())
            });
            after = scanned.next;
            match after {
                None if bytes > PINNED_MAX => return Some(Pins::TooMany),
                None => return Some(Pins::All(pins)),
                Some(_) => tokio::task::yield_now().await,
            }
        }
    }

    async fn changes(&self, watch: Watch) -> Option<Changed> {
        let mut moves = self.news.moves();
        let until = self.env.now() + watch.patience;
        let found = match watch.from {
            None => {
                self.caught_up().await?;
                let index = self.leases.view().index().unwrap_or_default();
                Found::Changed { keys: BTreeSet::new(), next: Mark::after(index) }
            }
            Some(mut from) => loop {
                let found = self.news.since(from, &watch);
                match &found {
                    Found::Changed { keys, next } if keys.is_empty() => from = *next,
                    Found::Changed { .. } | Found::Forgotten { .. } => break found,
                }
                tokio::select! {
                    biased;
                    moved = moves.changed() => moved.ok()?,
                    () = self.env.sleep_until(until) => break found,
                }
            },
        };
        let view = self.leases.view();
        let (keys, next, forgotten) = match found {
            Found::Changed { keys, next } => (keys, next, false),
            Found::Forgotten { next } => (BTreeSet::new(), next, true),
        };
        let with_lease = |key: Key| {
            let lease = view.get(&key).cloned();
            (key, lease)
        };
        let leases = keys.into_iter().map(with_lease).collect();
        Some(Changed { now: view.now(), leases, next, forgotten })
    }

    async fn status(&self) -> Option<Status> {
        self.status().await
    }

    async fn members(&self) -> Option<Seen> {
        self.look().await
    }

    async fn change_members(&self, command: Command) -> Result<Outcome, NotWritten> {
        self.change_members(command).await
    }

    async fn lead(&self, to: NodeId) -> Result<(), NotLed> {
        self.lead(to).await
    }

    fn responsible(&self) -> Vec<Responsibility> {
        self.own.all()
    }

    async fn join(&self, asked: join::Asked) -> Result<join::Granted, join::Refused> {
        self.join(asked).await
    }

    async fn invitations(&self) -> Option<(GlobalTime, Vec<(TokenHash, Token)>)> {
        self.caught_up().await?;
        let view = self.leases.view();
        let tokens = view.members().tokens().map(|(hash, token)| (hash, *token));
        let left = tokens.filter(|(_, token)| token.void_after >= view.now());
        Some((view.now(), left.collect()))
    }

    fn health(&self) -> Health {
        self.health()
    }

    async fn introspect(&self, login: Login) -> Introspected {
        let cluster = self.cluster.borrow().clone();
        match self.verify(&cluster, login).await {
            None => Introspected::Refused,
            Some((Identity::User(_) | Identity::Controller(_), _) | (_, true)) => {
                Introspected::Metrics(self.scrape().await)
            }
            Some((Identity::Unit { .. } | Identity::Machine(_), false)) => Introspected::Forbidden,
        }
    }

    async fn copy(&self, login: Login) -> api::Copy {
        let cluster = self.cluster.borrow().clone();
        match self.verify(&cluster, login).await {
            None => return api::Copy::Refused,
            Some((Identity::User(_), _)) => {}
            Some((Identity::Unit { .. } | Identity::Machine(_) | Identity::Controller(_), _)) => {
                return api::Copy::Forbidden;
            }
        }
        let Ok(_turn) = self.copying.try_acquire() else { return api::Copy::Busy };
        if self.caught_up().await.is_none() {
            return api::Copy::Leaderless;
        }
        let (raft, leases) = (self.raft.clone(), self.leases.clone());
        let (node, uuid) = (self.node, cluster.uuid.clone());
        let copied = move || raft::Copied::take(&uuid, node, &raft, &leases).encode();
        api::Copy::Whole(self.env.compute(copied).await.into())
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

//! What may happen next.

use portcullis_core::NodeId;
use portcullis_core::roles::Output;

use super::world::World;
use super::{Action, Bounds, Cluster, Fate};

impl World {
    /// Everything that may happen next.
    pub fn moves(&self, cluster: &Cluster, actions: &mut Vec<Action>) {
        if self.broken.is_some() {
            return;
        }
        actions.extend(self.looks.then_some(Action::Look));
        actions.extend(self.due().then_some(Action::Timeout));
        self.outcomes(cluster, actions);
        let healing = self.now >= cluster.heals;
        if !healing {
            self.faults(actions);
        }
        let nodes = || (1..=cluster.members).map(NodeId);
        let silent = nodes().filter(|node| !self.picture.heard.contains(node));
        actions.extend(silent.map(Action::Hear));
        actions.extend(self.lagging.iter().copied().map(Action::CatchUp));
        let ill = self.picture.heard.len() < cluster.members as usize || !self.lagging.is_empty();
        let owed = self.looks || self.due() || self.change.is_some() && !self.stuck();
        let waits = owed || healing && ill;
        actions.extend((self.now < cluster.end && !waits).then_some(Action::Tick));
    }

    /// Whether the change under way cannot be made as things are.
    fn stuck(&self) -> bool {
        let next = match &self.change {
            Some(Output::Appoint { voters }) => Some(voters),
            Some(
                Output::Look
                | Output::Found
                | Output::Add { .. }
                | Output::Drop { .. }
                | Output::HandOver { .. },
            )
            | None => None,
        };
        !self.can_agree(self.leader, next)
    }

    fn outcomes(&self, cluster: &Cluster, actions: &mut Vec<Action>) {
        let Some(change) = &self.change else { return };
        let appoints = matches!(change, Output::Appoint { .. });
        let faults = self.left.failures > 0 && self.now < cluster.heals;
        if !self.stuck() {
            actions.push(Action::Change(Fate::Done));
            actions.extend(faults.then_some(Action::Change(Fate::Unknown)));
            actions.extend((faults && appoints).then_some(Action::Change(Fate::Half)));
        }
        let fates = [Fate::Failed, Fate::Silent].into_iter().filter(|_| faults);
        actions.extend(fates.map(Action::Change));
    }

    fn faults(&self, actions: &mut Vec<Action>) {
        let Bounds { silences, lags, failures: _, elections, removals, stops } = self.left;
        let others = || self.picture.heard.iter().copied().filter(|node| *node != self.leader);
        let fresh = |node: &NodeId| !self.lagging.contains(node);
        actions.extend(others().filter(|_| silences > 0).map(Action::Silence));
        actions.extend(others().filter(|_| lags > 0).filter(fresh).map(Action::Lag));
        let votes = |node: &NodeId| self.picture.voters.contains(node);
        let electable = |node: &NodeId| votes(node) && fresh(node) && self.can_agree(*node, None);
        actions.extend(others().filter(|_| elections > 0).filter(electable).map(Action::Elect));
        let members = self.picture.members.iter().map(|(node, _)| node);
        let removable = removals > 0 && self.picture.members.len() > 1;
        actions.extend(members.filter(|_| removable).map(Action::Remove));
        actions.extend((stops > 0).then_some(Action::Stop));
    }
}

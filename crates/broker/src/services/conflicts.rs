//! Mistakes in a consumer group by which messages go unprocessed although none is lost. Members that subscribe to other
//! messages: each queue belongs to one of them, who passes over what only the others want (RocketMQ issues 92, 212, 5473).
//! Clients that share an id: they take the same queues, and nobody takes the rest (issues 667, 1547). Neither can be mended
//! here: while a new version of a service is rolled out, its members may well differ. So the operator is told.

use std::collections::{BTreeMap, BTreeSet};

use steadfast_types::topic::RETRY_PREFIX;
use steadfast_wire::body::{ConsumerData, SubscriptionData};

use super::groups::{ConsumerGroup, Member};
use crate::broker::Out;
use crate::io::Effect;

/// What a member wants: the expression for each topic, in a form in which equal ones are the same.
pub(super) type Wants = BTreeMap<String, String>;

/// What was found in a group, and told.
#[derive(Debug, Default)]
pub(super) struct Conflicts {
    /// Members subscribe to other messages.
    pub(super) subscriptions: bool,
    /// Ids that several clients have.
    pub(super) ids: BTreeSet<String>,
}

/// What a member wants, but for its group's retries, which not every kind of consumer reads.
pub(super) fn wants(data: &ConsumerData) -> Wants {
    let expression = |subscription: &SubscriptionData| match subscription.expression_type.as_deref() {
        None | Some("" | "TAG") => {
            let tags: BTreeSet<&str> = subscription.sub_string.split("||").map(str::trim).collect();
            Vec::from_iter(tags).join(" || ")
        }
        Some(other) => format!("{other} {}", subscription.sub_string),
    };
    let topics = data.subscription_data_set.iter().filter(|s| !s.topic.starts_with(RETRY_PREFIX));
    topics.map(|subscription| (subscription.topic.clone(), expression(subscription))).collect()
}

impl ConsumerGroup {
    /// Looks for conflicts after `client` has said what it wants. `before` is what the group knew of it.
    pub(super) fn look_for_conflicts(
        &mut self,
        name: &str,
        client: &str,
        before: Option<&Member>,
        out: &mut Out<'_>,
    ) {
        let Some(now) = self.members.get(client) else { return };
        // Whoever is heard of on an older connection again was never gone.
        if let Some(other) = before.filter(|before| before.conn > now.conn)
            && self.conflicts.ids.insert(client.to_owned())
        {
            let (one, two) = (now.peer, other.peer);
            out(Effect::Warn(format!(
                "group {name}: the clients at {one} and {two} are both called {client}: they take the same queues, and others \
                 are taken by none; give each an id of its own (instanceName)"
            )));
        }
        // Most heartbeats say what is known already.
        if before.is_some_and(|before| before.wants == now.wants) {
            return;
        }
        let found = self.at_odds();
        if let (Some(odds), false) = (&found, self.conflicts.subscriptions) {
            out(Effect::Warn(format!(
                "group {name}: {odds}: in its queues each passes over what only the other wants; all members of a group must \
                 subscribe alike"
            )));
        }
        self.conflicts.subscriptions = found.is_some();
    }

    /// A member is gone.
    pub(super) fn review_conflicts(&mut self) {
        self.conflicts.subscriptions = self.at_odds().is_some();
        let members = &self.members;
        self.conflicts.ids.retain(|id| members.contains_key(id));
    }

    /// How two members differ, if not all want the same.
    fn at_odds(&self) -> Option<String> {
        let mut members = self.members.iter();
        let (first, one) = members.next()?;
        let (second, two) = members.find(|(_, member)| member.wants != one.wants)?;
        let topics = one.wants.keys().chain(two.wants.keys());
        let topic = topics.into_iter().find(|topic| one.wants.get(*topic) != two.wants.get(*topic))?;
        let wants = |member: &Member| match member.wants.get(topic) {
            Some(expression) => format!("subscribes to {topic} by {expression:?}"),
            None => format!("does not subscribe to {topic}"),
        };
        Some(format!("client {first} {}, client {second} {}", wants(one), wants(two)))
    }
}

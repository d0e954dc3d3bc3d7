//! Clients and consumer groups: who is connected, what they subscribe to, who is told when a group changes.
//! None of this is in the log: clients say it again with every heartbeat.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bytes::Bytes;
use steadfast_wire::body::{
    CheckClientRequestBody, ConsumeFromWhere, ConsumeType, ConsumerData, ConsumerIdList, HeartbeatData,
    MessageModel, SubscriptionData,
};
use steadfast_wire::code::{request, response};
use steadfast_wire::header::ExtFields;
use steadfast_wire::headers::{HeartbeatResponse, NotifyConsumerIdsChanged};

use super::conflicts::{self, Conflicts, Wants};
use super::{Answer, Calls};
use crate::broker::{Broker, Out};
use crate::filter::TagFilter;
use crate::io::{ConnId, Effect, Now, Origin};
use crate::measures::ClientKind;
use crate::reply::{Reply, ReplyHeader};

/// A client that was silent for so long is gone (RocketMQ's `CHANNEL_EXPIRED_TIMEOUT`), in milliseconds.
const SILENT_MAX: u64 = 120_000;

/// A client of a group.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) conn: ConnId,
    pub(super) peer: SocketAddr,
    pub(super) language: &'static str,
    pub(super) version: i32,
    /// Of consumers.
    pub(super) wants: Wants,
    fingerprint: i64,
    seen: u64,
}

impl Member {
    fn kind(&self, group: Option<(String, &'static str)>) -> ClientKind {
        ClientKind { language: self.language, version: self.version, group }
    }
}

/// A consumer group as its members describe it; the newest description wins, as in RocketMQ.
#[derive(Debug)]
pub(super) struct ConsumerGroup {
    pub(super) members: BTreeMap<String, Member>,
    pub(super) subscriptions: BTreeMap<String, SubscriptionData>,
    pub(super) consume_type: ConsumeType,
    pub(super) model: MessageModel,
    pub(super) from_where: ConsumeFromWhere,
    pub(super) conflicts: Conflicts,
}

/// All clients.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    consumers: BTreeMap<String, ConsumerGroup>,
    producers: BTreeMap<String, BTreeMap<String, Member>>,
    /// When the silent ones are looked for next.
    next_expiry: Option<u64>,
}

impl Clients {
    /// Ticks at which the silent ones are looked for.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.next_expiry
    }

    /// A consumer group, if it has members.
    pub(super) fn consumer_group(&self, group: &str) -> Option<&ConsumerGroup> {
        self.consumers.get(group)
    }

    /// Members of a producer group, by client id, if it has any.
    pub(super) fn producer_group(&self, group: &str) -> Option<&BTreeMap<String, Member>> {
        self.producers.get(group).filter(|members| !members.is_empty())
    }

    /// Consumer groups whose members subscribe to a topic.
    pub(super) fn subscribers<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a String> {
        self.consumers.iter().filter(move |(_, g)| g.subscriptions.contains_key(topic)).map(|(name, _)| name)
    }

    /// How many producers and consumers are connected.
    pub(super) fn counts(&self) -> (usize, usize) {
        let producers = self.producers.values().map(BTreeMap::len).sum();
        (producers, self.consumers.values().map(|g| g.members.len()).sum())
    }

    /// Consumer groups with members.
    pub(super) fn consumer_groups(&self) -> impl Iterator<Item = &str> {
        self.consumers.keys().map(String::as_str)
    }

    /// Groups in which messages go unprocessed by mistake, with the cause.
    pub(super) fn conflicts(&self) -> impl Iterator<Item = (String, &'static str)> {
        self.consumers.iter().flat_map(|(name, group)| {
            let Conflicts { subscriptions, ids } = &group.conflicts;
            let causes = [(*subscriptions, "subscriptions"), (!ids.is_empty(), "client_id")];
            let found = causes.into_iter().filter(|(is_so, _)| *is_so);
            found.map(|(_, cause)| (name.clone(), cause)).collect::<Vec<_>>()
        })
    }

    /// How many producers of each kind are connected.
    pub(super) fn producer_kinds(&self) -> BTreeMap<ClientKind, usize> {
        let mut producers = BTreeMap::new();
        for member in self.producers.values().flat_map(BTreeMap::values) {
            *producers.entry(member.kind(None)).or_default() += 1;
        }
        producers
    }

    /// How many consumers of each kind are connected.
    pub(super) fn consumer_kinds(&self) -> BTreeMap<ClientKind, usize> {
        let mut consumers = BTreeMap::new();
        for (name, group) in &self.consumers {
            let mode = match group.consume_type {
                ConsumeType::Actively => "pull",
                ConsumeType::Passively => "push",
                ConsumeType::Pop => "pop",
            };
            for member in group.members.values() {
                *consumers.entry(member.kind(Some((name.clone(), mode)))).or_default() += 1;
            }
        }
        consumers
    }

    /// A group's filter for a topic.
    pub(super) fn subscription(&self, group: &str, topic: &str) -> Option<TagFilter> {
        let subscription = self.consumers.get(group)?.subscriptions.get(topic)?;
        Some(TagFilter::parse(&subscription.sub_string))
    }
}

impl ConsumerGroup {
    fn new(data: &ConsumerData) -> Self {
        Self {
            members: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            consume_type: data.consume_type,
            model: data.message_model,
            from_where: data.consume_from_where,
            conflicts: Conflicts::default(),
        }
    }

    /// Takes over what a member says; tells whether the subscriptions changed.
    fn describe(&mut self, data: ConsumerData) -> bool {
        self.consume_type = data.consume_type;
        self.model = data.message_model;
        self.from_where = data.consume_from_where;
        let newest: BTreeMap<String, SubscriptionData> =
            data.subscription_data_set.into_iter().map(|s| (s.topic.clone(), s)).collect();
        let before: BTreeSet<&String> = self.subscriptions.keys().collect();
        let changed = !before.iter().copied().eq(newest.keys());
        self.subscriptions = newest;
        changed
    }

    /// Tells all members that there are others now than before.
    fn notify(&self, name: &str, calls: &mut Calls, out: &mut Out<'_>) {
        for conn in self.members.values().map(|m| m.conn).collect::<BTreeSet<_>>() {
            let mut ext = ExtFields::default();
            NotifyConsumerIdsChanged { consumer_group: name.to_owned().into() }.encode(&mut ext);
            out(Effect::Call(conn, calls.oneway(request::NOTIFY_CONSUMER_IDS_CHANGED, ext, Bytes::new())));
        }
    }
}

impl Broker {
    pub(super) fn heartbeat(
        &mut self,
        now: Now,
        origin: Origin,
        data: HeartbeatData,
        language: &'static str,
        out: &mut Out<'_>,
    ) -> Answer {
        let member = Member {
            conn: origin.conn,
            peer: origin.peer,
            language,
            version: origin.version,
            wants: Wants::new(),
            fingerprint: data.heartbeat_fingerprint,
            seen: now.ticks,
        };
        self.clients.next_expiry.get_or_insert(now.ticks + SILENT_MAX);
        for producer in data.producer_data_set {
            let group = self.clients.producers.entry(producer.group_name).or_default();
            group.insert(data.client_id.clone(), member.clone());
        }
        let mut unknown = false;
        for consumer in data.consumer_data_set {
            // As in RocketMQ: a group that may not be is not one of the client's; its pulls say why.
            if self.group_settings(&consumer.group_name).is_none() {
                continue;
            }
            if data.without_sub {
                unknown |= !self.refresh(&consumer.group_name, &data.client_id, &member);
            } else {
                self.join(now, consumer, &data.client_id, member.clone(), out);
            }
        }
        let header = HeartbeatResponse { supports_heartbeat_v2: true, subscription_changed: unknown };
        Ok(Some(Reply::with(ReplyHeader::Heartbeat(header))))
    }

    /// A heartbeat without subscriptions (version 2): fine as long as the broker has the ones that the
    /// fingerprint stands for. If not, the client is asked to send them.
    fn refresh(&mut self, group: &str, client: &str, member: &Member) -> bool {
        let known = self.clients.consumers.get_mut(group).and_then(|g| g.members.get_mut(client));
        match known {
            Some(known) if known.fingerprint == member.fingerprint && known.conn == member.conn => {
                known.seen = member.seen;
                true
            }
            _ => false,
        }
    }

    fn join(&mut self, now: Now, data: ConsumerData, client: &str, member: Member, out: &mut Out<'_>) {
        let name = data.group_name.clone();
        if data.message_model == MessageModel::Clustering {
            // Consumers subscribe to their group's retry topic, so it must have a route.
            self.ensure_group(now, &name);
        }
        let group = self
            .clients
            .consumers
            .entry(data.group_name.clone())
            .or_insert_with(|| ConsumerGroup::new(&data));
        let (conn, wants) = (member.conn, conflicts::wants(&data));
        let changed = group.describe(data);
        let before = group.members.insert(client.to_owned(), Member { wants, ..member });
        group.look_for_conflicts(&name, client, before.as_ref(), out);
        if changed || before.is_none_or(|m| m.conn != conn) {
            self.notify(&name, out);
        }
    }

    /// Tells the members of a group that others came or went, unless its settings say otherwise.
    fn notify(&mut self, name: &str, out: &mut Out<'_>) {
        let Some(group) = self.clients.consumers.get(name) else { return };
        let settings = self.group_settings(name);
        let asked = settings.is_none_or(|settings| settings.notify_consumer_ids_changed_enable);
        if asked && self.options.notify_consumers {
            group.notify(name, &mut self.calls, out);
        }
    }

    pub(super) fn unregister_client(
        &mut self,
        client: &str,
        producer_group: Option<&str>,
        consumer_group: Option<&str>,
        out: &mut Out<'_>,
    ) -> Answer {
        if let Some(group) = producer_group
            && let Some(members) = self.clients.producers.get_mut(group)
        {
            members.remove(client);
        }
        if let Some(group) = consumer_group {
            self.leave(group, |id, _| id == client, out);
        }
        Ok(Some(Reply::ok()))
    }

    /// Everything of a connection that is gone.
    pub(crate) fn forget_connection(&mut self, conn: ConnId, out: &mut Out<'_>) {
        self.leave_everywhere(|_, member| member.conn == conn, out);
    }

    /// Looks for clients that have been silent too long.
    pub(crate) fn expire_clients(&mut self, now: Now, out: &mut Out<'_>) {
        if self.clients.next_expiry.is_none_or(|at| now.ticks < at) {
            return;
        }
        self.leave_everywhere(|_, member| member.seen + SILENT_MAX <= now.ticks, out);
        let consumers = self.clients.consumers.values().flat_map(|g| g.members.values());
        let all = consumers.chain(self.clients.producers.values().flat_map(BTreeMap::values));
        self.clients.next_expiry = all.map(|m| m.seen + SILENT_MAX).min();
    }

    fn leave_everywhere(&mut self, gone: impl Fn(&str, &Member) -> bool, out: &mut Out<'_>) {
        let groups: Vec<String> = self.clients.consumers.keys().cloned().collect();
        for group in groups {
            self.leave(&group, &gone, out);
        }
        self.clients.producers.retain(|_, members| {
            members.retain(|id, member| !gone(id, member));
            !members.is_empty()
        });
    }

    fn leave(&mut self, name: &str, gone: impl Fn(&str, &Member) -> bool, out: &mut Out<'_>) {
        let Some(group) = self.clients.consumers.get_mut(name) else { return };
        let before = group.members.len();
        group.members.retain(|id, member| !gone(id, member));
        if group.members.is_empty() {
            self.clients.consumers.remove(name);
        } else if group.members.len() < before {
            group.review_conflicts();
            self.notify(name, out);
        }
    }

    pub(super) fn consumer_list(&self, group: &str) -> Answer {
        let ids: Vec<String> = match self.clients.consumer_group(group) {
            Some(group) => group.members.keys().cloned().collect(),
            None => Vec::new(),
        };
        if ids.is_empty() {
            let remark = format!("no consumer of group {group} is connected");
            return Err(Reply::error(response::SYSTEM_ERROR, remark));
        }
        Ok(Some(Reply::json(&ConsumerIdList { consumer_id_list: ids })))
    }

    pub(super) fn check_client_config(config: &CheckClientRequestBody) -> Answer {
        let expression = config.subscription_data.expression_type.as_deref().unwrap_or("TAG");
        if expression.is_empty() || expression == "TAG" {
            return Ok(Some(Reply::ok()));
        }
        let remark = format!("filters of type {expression} are not supported (enablePropertyFilter=false)");
        Err(Reply::error(response::SYSTEM_ERROR, remark))
    }
}

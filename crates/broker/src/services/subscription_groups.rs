//! Settings of consumer groups: made by hand or with a group's first consumer, asked for, removed.

use std::borrow::Cow;

use steadfast_types::limits;
use steadfast_types::topic::{self, check_group, check_topic, retry_topic};
use steadfast_wire::body::{Body, SubscriptionGroupConfig, SubscriptionGroupWrapper};
use steadfast_wire::code::response;
use steadfast_wire::headers::GetAllSubscriptionGroupsResponse;

use super::Answer;
use crate::broker::Broker;
use crate::control::Control;
use crate::io::{Now, Origin};
use crate::pending::{Applied, Bundle, not_stored};
use crate::reply::{Reply, ReplyHeader};
use crate::state::TopicConfig;
use crate::state::groups::GROUP_BYTES;

/// Most groups that one request may change: a batch must have room for them.
const GROUPS_PER_REQUEST: usize = 8;

/// A part of all groups, as tools ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupPage {
    /// Groups to leave out, in the order of their names.
    pub skip: usize,
    /// Most groups.
    pub max: usize,
}

impl Broker {
    /// A group's settings: its own; the default ones (without a name) for a group that may come to be by itself or
    /// belongs to the system; None if there may be no such group.
    pub(super) fn group_settings(&self, group: &str) -> Option<Cow<'_, SubscriptionGroupConfig>> {
        if let Some(settings) = self.state.groups.get(group) {
            return Some(Cow::Borrowed(settings));
        }
        let any = self.options.auto_create_group || topic::is_system_group(group);
        any.then(|| Cow::Owned(SubscriptionGroupConfig::default()))
    }

    /// A group has a consumer or a message to retry: makes what it lacks, its settings and its retry topic, both in
    /// one entry.
    pub(super) fn ensure_group(&mut self, now: Now, group: &str) {
        let topic = retry_topic(group);
        if check_topic(&topic).is_err() || topic::is_system_group(group) || self.check_writable().is_err() {
            return;
        }
        let mut controls = Vec::new();
        let known = self.state.groups.get(group).map(|settings| settings.retry_queue_nums);
        let queues = known.unwrap_or(SubscriptionGroupConfig::default().retry_queue_nums);
        if known.is_none() && self.options.auto_create_group && !self.is_group_under_way(group) {
            let settings = SubscriptionGroupConfig { group_name: group.to_owned(), ..Default::default() };
            controls.push(Control::PutGroup(Box::new(settings)));
        }
        if let Ok(queues @ 1..) = u32::try_from(queues)
            && self.state.topics.get(&topic).is_none()
            && !self.is_topic_under_way(&topic)
        {
            controls.push(Control::PutTopic(TopicConfig::new(topic, queues, queues)));
        }
        if !controls.is_empty() {
            let bundle = Bundle { controls, messages: Vec::new(), origin: None, since: now.ticks };
            self.pending.push_bundle(bundle);
        }
    }

    fn is_group_under_way(&self, group: &str) -> bool {
        self.controls_under_way().any(|c| matches!(c, Control::PutGroup(g) if g.group_name == group))
    }

    /// Whether a topic is being made or changed.
    pub(super) fn is_topic_under_way(&self, topic: &str) -> bool {
        self.controls_under_way().any(|c| matches!(c, Control::PutTopic(t) if *t.name == *topic))
    }

    /// Changes of state that were admitted and are not durable yet.
    pub(crate) fn controls_under_way(&self) -> impl Iterator<Item = &Control> {
        let in_flight = self.in_flight.iter().flat_map(|f| &f.applied).filter_map(Applied::control);
        self.pending.all_controls().chain(in_flight)
    }

    /// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP and the form of it that has a list: all of them or none.
    pub(super) fn put_groups(
        &mut self,
        now: Now,
        origin: Origin,
        groups: Vec<SubscriptionGroupConfig>,
    ) -> Answer {
        self.check_writable()?;
        groups.iter().try_for_each(check_settings)?;
        if !(1..=GROUPS_PER_REQUEST).contains(&groups.len()) {
            let count = groups.len();
            let cause = format!("the request has {count} groups, it must have 1 to {GROUPS_PER_REQUEST}");
            return Err(not_stored(response::INVALID_PARAMETER, &cause));
        }
        let controls = groups.into_iter().map(|group| Control::PutGroup(Box::new(group))).collect();
        let bundle = Bundle { controls, messages: Vec::new(), origin: Some(origin), since: now.ticks };
        self.pending.push_bundle(bundle);
        Ok(None)
    }

    /// DELETE_SUBSCRIPTIONGROUP.
    pub(super) fn delete_group(
        &mut self,
        now: Now,
        origin: Origin,
        group: &str,
        with_positions: bool,
    ) -> Answer {
        self.check_writable()?;
        if check_group(group).is_err() || (self.state.groups.get(group).is_none() && !with_positions) {
            return Ok(Some(Reply::ok()));
        }
        let controls = vec![Control::DeleteGroup { group: group.into(), with_positions }];
        let bundle = Bundle { controls, messages: Vec::new(), origin: Some(origin), since: now.ticks };
        self.pending.push_bundle(bundle);
        Ok(None)
    }

    /// GET_SUBSCRIPTIONGROUP_CONFIG.
    pub(super) fn get_group(&self, group: &str) -> Answer {
        let settings = self.state.groups.get(group).ok_or_else(|| no_group(group))?;
        Ok(Some(Reply::json(settings)))
    }

    /// GET_ALL_SUBSCRIPTIONGROUP_CONFIG.
    pub(super) fn get_groups(&self, page: GroupPage) -> Reply {
        let groups = self.state.groups.iter().skip(page.skip).take(page.max);
        let subscription_group_table = groups.map(|g| (g.group_name.clone(), g.clone())).collect();
        let wrapper = SubscriptionGroupWrapper { subscription_group_table, ..Default::default() };
        let total_group_num = self.state.groups.len() as i32;
        let header = ReplyHeader::Groups(GetAllSubscriptionGroupsResponse { total_group_num });
        Reply { header, ..Reply::json(&wrapper) }
    }
}

fn check_settings(settings: &SubscriptionGroupConfig) -> Result<(), Reply> {
    let invalid = |cause: &str| {
        let cause = format!("group {:?}: {cause}", settings.group_name);
        Err(not_stored(response::INVALID_PARAMETER, &cause))
    };
    if let Err(error) = check_topic(&retry_topic(&settings.group_name)) {
        return invalid(&format!("its retry topic cannot be: {error}"));
    }
    if settings.group_name.is_empty() {
        return invalid("groupName is empty");
    }
    if !(0..=limits::QUEUES as i32).contains(&settings.retry_queue_nums) {
        return invalid(&format!("retryQueueNums must be 0 to {}", limits::QUEUES));
    }
    if settings.encode().len() > GROUP_BYTES {
        return invalid(&format!("the settings have more than {GROUP_BYTES} bytes"));
    }
    Ok(())
}

/// The answer to a request of a group that there is not.
pub(super) fn no_group(group: &str) -> Reply {
    let remark = format!(
        "subscription group {group} does not exist; create it with updateSubGroup (autoCreateSubscriptionGroup \
         makes a group with its first consumer)"
    );
    Reply::error(response::SUBSCRIPTION_GROUP_NOT_EXIST, remark)
}

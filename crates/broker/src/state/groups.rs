//! Settings of consumer groups ("subscription groups"). They are kept as the body that the protocol describes them
//! by, so that no field of it is lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, BufMut};
use steadfast_wire::body::{Body, SubscriptionGroupConfig};

use crate::bytes_ext::Malformed;

/// Most bytes of an encoded group: a list of them must fit the room that a batch has for control records.
pub(crate) const GROUP_BYTES: usize = 32 * 1024;

/// All groups that have settings.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    by_name: BTreeMap<Arc<str>, SubscriptionGroupConfig>,
}

impl Groups {
    /// The settings of a group.
    pub(crate) fn get(&self, group: &str) -> Option<&SubscriptionGroupConfig> {
        self.by_name.get(group)
    }

    /// Every group, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &SubscriptionGroupConfig> {
        self.by_name.values()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn put(&mut self, config: &SubscriptionGroupConfig) {
        self.by_name.insert(config.group_name.as_str().into(), config.clone());
    }

    pub(super) fn delete(&mut self, group: &str) {
        self.by_name.remove(group);
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.by_name.len() as u32);
        self.by_name.values().for_each(|config| put_group(out, config));
    }

    pub(super) fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let mut this = Self::default();
        for _ in 0..bytes.try_get_u32()? {
            this.put(&get_group(bytes)?);
        }
        Ok(this)
    }
}

/// Appends a group's settings as JSON.
pub(crate) fn put_group(out: &mut impl BufMut, config: &SubscriptionGroupConfig) {
    let json = config.encode();
    out.put_u32(json.len() as u32);
    out.put_slice(&json);
}

/// Reads what [`put_group`] wrote.
pub(crate) fn get_group(bytes: &mut &[u8]) -> Result<SubscriptionGroupConfig, Malformed> {
    let len = bytes.try_get_u32()? as usize;
    let (json, rest) = bytes.split_at_checked(len).ok_or(Malformed)?;
    *bytes = rest;
    SubscriptionGroupConfig::decode(json).map_err(|_| Malformed)
}

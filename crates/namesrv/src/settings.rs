//! The settings that clients and tools put by namespace and key (RocketMQ's KV configuration): the order of ordered
//! topics above all. They outlive the process if somebody keeps them; the form is RocketMQ's `kvConfig.json`.

use std::collections::BTreeMap;
use std::fmt::Debug;

use steadfast_types::limits;
use steadfast_wire::body::{Body, BodyError, KvConfigs};

/// Keeps the settings: a file in a server, nothing in most tests.
pub trait Keeper: Debug + Send {
    /// Makes the document durable in place of the last one.
    ///
    /// # Errors
    /// What went wrong and what to do; the last document counts then.
    fn keep(&mut self, document: &[u8]) -> Result<(), String>;
}

/// The settings of one namespace.
type Table = BTreeMap<String, String>;

/// Settings by namespace and key.
#[derive(Debug, Default)]
pub struct Settings {
    namespaces: BTreeMap<String, Table>,
    keeper: Option<Box<dyn Keeper>>,
}

impl Settings {
    /// What was kept, if anything was, and who keeps it from now on.
    pub fn new(document: Option<&[u8]>, keeper: Box<dyn Keeper>) -> Result<Self, BodyError> {
        let namespaces = document.map(KvConfigs::decode).transpose()?.unwrap_or_default().config_table;
        Ok(Self { namespaces, keeper: Some(keeper) })
    }

    /// One setting.
    pub(crate) fn get(&self, namespace: &str, key: &str) -> Option<&String> {
        self.namespaces.get(namespace)?.get(key)
    }

    /// All settings of a namespace, if it has any.
    pub(crate) fn namespace(&self, namespace: &str) -> Option<&Table> {
        self.namespaces.get(namespace)
    }

    /// Adds or replaces a setting; it counts when it is kept.
    pub(crate) fn put(&mut self, namespace: &str, key: &str, value: &str) -> Result<(), String> {
        let mut changed = self.namespaces.clone();
        changed.entry(namespace.to_owned()).or_default().insert(key.to_owned(), value.to_owned());
        let bytes = size(&changed);
        if bytes > limits::NAMESRV_KV && bytes > size(&self.namespaces) {
            return Err(format!(
                "the settings would have {bytes} bytes, the limit is {}; delete some first",
                limits::NAMESRV_KV
            ));
        }
        self.change(changed)
    }

    /// Removes a setting.
    pub(crate) fn remove(&mut self, namespace: &str, key: &str) -> Result<(), String> {
        let mut changed = self.namespaces.clone();
        if let Some(table) = changed.get_mut(namespace) {
            table.remove(key);
        }
        changed.retain(|_, table| !table.is_empty());
        self.change(changed)
    }

    fn change(&mut self, changed: BTreeMap<String, Table>) -> Result<(), String> {
        if changed == self.namespaces {
            return Ok(());
        }
        let document = KvConfigs { config_table: changed };
        if let Some(keeper) = &mut self.keeper {
            keeper.keep(&document.encode())?;
        }
        self.namespaces = document.config_table;
        Ok(())
    }
}

/// Bytes of names, keys and values.
fn size(namespaces: &BTreeMap<String, Table>) -> usize {
    let of_table = |table: &Table| table.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    namespaces.iter().map(|(name, table)| name.len() + of_table(table)).sum()
}

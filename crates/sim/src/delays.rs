//! What delayed messages have to do: each comes into its topic once for each time that it was stored to wait, and not
//! before its time, by the stamps in the log.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use steadfast_audit::{MessageId, Name};
use steadfast_broker::DelayLevels;
use steadfast_types::topic::SCHEDULE;
use steadfast_types::{QueueId, QueueOffset, Timestamp};

use crate::client::Audit;
use crate::watch::{Gist, Watch};

/// Compares the queues of delayed messages with the topics that these were for.
pub(crate) fn judge(audit: &Audit, levels: &DelayLevels, watch: &mut Watch) {
    let mut due: BTreeMap<(MessageId, Name), Vec<Timestamp>> = BTreeMap::new();
    for (level, waited) in &audit.waited {
        let key = (waited.id.clone(), waited.topic.clone());
        due.entry(key).or_default().push(waited.store_time + levels.delay(QueueId::new(*level)));
    }
    for (key, mut due) in due {
        let (id, topic) = &key;
        let mut came = audit.stored.get(&key).cloned().unwrap_or_default();
        // What retention has removed, or was given up, cannot be compared any more.
        let some_waits_gone =
            watch.is_retaining() && audit.waits_removed || watch.has_holes(|queue| *queue.topic == *SCHEDULE);
        let some_gone = watch.is_retaining() && began_late(audit, topic)
            || watch.has_holes(|queue| queue.topic == *topic);
        let is_whole = !some_waits_gone && !some_gone;
        let is_wrong = match came.len().cmp(&due.len()) {
            Ordering::Equal => false,
            Ordering::Less => !some_gone,
            Ordering::Greater => !some_waits_gone,
        };
        if is_wrong {
            let (waited, came) = (due.len(), came.len());
            let text = format!("message {id} waited {waited} times for topic {topic} and came {came} times");
            watch.find(Gist::Delay, text);
        }
        due.sort_unstable();
        came.sort_unstable();
        let early = due.iter().zip(&came).find(|(due, came)| is_whole && came < due);
        if let Some((due, came)) = early {
            let text = format!("message {id} came into topic {topic} at {came}, it was due at {due}");
            watch.find(Gist::Delay, text);
        }
    }
}

/// Whether the first messages of one of a topic's queues are gone.
fn began_late(audit: &Audit, topic: &Name) -> bool {
    audit.state.queues.iter().any(|(queue, content)| queue.topic == *topic && content.min > QueueOffset::ZERO)
}

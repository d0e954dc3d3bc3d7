//! An operator who repairs a directory that does not start, as `steadfast repair` does.

use steadfast_broker::io::{DamagedRecord, Now};
use steadfast_broker::repair::Repair;

use super::World;
use crate::message;

impl World {
    /// Gives up what is damaged, at times only until the operator's machine fails. An operator who reads that changes of
    /// state are lost, or which messages were there cannot be told, restores a copy instead.
    pub(super) fn repair_offline(&mut self) {
        let Ok(repair) = Repair::open(self.disk.clone()) else { return self.disk.settle_all() };
        let damaged = match repair.damaged() {
            Ok(damaged) if repair.report().lost_changes == 0 => damaged,
            _ => return self.disk.settle_all(),
        };
        for DamagedRecord { queue, offset, log_offset, .. } in &damaged {
            let queue = message::queue(&*queue.topic, queue.queue_id);
            self.stage.ledger.giving_up(&queue, *offset);
            self.stage.watch.giving_up(&queue, offset.get(), *log_offset);
        }
        let (count, proven) = (damaged.len(), repair.report().proven);
        let (wall, mut ticks) = (self.stage.wall(), 0);
        let result = repair.give_up(damaged, &mut || {
            ticks += 1;
            Now { wall, ticks }
        });
        let cut_off = self.repairs.percent(30);
        if cut_off {
            self.disk.power_cut(&mut self.repairs);
        } else {
            self.disk.settle_all();
            if result.is_ok() {
                self.damages.are_given_up();
            }
        }
        self.figures.count(match (&result, cut_off) {
            (Ok(()), false) => "repair",
            (Ok(()), true) => "repair cut off",
            (Err(_), _) => "failed repair",
        });
        self.stage.note(
            "world",
            format_args!(
                "a repair gives up {count} messages, proves {proven} entries: {result:?}, cut off: {cut_off}"
            ),
        );
    }
}

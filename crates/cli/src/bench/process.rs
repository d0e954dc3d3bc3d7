//! CPU time and memory of a process, from Linux's /proc (proc_pid_stat(5), proc_pid_status(5)).

use std::time::Duration;

use anyhow::{Context, bail};

/// Clock ticks a second in /proc/PID/stat: USER_HZ, which is 100 on every architecture that Rust supports.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time used up to now, in user and kernel mode, by all threads.
pub(super) fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat =
        std::fs::read_to_string(&path).with_context(|| format!("no CPU time of process {pid}: {path}"))?;
    parse_cpu_time(&stat).with_context(|| format!("{path} has an unknown form"))
}

/// utime and stime are the fields 14 and 15; field 2, the name in brackets, may hold blanks and brackets.
fn parse_cpu_time(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * (1000 / TICKS_PER_SECOND)))
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Resident, all of it (VmRSS).
    pub(super) resident: u64,
    /// Resident and not backed by files: heap and stacks (RssAnon).
    pub(super) anonymous: u64,
}

/// Memory in use now.
pub(super) fn memory(pid: u32) -> anyhow::Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let status =
        std::fs::read_to_string(&path).with_context(|| format!("no memory of process {pid}: {path}"))?;
    let memory = Memory { resident: field(&status, "VmRSS:"), anonymous: field(&status, "RssAnon:") };
    if memory.resident == 0 {
        bail!("process {pid} has ended");
    }
    Ok(memory)
}

fn cpu_time_of_all(pids: &[u32]) -> anyhow::Result<Duration> {
    pids.iter().map(|pid| cpu_time(*pid)).sum()
}

fn memory_of_all(pids: &[u32]) -> anyhow::Result<Memory> {
    pids.iter().try_fold(Memory::default(), |sum, pid| {
        let Memory { resident, anonymous } = memory(*pid)?;
        Ok(Memory { resident: sum.resident + resident, anonymous: sum.anonymous + anonymous })
    })
}

/// A field of /proc/PID/status, in bytes; 0 if it is not there, as for a process that has ended.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// CPU time and memory of the server, which may be several processes, and of this process during the measured time.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    pids: Vec<u32>,
    server_start: Duration,
    own_start: Duration,
    peak: Memory,
}

/// What a [`Meter`] measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    /// CPU time of the server and the largest memory seen; None without `--pid`.
    pub(super) server: Option<(Duration, Memory)>,
    /// CPU time of this process.
    pub(super) own: Duration,
}

impl Meter {
    /// Starts now.
    pub(super) fn start(pids: &[u32]) -> anyhow::Result<Self> {
        let peak = memory_of_all(pids)?;
        let (server_start, own_start) = (cpu_time_of_all(pids)?, cpu_time(std::process::id())?);
        Ok(Self { pids: pids.to_vec(), server_start, own_start, peak })
    }

    /// Looks at the memory; returns what is in use now.
    pub(super) fn sample(&mut self) -> Option<Memory> {
        if self.pids.is_empty() {
            return None;
        }
        let now = memory_of_all(&self.pids).ok()?;
        self.peak.resident = self.peak.resident.max(now.resident);
        self.peak.anonymous = self.peak.anonymous.max(now.anonymous);
        Some(now)
    }

    /// Ends now.
    pub(super) fn stop(mut self) -> anyhow::Result<Usage> {
        self.sample();
        let server = match &*self.pids {
            [] => None,
            pids => Some((cpu_time_of_all(pids)?.saturating_sub(self.server_start), self.peak)),
        };
        Ok(Usage { server, own: cpu_time(std::process::id())?.saturating_sub(self.own_start) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_brackets_do_not_matter() {
        let stat = "1 (a) b) c) S 0 1 1 0 -1 4194560 37 0 0 0 250 50 0 0 20 0 1";
        assert_eq!(parse_cpu_time(stat), Some(Duration::from_secs(3)));
        assert_eq!(parse_cpu_time("1 (a) S 0"), None);
    }

    #[test]
    fn own_process() {
        let pid = std::process::id();
        assert!(memory(pid).unwrap().resident > memory(pid).unwrap().anonymous / 2);
        let before = cpu_time(pid).unwrap();
        assert!(cpu_time(pid).unwrap() >= before);
        assert!(cpu_time(u32::MAX).is_err());
    }
}

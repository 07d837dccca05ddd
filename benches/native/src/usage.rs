//! What a workload cost this process.

use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value, json};

/// A stopwatch of wall-clock and CPU time (all threads, user and system).
#[derive(Clone, Copy)]
pub struct Stopwatch {
    wall: Instant,
    cpu: f64,
}

impl Stopwatch {
    #[expect(clippy::new_without_default, reason = "starting a clock is not a default value")]
    pub fn new() -> Self {
        Self { wall: Instant::now(), cpu: cpu_seconds() }
    }

    /// The fields every measurement reports.
    pub fn report(self, messages: u64) -> Map<String, Value> {
        let seconds = self.wall.elapsed().as_secs_f64();
        let mut fields = Map::new();
        fields.insert("seconds".into(), json!(seconds));
        fields.insert("messages".into(), json!(messages));
        fields.insert("rate".into(), json!(messages as f64 / seconds));
        fields.insert("cpu_seconds".into(), json!(cpu_seconds() - self.cpu));
        fields.insert("max_rss".into(), json!(max_rss()));
        fields
    }
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Peak resident memory in bytes; `None` where there is no procfs.
fn max_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

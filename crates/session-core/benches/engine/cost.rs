//! Cost of something: time by the clock, and the processor time of this process, which does not
//! depend on what else the machine does.

use std::fmt;
use std::time::{Duration, Instant};

/// A point in time, or what has passed since one.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    started: Option<Instant>,
    pub(crate) wall: Duration,
    /// Of all threads; zero where it cannot be read.
    pub(crate) processor: Duration,
}

/// Nanoseconds that the threads of this process have run.
fn processor() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

impl Cost {
    pub(crate) fn now() -> Self {
        let processor = processor();
        Self { started: Some(Instant::now()), wall: Duration::ZERO, processor }
    }

    /// Threads must not have ended in between.
    pub(crate) fn until_now(self) -> Self {
        let wall = self.started.map(|started| started.elapsed()).unwrap_or_default();
        Self { started: None, wall, processor: processor().saturating_sub(self.processor) }
    }

    pub(crate) fn of_millis(wall: f64, processor: f64) -> Self {
        let of = |millis: f64| Duration::from_secs_f64(millis / 1e3);
        Self { started: None, wall: of(wall), processor: of(processor) }
    }

    /// Ratio to another cost: by the processor where that is known.
    pub(crate) fn ratio(self, other: Self) -> f64 {
        if self.processor.is_zero() || other.processor.is_zero() {
            return self.wall.as_secs_f64() / other.wall.as_secs_f64();
        }
        self.processor.as_secs_f64() / other.processor.as_secs_f64()
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (processor, wall) = (self.processor.as_secs_f64() * 1e3, self.wall.as_secs_f64() * 1e3);
        write!(f, "{processor:.0} ms of processor, {wall:.0} ms")
    }
}

/// The run that was disturbed least.
pub(crate) fn cheapest(costs: &[Cost]) -> Cost {
    *costs.iter().min_by_key(|cost| cost.processor.max(Duration::from_nanos(1))).expect("it ran")
}

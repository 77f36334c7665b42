//! Time, memory and processors, as the system tells them: the one place of the bench that asks for them.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tikv_jemalloc_ctl::thread;

use crate::error::BenchError;

/// Runs from the moment it is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch {
    started: Instant,
    cpu: Duration,
}

/// What a stopwatch shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    /// As a clock on the wall sees it.
    pub(crate) wall: Duration,
    /// For which this thread had a processor: what other programs take of the machine is not in it.
    pub(crate) cpu: Duration,
}

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "a bench measures time")]
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
            cpu: own_time(),
        }
    }

    pub(crate) fn read(&self) -> Taken {
        let cpu = own_time().saturating_sub(self.cpu);
        #[expect(clippy::disallowed_methods, reason = "a bench measures time")]
        let wall = self.started.elapsed();
        Taken { wall, cpu }
    }
}

/// Time for which this thread has had a processor; a call of the system, some 200 ns.
pub(crate) fn own_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // Neither part is negative, and nanoseconds are below 10⁹.
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// The processor's counter of time stamps, read as bare as safe code can.
#[derive(Debug, Clone)]
pub(crate) struct Counter(quanta::Clock);

impl Counter {
    #[expect(clippy::disallowed_methods, reason = "a bench measures time")]
    pub(crate) fn new() -> Self {
        Self(quanta::Clock::new())
    }

    /// The counter; only differences mean something.
    #[inline]
    pub(crate) fn read(&self) -> u64 {
        self.0.raw()
    }

    /// Nanoseconds between two readings.
    #[inline]
    pub(crate) fn nanos_between(&self, earlier: u64, later: u64) -> u64 {
        self.0.delta_as_nanos(earlier, later)
    }
}

/// Waits for something outside, such as a server that is starting. Never part of what is measured.
pub(crate) fn pause(span: Duration) {
    #[expect(
        clippy::disallowed_methods,
        reason = "a starting server tells nobody that it is ready"
    )]
    std::thread::sleep(span);
}

/// Bytes that this thread has ever asked the allocator for.
///
/// # Errors
///
/// If the allocator keeps no such count.
pub(crate) fn allocated() -> Result<u64, BenchError> {
    Ok(thread::allocatedp::read()?.get())
}

/// Ties this thread to one processor, where the system can do that and has it.
pub(crate) fn pin(processor: usize) {
    #[cfg(target_os = "linux")]
    {
        let mut set = rustix::thread::CpuSet::new();
        set.set(processor);
        // A processor that is not there, or not for us, leaves the choice with the system: noisier, not wrong.
        let _ = rustix::thread::sched_setaffinity(None, &set);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = processor;
}

/// This process's memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Bytes resident now.
    pub(crate) now: u64,
    /// Most bytes that were ever resident.
    pub(crate) peak: u64,
}

/// This process's resident memory; `None` where the system has no `/proc`.
pub(crate) fn memory() -> Option<Memory> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib * 1024)
    };
    Some(Memory {
        now: field("VmRSS:")?,
        peak: field("VmHWM:")?,
    })
}

/// Bytes that programs can still have of this machine; `None` where the system does not say.
pub(crate) fn memory_available() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

/// Time that the process `pid` has had a processor, in user and system mode together; `None` where the system does not
/// say. Counted in ticks, of which a second mostly has 100.
pub(crate) fn cpu_of(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may hold anything; user and system time are the
    // 14th and 15th field of the line.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()? + ticks()?;
    Some(Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second()).ok()?)
}

/// Time that all threads of this process with this name, of fifteen letters at most, have had a processor; `None` where the system does not
/// say.
pub(crate) fn cpu_of_threads(name: &str) -> Option<Duration> {
    let threads = std::fs::read_dir("/proc/self/task").ok()?;
    let mut sum = Duration::ZERO;
    for thread in threads {
        let folder = thread.ok()?.path();
        // A thread may end while its folder is read.
        let Ok(comm) = std::fs::read_to_string(folder.join("comm")) else {
            continue;
        };
        if comm.trim_end() == name {
            let time = std::fs::read_to_string(folder.join("schedstat")).ok()?;
            sum += Duration::from_nanos(time.split(' ').next()?.parse().ok()?);
        }
    }
    Some(sum)
}

//! The loop that speaks with the store.

use std::sync::Arc;
use std::time::Duration;

use sluicegate_core::Timestamp;
use sluicegate_core::sharing::{CALLS_PER_SECOND, Pacing};
use sluicegate_state::Clock as _;
use sluicegate_state::leases::{Attendance, Batch, Ended, Haste, LANES_MAX, LaneSet, Leases};
use sluicegate_state::store::{
    Call, Exchanged, HEARTBEAT_EVERY, Heartbeat, Lane, Presence, Store, StoreError, StoreGeneration,
};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::chronicle::{Chronicle, News};

/// Calls of one lane that may be under way at once: one is answered while the next is on its way, and one more is being made. A key is in
/// one call at a time, so more of them would only queue in the store.
const IN_FLIGHT_MAX: usize = 3;

/// How often a lane that does not answer is asked whether it does: the store's client has a breaker of its own, so most of these
/// cost nothing.
const PROBE_EVERY: Duration = Duration::from_millis(100);

/// The longest that a lane with something due rests while it may not call: a fraction of the shortest wait of a request. What a request
/// waits for while a call is under way, and not a whole call of it, goes with the next: once that is answered, or after so long.
const REST: Duration = Duration::from_micros(500);

/// The shortest and the longest rest of a lane that has made all calls that it may. Half of what a request waits at most, so that nobody
/// who begins to wait meanwhile is found too late.
const PACED_REST: (Duration, Duration) = (Duration::from_micros(50), Duration::from_micros(2_500));

/// For how long what no request waits for is gathered after a call, so that the next carries more of it: a call costs a node as much as a
/// dozen keys. Half of the time that a lease's low water leaves for it; the runtime's timers may make a millisecond more of it.
const GATHER: Duration = Duration::from_millis(1);

/// Batches that are kept for later calls: as many as one lane has under way, and one. A batch takes some 30 KiB, and a store may have a
/// few hundred lanes.
const SPARE_MAX: usize = IN_FLIGHT_MAX + 1;

/// From when on a lane was away for long: nodes renew their permits each second, and hold them for three.
const LONG_AWAY: Duration = Duration::from_secs(1);

/// The longest that the loop sleeps where nothing is due.
const SLEEP_MAX: Duration = Duration::from_millis(250);

/// A lane that has said nothing for so long is asked whether it is there: without traffic a server that is gone would be missed by nobody,
/// since heartbeats go to one of them.
const QUIET: Duration = Duration::from_secs(2);

/// How often one of the quiet lanes is asked, that which has said nothing for the longest: all of a ring of eight within two seconds, while
/// of a cluster's 256 lanes some of each server's are among the first few. So a hundred idle nodes make 400 empty calls a second, a
/// two-hundredth of what a Redis core does.
const QUIET_ASKED_EVERY: Duration = SLEEP_MAX;

/// How long giving everything back at the end may take.
const FAREWELL: Duration = Duration::from_millis(250);

/// What is due so soon is waited for at the end: what was to be given back at once is due at the next tick, and a call that failed is made
/// again after 50 ms.
const SOON: Duration = Duration::from_millis(60);

/// One limiter's side of the conversation.
pub(super) struct Driver<S, T> {
    leases: Arc<Leases>,
    store: S,
    presence: Presence,
    lanes: Vec<LaneState>,
    // Before `attendance`, so that nothing is under way when that ends.
    calls: JoinSet<Finished>,
    _attendance: Attendance,
    spare: Vec<Batch>,
    /// Until when what no request waits for is gathered.
    gathers_until: Timestamp,
    /// When the next heartbeat is due.
    beats_at: Timestamp,
    is_beating: bool,
    /// When the next quiet lane may be asked.
    quiet_asked_at: Timestamp,
    /// Nobody with another secret may be counted with us: until the store agrees, it is not ours.
    is_foreign: bool,
    chronicle: Chronicle,
    tell: T,
}

#[derive(Clone, Copy)]
struct LaneState {
    pace: Pacing,
    in_flight: usize,
    /// Until when what is due waits for the answer to a call under way.
    waits_until: Timestamp,
    /// Whether more was due than the last call could carry.
    has_more: bool,
    probes_at: Timestamp,
    is_probing: bool,
    /// When it was last asked for a sign of life, or gave one.
    heard_at: Timestamp,
    /// Since when it does not answer.
    lost_at: Option<Timestamp>,
}

/// Until when nothing can be done.
struct Rest {
    /// In microseconds of the node's clock.
    until: f64,
    /// Before when what comes to be due is heeded: as `until`, or zero for what is urgent only.
    heeds: f64,
    /// Lanes that may not be asked before then, though something is due in them.
    held_up: LaneSet,
    /// Whether those are all lanes there are, so that nothing that comes to be due changes anything.
    is_deaf: bool,
}

/// What became of the calls that a lane may make.
enum Called {
    /// Nothing was due.
    Nothing,
    /// All that is due is asked.
    Asked,
    /// Something may be left, that is to be looked at again after so long.
    NotYet { span: Duration },
}

/// What has come back.
enum Finished {
    Call {
        batch: Batch,
        result: Result<Exchanged, StoreError>,
        sent_at: Timestamp,
    },
    Probe {
        lane: Lane,
        result: Result<Exchanged, StoreError>,
        sent_at: Timestamp,
    },
    Heartbeat(Result<Heartbeat, StoreError>),
}

impl<S: Store, T: FnMut(News)> Driver<S, T> {
    /// `tell` hears how the node stands with the store, when that changes.
    pub(super) fn new(leases: Arc<Leases>, attendance: Attendance, store: S, presence: Presence, tell: T) -> Self {
        let lanes = usize::from(store.lanes()).clamp(1, LANES_MAX);
        let now = leases.clock().now();
        leases.surroundings().lay_out(store.lanes(), |shard| store.lane(shard));
        Self {
            leases,
            _attendance: attendance,
            store,
            presence,
            lanes: vec![
                LaneState {
                    pace: Pacing::new(micros(now)),
                    in_flight: 0,
                    waits_until: now,
                    has_more: false,
                    probes_at: now,
                    is_probing: false,
                    heard_at: now,
                    lost_at: None,
                };
                lanes
            ],
            calls: JoinSet::new(),
            spare: Vec::new(),
            gathers_until: now,
            beats_at: now,
            is_beating: false,
            quiet_asked_at: now,
            is_foreign: false,
            chronicle: Chronicle::new(now),
            tell,
        }
    }

    /// Speaks with the store until `stopped` ends, then gives everything back.
    pub(super) async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        loop {
            let rest = self.act();
            self.tell_news();
            let leases = Arc::clone(&self.leases);
            let span = Duration::from_micros(whole(rest.until - micros(leases.clock().now())));
            tokio::select! {
                biased;
                _ = &mut stopped => break,
                Some(finished) = self.calls.join_next() => {
                    match finished {
                        Ok(finished) => self.finish(finished),
                        Err(_) => self.start_over(),
                    }
                }
                () = sleep(span) => {}
                // What may not be asked yet is due all the time: to wait for it would be to turn round and round, and never to let the
                // calls under way come to their end.
                () = leases.due_before(rest.heeds, rest.held_up), if !rest.is_deaf => {}
            }
        }
        self.say_farewell().await;
    }

    /// Does all that is due, and says until when nothing will be.
    fn act(&mut self) -> Rest {
        let now = self.leases.clock().now();
        self.leases.expire(now);
        self.beat(now);
        let mut rest = SLEEP_MAX.min(self.beats_at.saturating_since(now)).max(REST);
        for index in 0..self.lanes.len() {
            let lane = Lane(u16::try_from(index).unwrap_or_default());
            if self.is_away(lane) {
                rest = rest.min(self.probe(lane, now));
            }
        }
        self.ask_quiet(now);
        let gathers = now < self.gathers_until;
        let mut held_up = LaneSet::default();
        for (lane, haste) in self.leases.due_lanes(now) {
            let has_more = self.lanes.get(usize::from(lane.0)).is_some_and(|state| state.has_more);
            // Nobody waits for a lane that is away; it is asked again when a probe has found it.
            if self.is_away(lane) {
                held_up.add(lane);
            } else if gathers && haste == Haste::MayGather && !has_more {
                // Until the others' turn comes.
            } else {
                match self.call(lane, now) {
                    Called::NotYet { span } => {
                        held_up.add(lane);
                        rest = rest.min(span);
                    }
                    Called::Asked if !gathers => self.gathers_until = now.saturating_add(GATHER),
                    Called::Asked | Called::Nothing => {}
                }
            }
        }
        self.rest(now, rest, held_up)
    }

    /// Until when nothing can be done, if not by what comes of itself after `span`.
    fn rest(&self, now: Timestamp, span: Duration, mut held_up: LaneSet) -> Rest {
        let mut span = span;
        for (index, state) in (0..).zip(&self.lanes) {
            // Whatever comes to be due there waits as well, and need not wake anybody.
            if state.in_flight > 0 && !state.has_more && now < state.waits_until {
                held_up.add(Lane(index));
                span = span.min(state.waits_until.saturating_since(now));
            }
        }
        let mut lanes = (0..).zip(&self.lanes).map(|(index, _)| Lane(index));
        let is_deaf = lanes.all(|lane| held_up.has(lane));
        let gathers = now < self.gathers_until;
        let due = self.leases.next_due(&held_up);
        let due = if gathers {
            due.max(micros(self.gathers_until))
        } else {
            due
        };
        let mut until = due.min(self.leases.next_late()).min(micros(now.saturating_add(span)));
        if gathers {
            // What comes to be due meanwhile wakes nobody, and is looked for then.
            until = until.min(micros(self.gathers_until));
        }
        Rest {
            until,
            heeds: if gathers { 0.0 } else { until },
            held_up,
            is_deaf,
        }
    }

    fn is_away(&self, lane: Lane) -> bool {
        self.is_foreign || self.leases.surroundings().facts(lane).is_down
    }

    /// Makes the calls of a lane that may be made now.
    fn call(&mut self, lane: Lane, now: Timestamp) -> Called {
        let nodes = self.leases.surroundings().nodes();
        let Some(state) = self.lanes.get_mut(usize::from(lane.0)) else {
            return Called::Nothing;
        };
        let mut called = Called::Nothing;
        loop {
            if state.in_flight > 0 && !state.has_more && now < state.waits_until {
                return Called::NotYet {
                    span: state.waits_until.saturating_since(now),
                };
            }
            if state.in_flight >= IN_FLIGHT_MAX {
                return Called::NotYet { span: REST };
            }
            if !state.pace.take(micros(now), CALLS_PER_SECOND, nodes) {
                let ready_at = state.pace.ready_at(CALLS_PER_SECOND, nodes);
                // What gathers meanwhile need not be looked at: of a hundred nodes each calls once in 5 ms.
                let span = Duration::from_micros(whole(ready_at - micros(now)));
                return Called::NotYet {
                    span: span.clamp(PACED_REST.0, PACED_REST.1),
                };
            }
            let mut batch = self.spare.pop().unwrap_or_default();
            let keys = self.leases.collect(lane, now, &mut batch);
            state.has_more = batch.is_full();
            if keys == 0 {
                state.pace.give_back();
                keep(&mut self.spare, batch);
                return called;
            }
            called = Called::Asked;
            state.in_flight += 1;
            state.waits_until = now.saturating_add(REST);
            let store = self.store.clone();
            self.calls.spawn(async move {
                let result = store.exchange(batch.call()).await;
                Finished::Call {
                    batch,
                    result,
                    sent_at: now,
                }
            });
            if !state.has_more {
                return called;
            }
        }
    }

    /// Asks a lane that is away whether it is back; says when it will be asked again.
    fn probe(&mut self, lane: Lane, now: Timestamp) -> Duration {
        let Some(state) = self.lanes.get_mut(usize::from(lane.0)) else {
            return SLEEP_MAX;
        };
        if state.is_probing || now < state.probes_at {
            return state.probes_at.saturating_since(now).max(REST);
        }
        state.is_probing = true;
        state.probes_at = now.saturating_add(PROBE_EVERY);
        state.heard_at = now;
        let store = self.store.clone();
        self.calls.spawn(async move {
            let call = Call {
                lane,
                generation: None,
                items: &[],
            };
            let result = store.exchange(call).await;
            Finished::Probe {
                lane,
                result,
                sent_at: now,
            }
        });
        PROBE_EVERY
    }

    /// Asks the lane that has said nothing for the longest, if that is long. Those that are away are probed anyway.
    fn ask_quiet(&mut self, now: Timestamp) {
        if now < self.quiet_asked_at {
            return;
        }
        self.quiet_asked_at = now.saturating_add(QUIET_ASKED_EVERY);
        let lanes = (0..).map(Lane).zip(&self.lanes);
        let quiet = lanes.filter(|(lane, state)| {
            let is_quiet = state.in_flight == 0 && now.saturating_since(state.heard_at) >= QUIET;
            is_quiet && !self.is_away(*lane)
        });
        if let Some((lane, _)) = quiet.min_by_key(|(_, state)| state.heard_at) {
            let _ = self.probe(lane, now);
        }
    }

    fn beat(&mut self, now: Timestamp) {
        if self.is_beating || now < self.beats_at {
            return;
        }
        self.is_beating = true;
        self.beats_at = now.saturating_add(HEARTBEAT_EVERY);
        let (store, presence) = (self.store.clone(), self.presence);
        self.calls
            .spawn(async move { Finished::Heartbeat(store.heartbeat(presence).await) });
    }

    fn finish(&mut self, finished: Finished) {
        let now = self.leases.clock().now();
        match finished {
            Finished::Call {
                mut batch,
                result,
                sent_at,
            } => {
                let lane = batch.call().lane;
                if let Some(state) = self.lanes.get_mut(usize::from(lane.0)) {
                    state.in_flight -= 1;
                }
                self.learn(lane, &result, sent_at, now);
                let ended = match &result {
                    Ok(Exchanged::Done { answers, .. }) => Ended::Answered(answers),
                    Ok(Exchanged::Changed { .. }) => Ended::Changed,
                    Err(error) if error.is_undone() => Ended::Undone,
                    Err(_) => Ended::Unknown,
                };
                self.leases.complete(&mut batch, ended, now);
                keep(&mut self.spare, batch);
            }
            Finished::Probe { lane, result, sent_at } => {
                if let Some(state) = self.lanes.get_mut(usize::from(lane.0)) {
                    state.is_probing = false;
                }
                self.learn(lane, &result, sent_at, now);
                self.chronicle.look_soon();
            }
            Finished::Heartbeat(result) => {
                self.is_beating = false;
                if result.is_err() {
                    // A store that nobody asks anything goes away unseen otherwise, and one that is just met would be known a second late.
                    self.beats_at = self.beats_at.min(now.saturating_add(PROBE_EVERY));
                    for lane in 0..self.lanes.len() {
                        let _ = self.probe(Lane(u16::try_from(lane).unwrap_or_default()), now);
                    }
                }
                if let Ok(heartbeat) = result {
                    self.leases.surroundings().count_nodes(heartbeat.nodes);
                    self.leases.surroundings().set_foreign(!heartbeat.same_secret);
                    self.is_foreign = !heartbeat.same_secret;
                    self.chronicle.look_soon();
                }
            }
        }
    }

    /// A call has panicked, which is a defect of the store's: nobody can tell any more whose it was, so that all of them count as lost.
    fn start_over(&mut self) {
        let now = self.leases.clock().now();
        self.calls = JoinSet::new();
        self.is_beating = false;
        for state in &mut self.lanes {
            state.in_flight = 0;
            state.has_more = false;
            state.is_probing = false;
            state.lost_at = Some(now);
            // Not before the next probe: it may panic again.
            state.probes_at = now.saturating_add(PROBE_EVERY);
        }
        self.leases.part(now);
    }

    /// Learns from an answer, or from there being none, how the lane does.
    fn learn(&mut self, lane: Lane, result: &Result<Exchanged, StoreError>, sent_at: Timestamp, now: Timestamp) {
        if let (Ok(_), Some(state)) = (result, self.lanes.get_mut(usize::from(lane.0))) {
            state.heard_at = now;
        }
        let was_long_away = result.is_ok() && self.was_long_away(lane, now);
        let surroundings = self.leases.surroundings();
        let generation: StoreGeneration = match result {
            Ok(Exchanged::Done { generation, .. } | Exchanged::Changed { generation }) => *generation,
            Err(_) => {
                if surroundings.lost(lane)
                    && let Some(state) = self.lanes.get_mut(usize::from(lane.0))
                {
                    state.lost_at = Some(now);
                    self.leases.dismiss(lane, now);
                }
                return;
            }
        };
        let before = surroundings.facts(lane);
        let holds_other_data = before.generation.is_some_and(|known| known != generation);
        if was_long_away || holds_other_data {
            surroundings.changed(lane, micros(now));
        }
        let round_trip = micros(now) - micros(sent_at);
        if surroundings.answered(lane, round_trip, generation) && !self.is_foreign {
            self.leases.wake(lane, now);
        }
    }

    /// Whether the lane answers for the first time after so long that parts of permits may have ended.
    fn was_long_away(&mut self, lane: Lane, now: Timestamp) -> bool {
        let state = self.lanes.get_mut(usize::from(lane.0));
        let lost_at = state.and_then(|state| state.lost_at.take());
        lost_at.is_some_and(|lost_at| now.saturating_since(lost_at) > LONG_AWAY)
    }

    /// Not at every turn of the loop, of which there may be thousands in a second, each with hundreds of lanes to look at.
    fn tell_news(&mut self) {
        let now = self.leases.clock().now();
        if !self.chronicle.is_due(now) {
            return;
        }
        let standing = self.leases.surroundings().standing();
        let nodes = nodes(&self.leases);
        if let Some(news) = self.chronicle.look(standing, nodes, now) {
            (self.tell)(news);
        }
    }

    /// Whether something is due, or is about to be, that a lane can be told.
    fn has_more_to_say(&self) -> bool {
        let soon = self.leases.clock().now().saturating_add(SOON);
        self.leases.due_lanes(soon).any(|(lane, _)| !self.is_away(lane))
    }

    /// Gives back what this node holds, as far as the store takes it in time.
    async fn say_farewell(mut self) {
        let now = self.leases.clock().now();
        for lane in 0..self.lanes.len() {
            self.leases.retire(Lane(u16::try_from(lane).unwrap_or_default()), now);
        }
        let give_back = async {
            loop {
                let Rest { held_up, .. } = self.act();
                if self.calls.is_empty() && held_up.is_empty() && !self.has_more_to_say() {
                    return;
                }
                tokio::select! {
                    Some(finished) = self.calls.join_next() => match finished {
                        Ok(finished) => self.finish(finished),
                        Err(_) => return,
                    },
                    // More than may be said at once, or what is due in a moment.
                    () = sleep(REST) => {}
                }
            }
        };
        let _ = tokio::time::timeout(FAREWELL, give_back).await;
    }
}

/// Nodes that share limits, as a whole number of them.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and is at least one"
)]
fn nodes(leases: &Leases) -> u32 {
    leases.surroundings().nodes().round() as u32
}

#[expect(clippy::cast_precision_loss, reason = "2⁵³ µs are 285 years")]
fn micros(time: Timestamp) -> f64 {
    (time.as_nanos() / 1_000) as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and is not negative"
)]
fn whole(micros: f64) -> u64 {
    micros.max(0.0) as u64
}

/// Keeps a batch for a later call.
fn keep(spare: &mut Vec<Batch>, batch: Batch) {
    if spare.len() < SPARE_MAX {
        spare.push(batch);
    }
}

//! The mirror: what this process knows of the revocations of all nodes, and whether it may rely on that.
//!
//! *Live*: the subscription stands and the table has been compared since. Then the shared tier is read, and every slot's
//! shared clock judges what comes from there. *Blind*: something may have been missed. Then the shared tier is neither
//! read nor written, and what is kept here counts as fresh for a short while only.
//!
//! It must never take a revocation back, and never become live while a reason for doubt has come up since it last asked.
//! It asks nobody itself: `follow.rs` feeds it. Knowing less than is true is harmless: it costs loads.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use metrics::{Counter, Gauge, counter, gauge};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::stamp::{Bulletin, Stamp, Table};
use crate::{
    cache::{
        revocations::Revocations,
        slots::{SLOTS, Slot},
    },
    model::{Clock, Timestamp},
    store::NodeId,
};

/// `blind_since` of a node that is not.
const SEES: i64 = i64::MAX;
/// More than any clock: a table that is asked about it starts a new epoch.
const NO_CLOCK: u64 = 1 << 53;

pub(in crate::cache) struct Mirror {
    revocations: Arc<Revocations>,
    node: NodeId,
    clock: Clock,
    blind_fresh: Duration,
    known: Mutex<Known>,
    /// In ms since 1970, or [`SEES`]. Apart from the rest because every hit in memory asks.
    blind_since: AtomicI64,
    /// This node has found out that it misses something, or owes something.
    behind: Notify,
    meters: Meters,
}

/// How much of the others this node takes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    /// Messages do not arrive.
    Deaf,
    /// They do, and something before them may have been missed.
    Unsure,
    /// Nothing is missing.
    Live,
}

struct Known {
    stamp: Option<Stamp>,
    /// The shared clock of each slot's latest revocation.
    clocks: Box<[u64]>,
    /// Slots that were revoked here and of which Redis has not confirmed to know, with the debt that they belong to.
    owed: HashMap<Slot, u64>,
    debts: u64,
    /// Some debt failed to be paid and nobody is paying it.
    overdue: bool,
    sight: Sight,
    /// The table has lost steps of its clock, or will have.
    distrusted: bool,
    /// Counts the reasons for doubt, so that one which comes up during a comparison outlasts it.
    doubts: u64,
}

struct Meters {
    live: Gauge,
    owed: Gauge,
    from_here: Counter,
    from_there: Counter,
    reconciled: Counter,
}

/// Revocations that Redis is being told of. Dropped without [`Mirror::settle`], they remain owed.
pub(super) struct Debt<'m> {
    mirror: &'m Mirror,
    number: u64,
    slots: Vec<Slot>,
    paid: bool,
}

/// What a comparison with Redis begins with.
pub(super) struct Question {
    pub(super) known: Stamp,
    pub(super) owed: Vec<Slot>,
    debts: u64,
    doubts: u64,
}

/// What the mirror says about an entry from the shared tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache) enum Verdict {
    /// It was not revoked, as far as is known here.
    Alive,
    /// The same, and it is stamped later than anything known here.
    Ahead,
    /// It was revoked.
    Dead,
}

impl Mirror {
    pub(super) fn new(revocations: Arc<Revocations>, node: NodeId, clock: Clock, blind_fresh: Duration) -> Self {
        let known = Known {
            stamp: None,
            clocks: vec![0; SLOTS].into(),
            owed: HashMap::new(),
            debts: 0,
            overdue: false,
            sight: Sight::Deaf,
            distrusted: false,
            doubts: 0,
        };
        let revoked = |origin: &'static str| counter!("tidegate_cache_revocations_total", "origin" => origin);
        let meters = Meters {
            live: gauge!("tidegate_cache_mirror_live"),
            owed: gauge!("tidegate_cache_owed_revocations"),
            from_here: revoked("here"),
            from_there: revoked("there"),
            reconciled: counter!("tidegate_cache_reconciled_slots_total"),
        };
        let blind_since = AtomicI64::new(clock.now().timestamp_millis());
        Self {
            revocations,
            node,
            clock,
            blind_fresh,
            known: Mutex::new(known),
            blind_since,
            behind: Notify::new(),
            meters,
        }
    }

    /// The mirror of a process that shares nothing and therefore misses nothing.
    pub(super) fn of_one(revocations: Arc<Revocations>) -> Self {
        let mirror = Self::new(revocations, NodeId(0), Clock::system(), Duration::ZERO);
        mirror.blind_since.store(SEES, Ordering::Release);
        mirror
    }

    /// Whether what was seen at `seen_at` may still count as fresh: always while the mirror is live, and for a short
    /// while after it, or after the beginning of blindness, when it is not.
    pub(in crate::cache) fn vouches(&self, seen_at: Timestamp, now: Timestamp) -> bool {
        let since = self.blind_since.load(Ordering::Acquire);
        if since == SEES {
            return true;
        }
        let grace = i64::try_from(self.blind_fresh.as_millis()).unwrap_or(i64::MAX);
        now.timestamp_millis() < since.max(seen_at.timestamp_millis()).saturating_add(grace)
    }

    pub(in crate::cache) fn is_live(&self) -> bool {
        self.known.lock().sight == Sight::Live
    }

    /// The latest point of the shared clock that is known here; older than the truth, or the truth.
    pub(in crate::cache) fn stamp(&self) -> Option<Stamp> {
        self.known.lock().stamp
    }

    /// Judges an entry that was stamped so, by its slots; `None` while blind.
    pub(in crate::cache) fn judge(&self, stamp: Stamp, slots: &[Slot]) -> Option<Verdict> {
        let known = self.known.lock();
        let here = known.stamp.filter(|_| known.sight == Sight::Live)?;
        let revoked = |slot: &Slot| known.clocks[usize::from(*slot)] > stamp.clock || known.owed.contains_key(slot);
        Some(if stamp.epoch != here.epoch || slots.iter().any(revoked) {
            Verdict::Dead
        } else if stamp.clock > here.clock {
            Verdict::Ahead
        } else {
            Verdict::Alive
        })
    }

    /// Whether Redis has yet to be told of something.
    #[cfg(test)]
    pub(in crate::cache) fn owes(&self) -> bool {
        !self.known.lock().owed.is_empty()
    }

    /// Asks for a comparison now.
    #[cfg(test)]
    pub(in crate::cache) fn doubt_now(&self) {
        self.behind.notify_one();
    }

    /// Waits until this node finds out that it should compare.
    pub(super) async fn behind(&self) {
        self.behind.notified().await;
    }

    /// Revokes slots for this process only.
    pub(in crate::cache) fn revoke_here(&self, slots: &[Slot]) {
        for slot in slots {
            self.revocations.revoke(*slot);
        }
    }

    /// Revokes slots here, and notes that Redis is to be told.
    ///
    /// The debt comes first: an entry from the shared tier that is judged in between must find either that or a later
    /// moment against it.
    pub(super) fn owe(&self, slots: Vec<Slot>) -> Debt<'_> {
        let mut known = self.known.lock();
        known.debts += 1;
        let number = known.debts;
        known.owed.extend(slots.iter().map(|slot| (*slot, number)));
        self.show(&known);
        drop(known);
        self.revoke_here(&slots);
        Debt { mirror: self, number, slots, paid: false }
    }

    /// Redis knows of the debt since `stamp`.
    pub(super) fn settle(&self, mut debt: Debt<'_>, stamp: Stamp) {
        debt.paid = true;
        let mut known = self.known.lock();
        for slot in &debt.slots {
            // Owed again meanwhile, it is another debt.
            if known.owed.get(slot) == Some(&debt.number) {
                known.owed.remove(slot);
            }
        }
        self.confirm(&mut known, &debt.slots, stamp);
    }

    /// Takes note of a revocation of this node that Redis has confirmed.
    fn confirm(&self, known: &mut Known, slots: &[Slot], stamp: Stamp) {
        let Some(here) = known.stamp.filter(|here| here.epoch == stamp.epoch) else {
            self.doubt(known);
            self.behind.notify_one();
            return;
        };
        // A step that was taken before must have left its mark; a table that takes it again has forgotten some.
        let repeats = |slot: &Slot| known.clocks[usize::from(*slot)] < stamp.clock;
        if stamp.clock <= here.clock && slots.iter().any(repeats) {
            known.distrusted = true;
            self.doubt(known);
            self.behind.notify_one();
            return;
        }
        let is_next = stamp.clock == here.clock + 1;
        for slot in slots {
            let is_news = known.raise(*slot, stamp.clock);
            // This step now stands in the slot for those unseen before it, so it takes their effect here as well.
            if is_news && !is_next {
                self.revocations.revoke(*slot);
            }
            self.meters.from_here.increment(1);
        }
        if is_next {
            known.stamp = Some(stamp);
        }
        self.show(known);
    }

    /// Takes in what another node, or this one, has published. False when something is missing before it.
    pub(super) fn hear(&self, bulletin: &Bulletin) -> bool {
        let Bulletin { node, stamp, slots } = bulletin;
        let mut known = self.known.lock();
        let Some(here) = known.stamp else { return true };
        if stamp.epoch < here.epoch || (stamp.epoch == here.epoch && stamp.clock <= here.clock) {
            return true;
        }
        if stamp.epoch > here.epoch {
            self.doubt(&mut known);
            return false;
        }
        let is_next = stamp.clock == here.clock + 1;
        for slot in slots {
            let is_news = known.raise(*slot, stamp.clock);
            // Its own steps have taken effect here before they were sent, but not those unseen in between.
            if is_news && !(is_next && *node == self.node) {
                self.revocations.revoke(*slot);
                self.meters.from_there.increment(1);
            }
        }
        if !is_next {
            self.doubt(&mut known);
            return false;
        }
        known.stamp = Some(*stamp);
        true
    }

    /// Messages arrive from now on.
    pub(super) fn subscribed(&self) {
        let mut known = self.known.lock();
        if known.sight == Sight::Deaf {
            known.sight = Sight::Unsure;
        }
    }

    /// Messages may be missed from now on.
    pub(super) fn lost(&self) {
        let mut known = self.known.lock();
        self.doubt(&mut known);
        known.sight = Sight::Deaf;
    }

    /// Redis could not be asked.
    pub(super) fn unanswered(&self, question: &Question) {
        let mut known = self.known.lock();
        known.overdue |= !question.owed.is_empty();
        self.doubt(&mut known);
    }

    /// Begins a comparison: what to tell Redis, and what to ask it.
    pub(super) fn question(&self) -> Question {
        let mut known = self.known.lock();
        let overdue = std::mem::take(&mut known.overdue);
        let owed = if overdue { known.owed.keys().copied().collect() } else { Vec::new() };
        let mut stamp = known.stamp.unwrap_or(Stamp { epoch: 0, clock: 0 });
        if known.distrusted {
            stamp.clock = NO_CLOCK;
        }
        Question { known: stamp, owed, debts: known.debts, doubts: known.doubts }
    }

    /// Redis knows since `stamp` of these slots, which the question said were owed.
    pub(super) fn repaid(&self, question: &Question, slots: &[Slot], stamp: Stamp) {
        let mut known = self.known.lock();
        for slot in slots {
            // What was owed again meanwhile, somebody else is paying.
            if known.owed.get(slot).is_some_and(|debt| *debt <= question.debts) {
                known.owed.remove(slot);
            }
        }
        self.confirm(&mut known, slots, stamp);
    }

    /// Takes the answer in. True when the mirror is live with it.
    pub(super) fn reconcile(&self, question: &Question, table: &Table) -> bool {
        let mut known = self.known.lock();
        match known.stamp {
            Some(here) if here.epoch > table.stamp.epoch => {}
            Some(here) if here.epoch == table.stamp.epoch => {
                known.stamp = Some(here.max(table.stamp));
                for (slot, clock) in &table.revoked {
                    if known.raise(*slot, *clock) {
                        self.revocations.revoke(*slot);
                        self.meters.reconciled.increment(1);
                    }
                }
            }
            // What was revoked between the epochs cannot be known.
            _ => {
                known.stamp = Some(table.stamp);
                known.distrusted = false;
                known.clocks.fill(0);
                for (slot, clock) in &table.revoked {
                    known.raise(*slot, *clock);
                }
                self.revocations.revoke_everything();
            }
        }
        let is_sure = !known.overdue && !known.distrusted && known.doubts == question.doubts;
        if is_sure && known.sight == Sight::Unsure {
            known.sight = Sight::Live;
            self.blind_since.store(SEES, Ordering::Release);
            tracing::info!("cache follows the other nodes");
        }
        self.show(&known);
        known.sight == Sight::Live
    }

    /// Goes blind, if it is not.
    fn doubt(&self, known: &mut Known) {
        known.doubts += 1;
        if known.sight == Sight::Live {
            known.sight = Sight::Unsure;
            self.blind_since.store(self.clock.now().timestamp_millis(), Ordering::Release);
            tracing::warn!("cache may miss what other nodes revoke");
        }
        self.show(known);
    }

    #[expect(clippy::cast_precision_loss, reason = "there are fewer slots than 2^52")]
    fn show(&self, known: &Known) {
        self.meters.live.set(f64::from(u8::from(known.sight == Sight::Live)));
        self.meters.owed.set(known.owed.len() as f64);
    }
}

impl Debt<'_> {
    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }
}

impl Known {
    /// Notes a revocation; whether that is news.
    fn raise(&mut self, slot: Slot, clock: u64) -> bool {
        let place = &mut self.clocks[usize::from(slot)];
        let is_news = *place < clock;
        *place = clock.max(*place);
        is_news
    }
}

impl Drop for Debt<'_> {
    fn drop(&mut self) {
        if !self.paid {
            let mut known = self.mirror.known.lock();
            known.overdue = true;
            self.mirror.doubt(&mut known);
            self.mirror.behind.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: NodeId = NodeId(1);
    const THERE: NodeId = NodeId(2);

    fn at(clock: u64) -> Stamp {
        Stamp { epoch: 9, clock }
    }

    fn told(node: NodeId, clock: u64, slot: Slot) -> Bulletin {
        Bulletin { node, stamp: at(clock), slots: vec![slot] }
    }

    fn answer(mirror: &Mirror, stamp: Stamp, revoked: &[(Slot, u64)]) -> bool {
        mirror.reconcile(&mirror.question(), &Table { stamp, revoked: revoked.to_vec() })
    }

    /// A mirror that is live and knows five steps.
    fn live() -> Mirror {
        let clock = Clock::stepped_from(Timestamp::UNIX_EPOCH);
        let mirror = Mirror::new(Arc::new(Revocations::new()), HERE, clock, Duration::from_secs(2));
        mirror.subscribed();
        assert!(answer(&mirror, at(5), &[]));
        mirror
    }

    /// Whether what is loaded before `event` is dead after it.
    fn kills(mirror: &Mirror, slot: Slot, event: impl FnOnce()) -> bool {
        let moment = mirror.revocations.tick();
        event();
        mirror.revocations.revoked(&[slot], moment)
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_live_once_it_hears_and_has_compared() {
        let clock = Clock::stepped_from(Timestamp::UNIX_EPOCH);
        let mirror = Mirror::new(Arc::new(Revocations::new()), HERE, clock, Duration::from_secs(2));
        assert!(!answer(&mirror, at(5), &[]) && !mirror.is_live(), "it hears nothing yet");
        mirror.subscribed();
        let asked = mirror.question();
        mirror.lost();
        mirror.subscribed();
        assert!(!mirror.reconcile(&asked, &Table { stamp: at(5), revoked: vec![] }), "lost since it asked");
        assert!(answer(&mirror, at(5), &[]) && mirror.is_live());
    }

    #[tokio::test(start_paused = true)]
    async fn steps_take_effect_once_and_gaps_are_noticed() {
        let mirror = live();
        assert!(kills(&mirror, 7, || assert!(mirror.hear(&told(THERE, 6, 7)))));
        assert!(!kills(&mirror, 7, || assert!(mirror.hear(&told(THERE, 6, 7)))), "doubled");
        assert!(mirror.is_live() && mirror.stamp() == Some(at(6)));
        assert!(kills(&mirror, 8, || assert!(!mirror.hear(&told(THERE, 8, 8)))), "a gap before it");
        assert!(!mirror.is_live() && mirror.stamp() == Some(at(6)));
        assert!(kills(&mirror, 9, || assert!(answer(&mirror, at(8), &[(9, 7), (8, 8)]))));
        assert!(!kills(&mirror, 9, || assert!(answer(&mirror, at(8), &[]))));
    }

    #[tokio::test(start_paused = true)]
    async fn its_own_steps_take_effect_before_they_are_sent_and_not_again() {
        let mirror = live();
        let mut debt = None;
        assert!(kills(&mirror, 7, || debt = Some(mirror.owe(vec![7]))));
        assert_eq!(mirror.judge(at(5), &[7]), Some(Verdict::Dead), "owed");
        assert!(!kills(&mirror, 7, || mirror.settle(debt.unwrap(), at(6))));
        assert_eq!(mirror.judge(at(5), &[7]), Some(Verdict::Dead));
        assert_eq!(mirror.judge(at(6), &[7]), Some(Verdict::Alive));
        assert!(!kills(&mirror, 7, || assert!(mirror.hear(&told(HERE, 6, 7)))));
    }

    /// Found by the interleavings: the table would tell of the last step in a slot only, which is known.
    #[tokio::test(start_paused = true)]
    async fn its_own_step_does_not_hide_one_that_it_has_not_heard() {
        let mirror = live();
        let debt = mirror.owe(vec![7]);
        assert!(kills(&mirror, 7, || mirror.settle(debt, at(7))), "step 6 may have been about the same slot");
        let deaf = live();
        assert!(kills(&deaf, 7, || assert!(!deaf.hear(&told(HERE, 7, 7)))));
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_told_is_told_before_it_is_live_again() {
        let mirror = live();
        drop(mirror.owe(vec![7]));
        assert!(!mirror.is_live());
        let asked = mirror.question();
        assert_eq!(asked.owed, [7]);
        mirror.unanswered(&asked);
        let asked = mirror.question();
        assert_eq!(asked.owed, [7], "still");
        mirror.repaid(&asked, &[7], at(6));
        assert!(mirror.reconcile(&asked, &Table { stamp: at(6), revoked: vec![] }) && !mirror.owes());
    }

    #[tokio::test(start_paused = true)]
    async fn another_epoch_ends_everything() {
        let mirror = live();
        let later = Stamp { epoch: 10, clock: 1 };
        assert!(!mirror.hear(&Bulletin { node: THERE, stamp: later, slots: vec![] }) && !mirror.is_live());
        let everything = slots_of_a_cache();
        assert!(kills(&mirror, everything, || assert!(answer(&mirror, later, &[]))));
        assert_eq!(mirror.judge(at(5), &[7]), Some(Verdict::Dead), "of the epoch before");
        assert!(mirror.hear(&told(THERE, 6, 7)), "a late message of it says nothing");
        assert!(mirror.is_live());
    }

    fn slots_of_a_cache() -> Slot {
        crate::cache::slots::of_cache("prices")
    }

    /// A replica that took over knows less than it told.
    #[tokio::test(start_paused = true)]
    async fn a_clock_that_goes_back_is_not_believed() {
        let mirror = live();
        let debt = mirror.owe(vec![7]);
        mirror.settle(debt, at(4));
        assert!(!mirror.is_live());
        assert!(mirror.question().known.clock > 1 << 50, "whatever it knows, it must begin anew");
        assert!(answer(&mirror, Stamp { epoch: 10, clock: 0 }, &[]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_blind_mirror_vouches_for_a_short_while_only() {
        let mirror = live();
        let at = |ms| Timestamp::from_timestamp_millis(ms).unwrap();
        tokio::time::advance(Duration::from_secs(100)).await;
        assert!(mirror.vouches(at(0), at(100_000)));
        mirror.lost();
        assert!(mirror.vouches(at(0), at(101_999)) && !mirror.vouches(at(0), at(102_000)));
        assert!(mirror.vouches(at(101_000), at(102_999)) && !mirror.vouches(at(101_000), at(103_000)));
        assert_eq!(mirror.judge(Stamp { epoch: 9, clock: 5 }, &[]), None);
        mirror.subscribed();
        assert!(answer(&mirror, Stamp { epoch: 9, clock: 5 }, &[]) && mirror.vouches(at(0), at(110_000)));
    }
}

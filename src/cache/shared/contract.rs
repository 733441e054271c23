//! What the other side of the shared tier must do, as a list of checks that names nothing of this crate.
//!
//! The model passes it in `model.rs`, and Redis in `tests/it/cache_contract.rs`, which includes this file: so what the
//! interleavings prove over the model holds for the scripts.

use std::time::Duration;

/// Two nodes' way to a tier that nobody else uses.
pub(crate) trait Tier {
    /// Epoch and clock.
    async fn revoke(&mut self, slots: &[u16]) -> (u64, u64);
    /// Epoch, clock, then slots and clocks in any order of the pairs.
    async fn table(&mut self, known: (u64, u64)) -> Vec<u64>;
    /// The next message, without its first word, which names the node.
    async fn heard(&mut self) -> String;
    async fn put(&mut self, name: &str, envelope: &[u8], keep: Duration) -> bool;
    async fn get(&mut self, name: &str) -> Option<Vec<u8>>;
    /// As node 0 or 1.
    async fn claim(&mut self, node: usize, name: &str, keep: Duration) -> bool;
    async fn is_claimed(&mut self, name: &str) -> bool;
    async fn release(&mut self, node: usize, name: &str);
    /// `FLUSHALL`.
    async fn forget_everything(&mut self);
    async fn pass(&mut self, time: Duration);
}

const LONG: Duration = Duration::from_mins(1);
const SHORT: Duration = Duration::from_millis(50);

pub(crate) async fn check(tier: &mut impl Tier) {
    the_clock_counts_revocations_and_tells_them(tier).await;
    the_table_tells_what_was_missed(tier).await;
    a_lost_table_begins_a_later_epoch(tier).await;
    a_table_that_knows_less_than_a_node_begins_a_later_epoch(tier).await;
    a_put_never_goes_back(tier).await;
    values_end(tier).await;
    a_claim_is_one_nodes_until_it_ends(tier).await;
}

async fn the_clock_counts_revocations_and_tells_them(tier: &mut impl Tier) {
    let (epoch, clock) = tier.revoke(&[3]).await;
    assert_eq!(clock, 1);
    assert_eq!(tier.heard().await, format!("{epoch} 1 3"));
    assert_eq!(tier.revoke(&[3, 20_543]).await, (epoch, 2));
    assert_eq!(tier.heard().await, format!("{epoch} 2 3 20543"), "one message for all slots of a step");
}

async fn the_table_tells_what_was_missed(tier: &mut impl Tier) {
    let (epoch, clock) = tier.revoke(&[0]).await;
    tier.heard().await;
    assert_eq!((clock, sorted(&tier.table((epoch, 3)).await)), (3, (epoch, 3, vec![])), "nothing");
    assert_eq!(sorted(&tier.table((epoch, 2)).await), (epoch, 3, vec![(0, 3)]));
    let all = vec![(0, 3), (3, 2), (20_543, 2)];
    assert_eq!(sorted(&tier.table((epoch, 0)).await), (epoch, 3, all.clone()));
    assert_eq!(sorted(&tier.table((0, 0)).await), (epoch, 3, all.clone()), "a node that knows nothing");
    assert_eq!(sorted(&tier.table((epoch - 1, 9)).await), (epoch, 3, all), "clocks of another epoch count for nothing");
}

async fn a_lost_table_begins_a_later_epoch(tier: &mut impl Tier) {
    let (old, clock) = tier.revoke(&[1]).await;
    tier.heard().await;
    tier.forget_everything().await;
    let (new, first) = tier.revoke(&[2]).await;
    assert!(new > old && first == 1, "{old} {clock} → {new} {first}");
    assert_eq!(tier.heard().await, format!("{new} 1 2"));
    tier.forget_everything().await;
    let (newest, clock, slots) = sorted(&tier.table((new, 1)).await);
    assert!(newest > new && (clock, slots) == (0, vec![]), "asking is enough to begin it");
    assert_eq!(tier.heard().await, format!("{newest} 0"), "and everybody is told");
}

async fn a_table_that_knows_less_than_a_node_begins_a_later_epoch(tier: &mut impl Tier) {
    let (epoch, clock) = tier.revoke(&[1]).await;
    tier.heard().await;
    for known in [(epoch, clock + 1), (epoch + 3_600_000_000, 0)] {
        let (renewed, clock, slots) = sorted(&tier.table(known).await);
        assert!(renewed > known.0 && (clock, slots) == (0, vec![]), "{known:?} → {renewed} {clock}");
        assert_eq!(tier.heard().await, format!("{renewed} 0"));
    }
}

async fn a_put_never_goes_back(tier: &mut impl Tier) {
    let first = envelope(1, (5, 5), 5, b"first");
    assert!(tier.put("a", &first, LONG).await);
    assert_eq!(tier.get("a").await, Some(first.clone()));
    for (stamp, created, kept) in [
        ((4, 9), 9, false),
        ((5, 4), 9, false),
        ((5, 5), 4, false),
        ((5, 5), 5, true),
        ((5, 5), 6, true),
        // Each byte counts, from the highest down.
        ((5, 256), 0, true),
        ((5, 255), 9, false),
        ((1 << 40, 0), 0, true),
        ((255, u64::MAX), 9, false),
    ] {
        let next = envelope(1, stamp, created, b"next");
        assert_eq!(tier.put("a", &next, LONG).await, kept, "{stamp:?} {created}");
        assert_eq!(tier.get("a").await == Some(next), kept, "{stamp:?} {created}");
    }
    let other_format = envelope(2, (0, 0), 0, b"");
    assert!(tier.put("a", &other_format, LONG).await, "what cannot be compared is overwritten");
    assert!(tier.put("a", &first, LONG).await, "both ways");
    assert!(tier.put("b", &other_format[..3], LONG).await && tier.put("b", &first, LONG).await, "so is a fragment");
}

async fn values_end(tier: &mut impl Tier) {
    let value = envelope(1, (9, 9), 9, b"ends");
    assert!(tier.put("ends", &value, SHORT).await);
    tier.pass(SHORT).await;
    assert_eq!(tier.get("ends").await, None);
    assert!(tier.put("ends", &envelope(1, (1, 1), 1, b"older"), LONG).await, "and are forgotten");
}

async fn a_claim_is_one_nodes_until_it_ends(tier: &mut impl Tier) {
    assert!(!tier.is_claimed("c").await && tier.claim(0, "c", LONG).await);
    assert!(!tier.claim(1, "c", LONG).await && !tier.claim(0, "c", LONG).await && tier.is_claimed("c").await);
    tier.release(1, "c").await;
    assert!(tier.is_claimed("c").await, "only its node gives it up");
    tier.release(0, "c").await;
    assert!(tier.claim(1, "c", SHORT).await);
    tier.pass(SHORT).await;
    assert!(!tier.is_claimed("c").await && tier.claim(0, "c", LONG).await);
    tier.release(1, "c").await;
    assert!(tier.is_claimed("c").await, "a claim that has ended is not its node's any more");
}

/// The head of an envelope, as far as the tier looks at it, and something behind it.
fn envelope(format: u8, (epoch, clock): (u64, u64), created: u64, rest: &[u8]) -> Vec<u8> {
    let head = [epoch, clock, created].map(u64::to_be_bytes).concat();
    [&[format, 0, 1, 0][..], &head, rest].concat()
}

fn sorted(answer: &[u64]) -> (u64, u64, Vec<(u64, u64)>) {
    let mut pairs: Vec<_> = answer[2..].chunks(2).map(|pair| (pair[0], pair[1])).collect();
    pairs.sort_unstable();
    (answer[0], answer[1], pairs)
}

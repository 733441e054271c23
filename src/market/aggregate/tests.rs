//! What aggregation promises, by example and by property.

use proptest::prelude::*;

use super::{
    quantile::{Weighted, quantile},
    *,
};
use crate::{
    market::Catalogue,
    model::{AssetId, parse_decimal},
};

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn dec(text: &str) -> Decimal {
    parse_decimal(text).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_timestamp(1_800_000_000, 0).unwrap()
}

fn rules() -> Rules {
    (&MarketConfig::defaults()).into()
}

fn bitcoin() -> Coin {
    Catalogue::embedded().coin(&AssetId::new("bitcoin").unwrap())
}

fn unlisted() -> Coin {
    Catalogue::embedded().coin(&AssetId::new("obscure-coin").unwrap())
}

fn seat(place: usize) -> Seat {
    Seat { name: NAMES[place], weight: Decimal::ONE, max_age: TimeDelta::seconds(60), simulated: false }
}

fn observation(amount: Decimal) -> Observation {
    Observation {
        amount: Some(amount),
        observed_at: now(),
        change24h: None,
        uncertainty: Decimal::ZERO,
        trust: Decimal::ONE,
    }
}

fn votes(answers: Vec<Answer>) -> Vec<Vote> {
    answers.into_iter().enumerate().map(|(place, answer)| Vote { seat: seat(place), answer }).collect()
}

fn quotes(amounts: &[Decimal]) -> Vec<Vote> {
    votes(amounts.iter().map(|amount| Answer::Quote(observation(*amount))).collect())
}

fn weigh_up(votes: &[Vote], last: Option<&Price>) -> Verdict {
    weigh(&bitcoin(), votes, last, now(), &rules())
}

fn priced(verdict: Verdict) -> Price {
    match verdict {
        Verdict::Priced(price) => price,
        other => panic!("{other:?}"),
    }
}

fn reasons(sources: &[SourcePrice]) -> Vec<Option<RejectReason>> {
    sources.iter().map(|source| source.reject_reason).collect()
}

/// The last price, of that many seconds ago.
fn last(amount: &str, age: i64) -> Price {
    let amount = dec(amount);
    Price { as_of: now() - TimeDelta::seconds(age), ..priced(weigh_up(&quotes(&[amount, amount]), None)) }
}

fn timed_out() -> Answer {
    Answer::Failed(CallError::Timeout)
}

#[test]
fn quotes_that_agree_make_their_median() {
    for (amounts, expected) in [
        (vec!["100", "101"], "100.5"),
        (vec!["100", "100.1", "100.4"], "100.1"),
        (vec!["100", "100.1", "100.2", "100.4"], "100.15"),
        (vec!["67187.3358936566", "67187.3358936566"], "67187.3358936566"),
        (vec!["0.00000000012", "0.00000000012"], "0.00000000012"),
    ] {
        let amounts: Vec<Decimal> = amounts.into_iter().map(dec).collect();
        let price = priced(weigh_up(&quotes(&amounts), None));
        assert_eq!((price.amount, price.stale), (dec(expected), false), "{amounts:?}");
        assert!(price.confidence.low <= price.amount && price.amount <= price.confidence.high);
        assert_eq!(price.quorum, Quorum { used: amounts.len(), total: amounts.len(), min: 2 });
    }
}

#[test]
fn a_liar_among_three_is_an_outlier_and_a_cent_is_not() {
    let price = priced(weigh_up(&quotes(&[dec("100"), dec("1000"), dec("100.2")]), None));
    assert_eq!(price.amount, dec("100.1"));
    assert_eq!(reasons(&price.sources), [None, Some(RejectReason::Outlier), None]);
    let price = priced(weigh_up(&quotes(&[dec("100"), dec("100"), dec("100.01")]), None));
    assert_eq!(reasons(&price.sources), [None, None, None]);
}

#[test]
fn quotes_all_over_the_place_are_no_agreement() {
    for amounts in [&["100", "150", "200"][..], &["1", "1", "10", "10"], &["100", "150", "1000"]] {
        let amounts: Vec<Decimal> = amounts.iter().copied().map(dec).collect();
        assert!(matches!(weigh_up(&quotes(&amounts), None), Verdict::Failed(PriceError::NoQuorum { .. }, _)));
    }
}

#[test]
fn of_two_that_disagree_the_recent_price_chooses() {
    let apart = quotes(&[dec("100"), dec("1000")]);
    let Verdict::Failed(error, sources) = weigh_up(&apart, None) else { panic!() };
    assert_eq!(error, PriceError::NoQuorum { used: 0, needed: 2 });
    assert_eq!(reasons(&sources), [Some(RejectReason::Disagrees); 2]);

    let price = priced(weigh_up(&apart, Some(&last("101", 10))));
    assert_eq!(reasons(&price.sources), [None, Some(RejectReason::Disagrees)]);
    assert_eq!((price.amount, price.stale, price.quorum.used), (dec("101"), true, 1));

    let neither = priced(weigh_up(&apart, Some(&last("500", 10))));
    assert_eq!(reasons(&neither.sources), [Some(RejectReason::Disagrees); 2]);
    let too_long_ago = priced(weigh_up(&apart, Some(&last("101", 301))));
    assert_eq!(reasons(&too_long_ago.sources), [Some(RejectReason::Disagrees); 2]);
    assert!(too_long_ago.stale);
}

#[test]
fn a_lone_liar_cannot_move_a_price() {
    let alone = Rules { min_sources: 1, ..rules() };
    let lone = votes(vec![Answer::Quote(observation(dec("1000"))), timed_out()]);
    let price = priced(weigh(&bitcoin(), &lone, Some(&last("100", 10)), now(), &alone));
    assert_eq!((price.amount, price.stale), (dec("100"), true));
    assert_eq!(reasons(&price.sources), [Some(RejectReason::Disagrees), Some(RejectReason::Timeout)]);
    // With nothing recent to contradict it, and one source being enough, it counts.
    let price = priced(weigh(&bitcoin(), &lone, Some(&last("100", 301)), now(), &alone));
    assert_eq!((price.amount, price.stale), (dec("1000"), false));
    let near = votes(vec![Answer::Quote(observation(dec("109"))), timed_out()]);
    assert_eq!(priced(weigh(&bitcoin(), &near, Some(&last("100", 10)), now(), &alone)).amount, dec("109"));
}

#[test]
fn what_cannot_count_is_set_aside_with_its_reason() {
    let with = |change: &dyn Fn(&mut Observation)| {
        let mut quote = observation(dec("100"));
        change(&mut quote);
        Answer::Quote(quote)
    };
    let refused = |error| Answer::Failed(error);
    for (answer, reason) in [
        (with(&|quote| quote.amount = None), RejectReason::NullPrice),
        (with(&|quote| quote.amount = Some(Decimal::ZERO)), RejectReason::NotPositive),
        (with(&|quote| quote.amount = Some(dec("-1"))), RejectReason::NotPositive),
        (with(&|quote| quote.observed_at = now() - TimeDelta::seconds(61)), RejectReason::TooOld),
        (with(&|quote| quote.trust = Decimal::ZERO), RejectReason::Unsure),
        (Answer::Missing, RejectReason::Missing),
        (Answer::Unsupported, RejectReason::Unsupported),
        (Answer::Late, RejectReason::Late),
        (timed_out(), RejectReason::Timeout),
        (refused(CallError::BreakerOpen { retry_after: std::time::Duration::ZERO }), RejectReason::BreakerOpen),
        (refused(CallError::RateLimited { retry_after: None }), RejectReason::RateLimited),
        (refused(CallError::Upstream { status: Some(500), detail: "".into() }), RejectReason::Unavailable),
        (refused(CallError::Decode { detail: "".into() }), RejectReason::Undecodable),
        (refused(CallError::Saturated), RejectReason::Saturated),
    ] {
        let good = || Answer::Quote(observation(dec("100")));
        let price = priced(weigh_up(&votes(vec![good(), answer, good()]), None));
        assert_eq!(reasons(&price.sources), [None, Some(reason), None]);
        assert_eq!((price.amount, price.quorum.used), (dec("100"), 2), "{reason:?}");
    }
}

#[test]
fn a_quote_from_the_future_was_seen_now() {
    let mut early = quotes(&[dec("100"), dec("100")]);
    for vote in &mut early {
        let Answer::Quote(quote) = &mut vote.answer else { panic!() };
        quote.observed_at = now() + TimeDelta::days(1);
    }
    assert_eq!(priced(weigh_up(&early, None)).as_of, now());
}

#[test]
fn weights_and_trust_move_the_median() {
    let mut heavy = quotes(&[dec("100"), dec("101"), dec("102")]);
    heavy[2].seat.weight = dec("3");
    assert_eq!(priced(weigh_up(&heavy, None)).amount, dec("102"));
    let Answer::Quote(quote) = &mut heavy[2].answer else { panic!() };
    quote.trust = dec("0.1");
    assert_eq!(priced(weigh_up(&heavy, None)).amount, dec("101"));
}

#[test]
fn confidence_is_the_largest_of_spread_and_doubt() {
    let mut doubted = quotes(&[dec("100"), dec("100")]);
    let Answer::Quote(quote) = &mut doubted[0].answer else { panic!() };
    quote.uncertainty = dec("0.25");
    let price = priced(weigh_up(&doubted, None));
    assert_eq!(price.confidence, Confidence { low: dec("99.75"), high: dec("100.25") });
    let price = priced(weigh_up(&quotes(&[dec("100"), dec("101")]), None));
    assert_eq!(price.confidence, Confidence { low: dec("100"), high: dec("101") });
}

#[test]
fn the_quorum_is_never_more_than_can_quote() {
    let quote = || Answer::Quote(observation(dec("100")));
    let only_one_lists = votes(vec![quote(), Answer::Unsupported, Answer::Unsupported]);
    let price = priced(weigh_up(&only_one_lists, None));
    assert_eq!((price.quorum, price.stale), (Quorum { used: 1, total: 1, min: 1 }, false));
    // An unlisted coin may be known to one source alone; a listed one is known to be known.
    let only_one_knows = votes(vec![quote(), Answer::Missing]);
    let price = priced(weigh(&unlisted(), &only_one_knows, None, now(), &rules()));
    assert_eq!(price.quorum, Quorum { used: 1, total: 1, min: 1 });
    assert!(matches!(weigh_up(&only_one_knows, None), Verdict::Failed(PriceError::NoQuorum { used: 1, needed: 2 }, _)));
}

#[test]
fn a_coin_is_unknown_when_all_that_answered_say_so() {
    let of = |answers, last: Option<&Price>| weigh(&unlisted(), &votes(answers), last, now(), &rules());
    let known = last("5", 10);
    assert!(matches!(of(vec![Answer::Missing, Answer::Missing], None), Verdict::Unknown));
    assert!(matches!(of(vec![Answer::Missing, timed_out(), Answer::Unsupported], None), Verdict::Unknown));
    assert!(matches!(of(vec![Answer::Unsupported, Answer::Unsupported], None), Verdict::Unknown));
    // It had a price, and the source that knew it may just be down.
    assert!(priced(of(vec![Answer::Missing, timed_out()], Some(&known))).stale);
    assert!(matches!(of(vec![Answer::Missing, Answer::Missing], Some(&known)), Verdict::Unknown));
    assert!(matches!(weigh_up(&votes(vec![Answer::Missing, Answer::Missing]), None), Verdict::Failed(..)));
}

#[test]
fn when_nobody_answers_the_soonest_recovery_is_told() {
    let after = |seconds| CallError::BreakerOpen { retry_after: std::time::Duration::from_secs(seconds) };
    let silent = votes(vec![timed_out(), Answer::Failed(after(9)), Answer::Failed(after(3)), Answer::Unsupported]);
    let Verdict::Failed(error, sources) = weigh_up(&silent, None) else { panic!() };
    assert_eq!((error, sources.len()), (PriceError::Unavailable(after(3)), 4));
}

#[test]
fn waiting_ends_when_enough_agree_or_nobody_is_left() {
    let quote = |amount| Answer::Quote(observation(dec(amount)));
    let settled = |answers| is_settled(&bitcoin(), &votes(answers), None, now(), &rules());
    assert!(!settled(vec![quote("100"), Answer::Late, Answer::Late]));
    assert!(!settled(vec![quote("100"), quote("1000"), Answer::Late]));
    assert!(settled(vec![quote("100"), quote("100.1"), Answer::Late]));
    assert!(settled(vec![quote("100"), timed_out(), Answer::Missing]));
}

/// Amounts between a trillionth and a trillion, with up to twelve decimals.
fn amount() -> impl Strategy<Value = Decimal> {
    (1_i64..1_000_000_000_000, 0_u32..12).prop_map(|(digits, scale)| Decimal::new(digits, scale))
}

/// Quotes of one market: within one percent of each other.
fn market(size: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<Decimal>> {
    let size = size.into();
    amount().prop_flat_map(move |center| {
        prop::collection::vec((0_i64..100).prop_map(move |bps| center + center * Decimal::new(bps, 4)), size.clone())
    })
}

fn weighted(entries: &[(Decimal, u32)]) -> Vec<Weighted> {
    entries
        .iter()
        .map(|(value, weight)| Weighted { value: *value, weight: (*weight).into(), observed_at: now() })
        .collect()
}

proptest! {
    #[test]
    fn one_liar_of_five_moves_the_median_by_one_rank_at_most(honest in market(5), place in 0_usize..5, up: bool) {
        let mut lied = honest.clone();
        lied[place] = if up { lied[place] * Decimal::TEN } else { lied[place] / Decimal::TEN };
        let price = priced(weigh_up(&quotes(&lied), None));
        prop_assert!(!price.sources[place].accepted());
        let mut ranked = honest;
        ranked.sort_unstable();
        prop_assert!(ranked[1] <= price.amount && price.amount <= ranked[3], "{ranked:?} {}", price.amount);
    }

    #[test]
    fn the_order_of_the_votes_does_not_matter(
        amounts in prop::collection::vec(prop_oneof![amount(), Just(Decimal::ONE_HUNDRED), Just(Decimal::from(101))], 1..6),
        ages in prop::collection::vec(0_i64..90, 6),
        known: bool,
        turn in 0_usize..6,
    ) {
        let mut cast = quotes(&amounts);
        for (vote, age) in cast.iter_mut().zip(ages) {
            let Answer::Quote(quote) = &mut vote.answer else { unreachable!() };
            quote.observed_at = now() - TimeDelta::seconds(age);
        }
        let last = known.then(|| last("100", 10));
        let essence = |votes: &[Vote]| match weigh_up(votes, last.as_ref()) {
            Verdict::Priced(price) => {
                let mut sources = price.sources;
                sources.sort_by(|a, b| a.source.cmp(&b.source));
                Ok((price.amount, price.confidence, price.as_of, price.stale, price.quorum, sources))
            }
            Verdict::Failed(error, _) => Err(Some(error)),
            Verdict::Unknown => Err(None),
        };
        let straight = essence(&cast);
        cast.reverse();
        let turn = turn % cast.len();
        cast.rotate_left(turn);
        prop_assert_eq!(essence(&cast), straight);
    }

    #[test]
    fn the_price_lies_within_what_was_accepted_and_within_its_confidence(amounts in market(1..6)) {
        if let Verdict::Priced(price) = weigh_up(&quotes(&amounts), None) {
            let accepted: Vec<Decimal> =
                price.sources.iter().filter(|source| source.accepted()).filter_map(|source| source.price).collect();
            prop_assert!(accepted.iter().min().unwrap() <= &price.amount && &price.amount <= accepted.iter().max().unwrap());
            prop_assert!(price.confidence.low <= price.amount && price.amount <= price.confidence.high);
            prop_assert_eq!(accepted.len(), price.quorum.used);
        }
    }

    #[test]
    fn raising_a_value_never_lowers_the_median(
        entries in prop::collection::vec((amount(), 1_u32..10), 1..7),
        place in 0_usize..7,
        by in amount(),
    ) {
        let half = Decimal::new(5, 1);
        let before = quantile(&mut weighted(&entries), half).unwrap().value;
        let mut raised = entries;
        let place = place % raised.len();
        raised[place].0 += by;
        prop_assert!(quantile(&mut weighted(&raised), half).unwrap().value >= before);
    }

    #[test]
    fn an_odd_number_of_equal_voices_gives_one_of_the_quotes_exactly(amounts in market(3..=3)) {
        let price = priced(weigh_up(&quotes(&amounts), None));
        prop_assume!(price.quorum.used == 3);
        prop_assert!(amounts.iter().any(|amount| amount.to_string() == price.amount.to_string()));
    }

    #[test]
    fn no_decimal_is_too_extreme(
        parts in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u32>(), any::<bool>(), 0_u32..=28), 1..6),
        last_parts in (1_u32.., any::<u32>(), any::<u32>(), 0_u32..=28),
    ) {
        let amounts: Vec<Decimal> =
            parts.into_iter().map(|(lo, mid, hi, negative, scale)| Decimal::from_parts(lo, mid, hi, negative, scale)).collect();
        let mut cast = quotes(&amounts);
        for (vote, change) in cast.iter_mut().zip(amounts.iter().rev()) {
            let Answer::Quote(quote) = &mut vote.answer else { unreachable!() };
            quote.change24h = Some(*change);
            quote.uncertainty = change.abs();
        }
        let (lo, mid, hi, scale) = last_parts;
        let known = Price { amount: Decimal::from_parts(lo, mid, hi, false, scale), ..last("1", 10) };
        for last in [None, Some(&known)] {
            for min_sources in [1, 2] {
                let rules = Rules { min_sources, ..rules() };
                let _ = weigh(&bitcoin(), &cast, last, now(), &rules);
                let _ = weigh(&bitcoin(), &quotes(&[Decimal::MAX, Decimal::MAX, Decimal::MAX]), last, now(), &rules);
            }
        }
    }
}

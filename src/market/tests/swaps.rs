//! Swaps over scripted venues: who wins, who is left out, and what is said about it.

use proptest::prelude::*;

use super::*;
use crate::{
    market::{
        FailureCode, IssueCode, RankedBy, SwapError, SwapParts, SwapQuote, SwapRequest, SwapRound, Swaps, Tokens,
        venues::{QuoteAsk, QuoteVenue, Venue, VenueError, VenueGas, VenueQuote},
    },
    model::{ChainId, Units},
};

const USDC: &str = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48";
const ONE_ETH: &str = "1000000000000000000";

/// A venue that says what it is told to, after a while, about ethereum.
#[derive(Clone)]
struct ScriptedVenue {
    name: &'static str,
    says: Result<VenueQuote, VenueError>,
    after: Duration,
    ended: Arc<AtomicUsize>,
}

impl QuoteVenue for ScriptedVenue {
    fn name(&self) -> &'static str {
        self.name
    }

    fn serves(&self, chain: &ChainId) -> bool {
        chain.as_str() == "ethereum"
    }

    fn quote<'a>(&'a self, _: &'a QuoteAsk) -> BoxFuture<'a, Result<VenueQuote, VenueError>> {
        Box::pin(async move {
            tokio::time::sleep(self.after).await;
            self.ended.fetch_add(1, Ordering::Relaxed);
            self.says.clone()
        })
    }
}

fn units(text: &str) -> Units {
    text.parse().unwrap()
}

/// So many base units of USDC, and a fee in gwei.
fn says(buy_amount: &str, fee_gwei: Option<u64>) -> VenueQuote {
    let fee = fee_gwei.map(|gwei| Units::from(u128::from(gwei) * 1_000_000_000));
    VenueQuote {
        buy_amount: units(buy_amount),
        min_received: None,
        price_impact_bps: None,
        gas: VenueGas { units: None, price: None, fee },
        route: Vec::new(),
        block_number: Some(1),
        expires_at: None,
    }
}

fn venue(name: &'static str, says: Result<VenueQuote, VenueError>) -> ScriptedVenue {
    ScriptedVenue { name, says, after: Duration::from_millis(10), ended: Arc::default() }
}

fn quoting(name: &'static str, buy_amount: &str, fee_gwei: u64) -> ScriptedVenue {
    venue(name, Ok(says(buy_amount, Some(fee_gwei))))
}

fn failing(name: &'static str, error: CallError) -> ScriptedVenue {
    venue(name, Err(error.into()))
}

fn swaps(market: &Market, venues: &[ScriptedVenue]) -> Swaps {
    let seated = venues.iter().map(|venue| Venue { adapter: Arc::new(venue.clone()), simulated: true });
    let parts = SwapParts {
        venues: seated.collect(),
        tokens: Tokens::embedded(),
        prices: market.prices.clone(),
        clock: market.clock.clone(),
        tasks: market.tasks.clone(),
        stop: market.stop.clone(),
    };
    Swaps::new(parts, &MarketConfig::defaults())
}

/// ether at 3,000 dollars, USDC at one.
fn priced() -> Market {
    let market = Market::open();
    market.set("ethereum", "3000");
    market.set("usd-coin", "1");
    market
}

fn request() -> SwapRequest {
    SwapRequest {
        chain: "ethereum".into(),
        sell_token: "native".into(),
        buy_token: USDC.into(),
        sell_amount: units(ONE_ETH),
        slippage_bps: 50,
        taker: None,
    }
}

async fn round(market: &Market, venues: &[ScriptedVenue]) -> Result<SwapRound, SwapError> {
    swaps(market, venues).quotes(&request()).await
}

fn order(round: &SwapRound) -> Vec<&str> {
    round.quotes.iter().map(|quote| &*quote.provider).collect()
}

fn codes(quote: &SwapQuote) -> Vec<IssueCode> {
    quote.issues.iter().map(|issue| issue.code).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_left_after_the_fee_decides() {
    let market = priced();
    // Two dollars more come out of `dear`, and it takes six more to get them.
    let venues = [quoting("dear", "2999000000", 3_000_000), quoting("cheap", "2997000000", 1_000_000)];
    let round = round(&market, &venues).await.unwrap();
    assert_eq!((order(&round), round.ranked_by), (vec!["cheap", "dear"], RankedBy::NetBuyValue));
    let best = &round.quotes[0];
    assert_eq!((best.net_buy_value, best.gas.fee_usd), (Some(dec("2994")), Some(dec("3"))));
    assert_eq!((best.reference_price, best.min_received), (Some(dec("3000")), units("2982015000")));
    assert_eq!(best.expires_at - best.quoted_at, chrono::TimeDelta::seconds(15));
    assert!(best.issues.is_empty() && round.failures.is_empty() && best.simulated);
}

#[tokio::test(start_paused = true)]
async fn without_a_price_of_our_own_the_amount_decides_and_it_says_so() {
    let market = Market::open();
    let venues = [quoting("dear", "2999000000", 3_000_000), quoting("cheap", "2997000000", 1_000_000)];
    let round = round(&market, &venues).await.unwrap();
    assert_eq!((order(&round), round.ranked_by), (vec!["dear", "cheap"], RankedBy::BuyAmount));
    for quote in &round.quotes {
        assert_eq!((codes(quote), quote.net_buy_value), (vec![IssueCode::Unverified], None));
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_price_convicts_nobody() {
    let market = priced();
    let venues = [quoting("one", "2000000000", 1)];
    assert_eq!(codes(&round(&market, &venues).await.unwrap().quotes[0]), [IssueCode::Outlier]);
    for source in &market.sources {
        source.fail(Some(CallError::Timeout));
    }
    pass(Duration::from_secs(310)).await;
    assert_eq!(codes(&round(&market, &venues).await.unwrap().quotes[0]), [IssueCode::Unverified]);
}

#[tokio::test(start_paused = true)]
async fn a_lie_in_the_callers_favour_does_not_win() {
    let market = priced();
    let venues = [
        quoting("liar", "3300000000", 0),
        quoting("honest", "2990000000", 1_000_000),
        quoting("poor", "2700000000", 0),
        quoting("wild", "9000000000", 0),
    ];
    let told = round(&market, &venues).await.unwrap();
    assert_eq!(order(&told), ["honest", "poor", "liar", "wild"]);
    let off: Vec<_> = told.quotes.iter().map(SwapQuote::outlies_by).collect();
    assert_eq!(off, [None, Some(-1_000), Some(1_000), Some(20_000)]);
    let beyond = venue("beyond", Ok(says(&"9".repeat(70), None)));
    let silent = venue("silent", Ok(says("2700000000", None)));
    assert_eq!(
        order(&round(&market, &[beyond, silent, venues[0].clone()]).await.unwrap()),
        ["silent", "liar", "beyond"]
    );
    let alone = round(&market, &venues[..1]).await.unwrap();
    assert_eq!((order(&alone), codes(&alone.quotes[0])), (vec!["liar"], vec![IssueCode::Outlier]), "told, not hidden");
    for (amount, issues) in [
        ("3150000000", vec![]),
        ("3150000001", vec![IssueCode::Outlier]),
        ("2850000000", vec![]),
        ("2849999999", vec![IssueCode::Outlier]),
    ] {
        let round = round(&market, &[quoting("edge", amount, 0)]).await.unwrap();
        assert_eq!(codes(&round.quotes[0]), issues, "{amount}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_wins_by_keeping_the_fee_to_himself() {
    let market = priced();
    let silent = venue("silent", Ok(says("3000000000", None)));
    let open = quoting("open", "2990000000", 1_000_000);
    let told = round(&market, &[silent.clone(), open]).await.unwrap();
    assert_eq!((order(&told), told.ranked_by), (vec!["open", "silent"], RankedBy::NetBuyValue));
    assert_eq!(codes(&told.quotes[1]), [IssueCode::GasUnknown]);
    assert_eq!(round(&market, &[silent]).await.unwrap().ranked_by, RankedBy::BuyAmount);
}

#[tokio::test(start_paused = true)]
async fn a_venue_that_knows_no_gas_price_pays_the_highest_that_was_said() {
    let market = priced();
    let gas = |units, price: Option<u64>| VenueQuote {
        gas: VenueGas { units: Some(units), price: price.map(Units::from), fee: None },
        ..says("3000000000", None)
    };
    let on_chain = venue("on_chain", Ok(gas(100_000, None)));
    let venues = [on_chain.clone(), venue("low", Ok(gas(50_000, Some(10)))), venue("high", Ok(gas(50_000, Some(20))))];
    let told = round(&market, &venues).await.unwrap();
    assert_eq!(order(&told), ["low", "high", "on_chain"]);
    let fees: Vec<_> = told.quotes.iter().map(|quote| quote.gas.fee_native.unwrap().to_string()).collect();
    assert_eq!(fees, ["500000", "1000000", "2000000"]);
    let alone = round(&market, &[on_chain]).await.unwrap();
    assert_eq!((alone.quotes[0].gas.fee_native, codes(&alone.quotes[0])), (None, vec![IssueCode::GasUnknown]));
}

#[tokio::test(start_paused = true)]
async fn who_is_late_is_left_out_and_ends_by_himself() {
    let market = priced();
    let slow = ScriptedVenue { after: Duration::from_secs(7), ..quoting("slow", "2999000000", 0) };
    let venues = [slow.clone(), quoting("quick", "2990000000", 0), venue("dry", Err(VenueError::NoLiquidity))];
    let began = market.clock.instant();
    let told = round(&market, &venues).await.unwrap();
    assert_eq!((market.clock.instant() - began).as_secs(), 3, "the deadline holds");
    assert_eq!(order(&told), ["quick"]);
    let failures: Vec<_> = told.failures.iter().map(|failure| (&*failure.provider, failure.code)).collect();
    assert_eq!(failures, [("slow", FailureCode::Timeout), ("dry", FailureCode::NoLiquidity)]);
    assert_eq!(slow.ended.load(Ordering::Relaxed), 0);
    pass(Duration::from_secs(5)).await;
    assert_eq!(slow.ended.load(Ordering::Relaxed), 1, "the call went on to its own end");
}

#[tokio::test(start_paused = true)]
async fn without_any_quote_the_reason_is_told() {
    let market = priced();
    let dry = |name| venue(name, Err(VenueError::NoLiquidity));
    assert_eq!(round(&market, &[dry("one"), dry("two")]).await, Err(SwapError::NoLiquidity));
    let (long, short) = (Duration::from_secs(9), Duration::from_secs(4));
    let venues = [
        dry("dry"),
        failing("open", CallError::BreakerOpen { retry_after: long }),
        failing("busy", CallError::RateLimited { retry_after: Some(short) }),
        failing("lost", CallError::Upstream { status: None, detail: "refused".into() }),
        failing("odd", CallError::Decode { detail: "x".into() }),
        failing("full", CallError::Saturated),
    ];
    let Err(SwapError::Unavailable { retry_after, failures }) = round(&market, &venues).await else { panic!() };
    let codes: Vec<_> = failures.iter().map(|failure| failure.code).collect();
    let expected = [
        FailureCode::NoLiquidity,
        FailureCode::BreakerOpen,
        FailureCode::RateLimited,
        FailureCode::Unavailable,
        FailureCode::Undecodable,
        FailureCode::Saturated,
    ];
    assert_eq!((retry_after, &codes[..]), (Some(short), &expected[..]), "one that failed might have had liquidity");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_leaves_nobody_waiting() {
    let market = priced();
    let hung = ScriptedVenue { after: Duration::from_hours(1), ..quoting("hung", "1", 0) };
    let swaps = swaps(&market, &[hung]);
    let asked = tokio::spawn(async move { swaps.quotes(&request()).await });
    pass(Duration::from_millis(50)).await;
    market.stop.cancel();
    assert!(matches!(asked.await.unwrap(), Err(SwapError::Unavailable { .. })));
    market.tasks.close();
    market.tasks.wait().await;
}

#[tokio::test(start_paused = true)]
async fn everything_that_is_wrong_is_told_at_once() {
    let market = priced();
    let swaps = swaps(&market, &[quoting("one", "1", 0)]);
    let wrong = async |change: fn(&mut SwapRequest)| {
        let mut request = request();
        change(&mut request);
        match swaps.quotes(&request).await {
            Err(SwapError::Invalid(problems)) => {
                problems.into_iter().map(|problem| problem.path.join(".")).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(wrong(|r| r.chain = "doge".into()).await, ["input.chain"]);
    assert_eq!(wrong(|r| r.chain = "solana".into()).await, ["input.chain"], "known, and not served");
    assert_eq!(wrong(|r| r.sell_token = "ETH".into()).await, ["input.sellToken"]);
    assert_eq!(wrong(|r| r.buy_token = "native".into()).await, ["input.buyToken"]);
    assert_eq!(wrong(|r| r.sell_token = USDC.to_lowercase()).await, ["input.buyToken"], "the same in another case");
    assert_eq!(wrong(|r| r.sell_amount = Units::ZERO).await, ["input.sellAmount"]);
    assert_eq!(wrong(|r| r.slippage_bps = -1).await, ["input.slippageBps"]);
    assert_eq!(wrong(|r| r.slippage_bps = 5_001).await, ["input.slippageBps"]);
    assert_eq!(wrong(|r| r.taker = Some("alice".into())).await, ["input.taker"]);
    let all = wrong(|r| {
        (r.sell_token, r.buy_token) = ("ETH".into(), "USDC".into());
        (r.sell_amount, r.slippage_bps, r.taker) = (Units::ZERO, 9_999, Some(String::new()));
    });
    let paths = ["input.sellToken", "input.buyToken", "input.taker", "input.sellAmount", "input.slippageBps"];
    assert_eq!(all.await, paths);
}

/// Some quotes, with an outlier or a silent one now and then.
fn quotes() -> impl Strategy<Value = Vec<(u64, Option<u64>)>> {
    let amount = prop_oneof![2_800_000_000..3_200_000_000_u64, Just(3_000_000_000), 1..9_000_000_000_u64];
    proptest::collection::vec((amount, proptest::option::of(0..5_000_000_u64)), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_order_of_the_venues_plays_no_part(quotes in quotes(), seed in any::<u64>()) {
        const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let market = priced();
            let mut venues: Vec<_> = quotes
                .iter()
                .zip(NAMES)
                .map(|((amount, fee), name)| venue(name, Ok(says(&amount.to_string(), *fee))))
                .collect();
            let told = round(&market, &venues).await.unwrap();
            fastrand::Rng::with_seed(seed).shuffle(&mut venues);
            let again = round(&market, &venues).await.unwrap();
            assert_eq!(order(&told), order(&again));
            assert_eq!(told.ranked_by, again.ranked_by);
            // Nobody off our price comes before one who is not, and among those who are not the value falls.
            let honest = told.quotes.iter().take_while(|quote| quote.outlies_by().is_none()).count();
            assert!(told.quotes[honest..].iter().all(|quote| quote.outlies_by().is_some()));
            assert!(told.quotes[..honest].is_sorted_by(|one, other| one.net_buy_value >= other.net_buy_value));
            for quote in &told.quotes {
                let whole = quote.buy_amount.mul_div(units("9950"), units("10000")).unwrap();
                assert!(quote.min_received == whole && quote.min_received <= quote.buy_amount);
            }
            market.stop.cancel();
        });
    }
}

//! The contract as committed is the contract as coded, and says what users were promised.

use std::fs;

#[test]
fn the_committed_schema_is_the_coded_one() {
    let committed = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/schema.graphql")).unwrap();
    assert!(committed == tidegate::graphql::sdl(), "schema.graphql is out of date: run `make schema`");
}

#[test]
fn what_users_were_promised_stands_in_the_schema() {
    // Descriptions aside and on one line, as in the contract.
    let mut inside = false;
    let lines = tidegate::graphql::sdl().lines().map(str::trim).map(str::to_owned).collect::<Vec<_>>();
    let text: Vec<String> = lines
        .into_iter()
        .filter(|line| {
            let mark = line == "\"\"\"";
            inside ^= mark;
            !inside && !mark
        })
        .collect();
    let text = text.join(" ").replace("( ", "(").replace(" )", ")");
    for promised in [
        "directive @auth(requires: Role!) on FIELD_DEFINITION",
        "directive @rateLimit(limit: Int!, duration: Int!) on FIELD_DEFINITION",
        "directive @cacheControl(maxAge: Int, scope: CacheControlScope, inheritMaxAge: Boolean) \
         on FIELD_DEFINITION | OBJECT | INTERFACE | UNION",
        "cryptoPrices(coins: [String!]!): [Price!]! @rateLimit(limit: 100, duration: 60)",
        "price(coin: String!): Price",
        "defiSwapQuote(input: SwapInput!): SwapQuote! @auth(requires: USER)",
        // Promised without `after`, which came later and may be left out.
        "priceUpdates(after: String, coins: [String!]!): PriceUpdate! @auth(requires: USER)",
    ] {
        assert!(text.contains(promised), "missing: {promised}\nin {text}");
    }
}

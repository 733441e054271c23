//! Which representation of an answer the caller wants, by `Accept`.

use std::cmp::Reverse;

use axum::http::{HeaderMap, header::ACCEPT};

/// The representations that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Representation {
    /// `application/graphql-response+json`: the status says how the request ended.
    GraphqlResponse,
    /// `application/json`: well-formed requests are answered with 200, for clients that take errors from the body only.
    Json,
    /// `text/event-stream`: one event per result.
    EventStream,
}

impl Representation {
    /// What an answer is labelled with.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
            Self::EventStream => "text/event-stream; charset=utf-8",
        }
    }

    /// What a refusal is labelled with: one before the first event is not an event stream.
    pub(super) fn error_content_type(self) -> &'static str {
        if self == Self::EventStream { Self::GraphqlResponse.content_type() } else { self.content_type() }
    }
}

/// The best representation, or none if the caller accepts nothing that is served.
pub(super) fn representation(headers: &HeaderMap) -> Option<Representation> {
    let lines = || headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let ranges: Vec<Range<'_>> = lines().flat_map(|line| line.split(',')).filter_map(Range::parse).collect();
    if ranges.is_empty() {
        // Nothing said means anything, unless what was said cannot be understood.
        return lines().all(|line| line.trim().is_empty()).then_some(Representation::Json);
    }
    // Where the caller has no preference, an exact name beats a wildcard, and then the order of this list decides:
    // wildcards mean an old client, for which the specification asks for plain JSON.
    let response = weigh("application/graphql-response+json", &ranges);
    let json = weigh("application/json", &ranges);
    let events = weigh("text/event-stream", &ranges).filter(|weight| weight.exact);
    let by_name = |weight: &Weight| weight.exact;
    [
        (response.filter(by_name), Representation::GraphqlResponse),
        (json, Representation::Json),
        (response, Representation::GraphqlResponse),
        (events, Representation::EventStream),
    ]
    .into_iter()
    .filter_map(|(weight, representation)| Some((weight?, representation)))
    .filter(|(weight, _)| weight.quality > 0)
    // A stable minimum: the first of equals.
    .min_by_key(|(weight, representation)| {
        (Reverse(weight.quality), *representation == Representation::EventStream, !weight.exact)
    })
    .map(|(_, representation)| representation)
}

#[derive(Debug, Clone, Copy)]
struct Weight {
    /// In thousandths.
    quality: u16,
    exact: bool,
}

/// What the most specific range that matches says about a media type.
fn weigh(media_type: &str, ranges: &[Range<'_>]) -> Option<Weight> {
    let matching = ranges.iter().filter_map(|range| Some((range.specificity_for(media_type)?, range.quality)));
    let (specificity, quality) = matching.max()?;
    Some(Weight { quality, exact: specificity == Specificity::Exact })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Specificity {
    Anything,
    Type,
    Exact,
}

/// One element of `Accept`.
struct Range<'a> {
    media_type: &'a str,
    quality: u16,
}

impl<'a> Range<'a> {
    fn parse(element: &'a str) -> Option<Self> {
        let mut parts = element.split(';').map(str::trim);
        let media_type = parts.next().filter(|text| text.contains('/'))?;
        let mut quality = 1_000;
        for parameter in parts {
            if let Some((name, value)) = parameter.split_once('=')
                && name.trim().eq_ignore_ascii_case("q")
            {
                quality = parse_quality(value.trim())?;
            }
        }
        Some(Self { media_type, quality })
    }

    fn specificity_for(&self, media_type: &str) -> Option<Specificity> {
        if self.media_type == "*/*" {
            return Some(Specificity::Anything);
        }
        if self.media_type.eq_ignore_ascii_case(media_type) {
            return Some(Specificity::Exact);
        }
        let kind = self.media_type.strip_suffix("/*")?;
        let wanted = media_type.split('/').next()?;
        kind.eq_ignore_ascii_case(wanted).then_some(Specificity::Type)
    }
}

/// `0`, `1`, or up to three decimals, in thousandths.
fn parse_quality(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{decimals:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", _) => Some(thousandths),
        ("1", 0) => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Representation::*, *};

    fn wanted(accept: &[&'static str]) -> Option<Representation> {
        let lines = accept.iter().map(|line| (ACCEPT, axum::http::HeaderValue::from_static(line)));
        representation(&lines.collect())
    }

    #[test]
    fn the_best_representation_is_chosen() {
        for (accept, expected) in [
            (&[][..], Some(Json)),
            (&[""], Some(Json)),
            (&["*/*"], Some(Json)),
            (&["application/*"], Some(Json)),
            (&["application/json"], Some(Json)),
            (&["application/graphql-response+json"], Some(GraphqlResponse)),
            (&["application/graphql-response+json, application/json"], Some(GraphqlResponse)),
            (&["application/json, application/graphql-response+json"], Some(GraphqlResponse)),
            (&["application/json", "application/graphql-response+json;q=0.9"], Some(Json)),
            (&["application/graphql-response+json; charset=utf-8, application/json; q=0.9"], Some(GraphqlResponse)),
            (&["application/json, */*"], Some(Json)),
            (&["application/graphql-response+json, */*"], Some(GraphqlResponse)),
            (&["*/*, application/json;q=0"], Some(GraphqlResponse)),
            (&["APPLICATION/JSON;Q=0.5"], Some(Json)),
            (&["text/event-stream"], Some(EventStream)),
            (&["text/event-stream, */*;q=0.1"], Some(EventStream)),
            (&["text/event-stream, application/json"], Some(Json)),
            (&["text/event-stream, */*"], Some(Json)),
            (&["text/*"], None),
            (&["text/html,application/xhtml+xml,*/*;q=0.8"], Some(Json)),
            (&["text/html"], None),
            (&["application/json;q=0"], None),
            (&["application/json;q=7"], None),
            (&["nonsense"], None),
        ] {
            assert_eq!(wanted(accept), expected, "{accept:?}");
        }
    }
}

//! `cacheInvalidate`.

use async_graphql::{Context, Enum, InputObject, Object, SimpleObject};
use serde_json::json;

use crate::{
    cache::{Tag, Tags},
    graphql::{
        context::ContextExt,
        directives::{RequiredRole, auth},
    },
};

/// Most keys, and most tags, of one call.
const MOST: usize = 100;
/// Longest name of a key or tag, in bytes.
const LONGEST: usize = 256;

/// Names what is to be forgotten.
#[derive(InputObject)]
pub(crate) struct CacheInvalidateInput {
    /// Single values; at most 100.
    #[graphql(default)]
    keys: Vec<CacheKeyInput>,
    /// Everything that was made from these, such as `price:bitcoin`; at most 100.
    #[graphql(default)]
    tags: Vec<String>,
}

/// Names one value.
#[derive(InputObject)]
pub(crate) struct CacheKeyInput {
    /// The cache, such as `prices`.
    cache: String,
    /// The key, such as `bitcoin`.
    key: String,
}

/// What was forgotten, or why nothing was.
#[derive(SimpleObject)]
pub(crate) struct CacheInvalidatePayload {
    /// What was forgotten; null when nothing was.
    invalidation: Option<CacheInvalidation>,
    /// What was wrong with the input.
    user_errors: Vec<CacheUserError>,
}

/// What was forgotten, on all nodes.
#[derive(SimpleObject)]
pub(crate) struct CacheInvalidation {
    /// How many keys.
    keys: usize,
    /// How many tags.
    tags: usize,
}

/// Something wrong with the input.
#[derive(SimpleObject, Debug, PartialEq, Eq)]
pub(crate) struct CacheUserError {
    /// What kind of error it is.
    code: CacheErrorCode,
    /// The path of the input field.
    field: Vec<String>,
    /// A sentence for people.
    message: String,
}

/// What can be wrong with the input.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheErrorCode {
    /// There is no cache of that name, or its keys have no names.
    NotFound,
    /// Neither a key nor a tag is named, or a name is empty.
    Empty,
    /// More keys or tags than one call may name, or too long a name.
    TooMany,
}

#[derive(Default)]
pub(crate) struct CachesMutation;

#[Object]
impl CachesMutation {
    /// Forgets cached values on all nodes, all that are named or, if something is wrong with the input, none. Nothing that
    /// was on its way into a cache before comes back.
    #[graphql(directive = auth::apply(RequiredRole::Admin))]
    async fn cache_invalidate(&self, ctx: &Context<'_>, input: CacheInvalidateInput) -> CacheInvalidatePayload {
        let tags = &ctx.services().tags;
        let user_errors = problems(&input, &tags.named_caches());
        if !user_errors.is_empty() {
            return CacheInvalidatePayload { invalidation: None, user_errors };
        }
        invalidate(tags, &input).await;
        let by = ctx.scope().principal().map(|principal| &*principal.subject);
        let keys: Vec<String> = input.keys.iter().map(|named| format!("{}:{}", named.cache, named.key)).collect();
        tracing::warn!(by, ?keys, tags = ?input.tags, "an operator invalidated cached values");
        let forgotten = json!({ "keys": keys, "tags": input.tags });
        ctx.record("cache.invalidate", "cache".to_owned(), forgotten).await;
        let invalidation = CacheInvalidation { keys: input.keys.len(), tags: input.tags.len() };
        CacheInvalidatePayload { invalidation: Some(invalidation), user_errors }
    }
}

async fn invalidate(tags: &Tags, input: &CacheInvalidateInput) {
    for CacheKeyInput { cache, key } in &input.keys {
        tags.invalidate_key(cache, key).await.expect("the cache's name was checked");
    }
    let named: Vec<Tag> = input.tags.iter().map(|tag| Tag(tag.as_str().into())).collect();
    tags.invalidate(&named).await;
}

fn problems(input: &CacheInvalidateInput, caches: &[&str]) -> Vec<CacheUserError> {
    let mut problems = Vec::new();
    let mut report = |code, path: &[&str], message: String| {
        let field = ["input"].iter().chain(path).map(ToString::to_string).collect();
        problems.push(CacheUserError { code, field, message });
    };
    if input.keys.is_empty() && input.tags.is_empty() {
        report(CacheErrorCode::Empty, &[], "neither keys nor tags are named".to_owned());
    }
    for (list, count) in [("keys", input.keys.len()), ("tags", input.tags.len())] {
        if count > MOST {
            report(CacheErrorCode::TooMany, &[list], format!("{count} {list}, and at most {MOST} are allowed"));
        }
    }
    let keys = input.keys.iter().take(MOST).enumerate();
    for (index, CacheKeyInput { cache, key }) in keys {
        let index = index.to_string();
        if !caches.contains(&cache.as_str()) {
            let message = format!("there is no cache {cache:?} with names for keys; there are: {}", caches.join(", "));
            report(CacheErrorCode::NotFound, &["keys", &index, "cache"], message);
        }
        if let Some((code, message)) = problem_of_name(key) {
            report(code, &["keys", &index, "key"], message);
        }
    }
    for (index, tag) in input.tags.iter().take(MOST).enumerate() {
        if let Some((code, message)) = problem_of_name(tag) {
            report(code, &["tags", &index.to_string()], message);
        }
    }
    problems
}

fn problem_of_name(name: &str) -> Option<(CacheErrorCode, String)> {
    match name.len() {
        0 => Some((CacheErrorCode::Empty, "the name is empty".to_owned())),
        length if length > LONGEST => {
            Some((CacheErrorCode::TooMany, format!("the name has {length} bytes, and at most {LONGEST} are allowed")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(keys: &[(&str, &str)], tags: &[&str]) -> CacheInvalidateInput {
        let named = |(cache, key): &(&str, &str)| CacheKeyInput { cache: (*cache).into(), key: (*key).into() };
        CacheInvalidateInput {
            keys: keys.iter().map(named).collect(),
            tags: tags.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_with_its_path() {
        use CacheErrorCode::{Empty, NotFound, TooMany};
        let (long, many) = ("x".repeat(LONGEST + 1), vec!["tag"; MOST + 1]);
        for (input, expected) in [
            (input(&[("prices", "bitcoin")], &["price:bitcoin"]), vec![]),
            (input(&[], &[]), vec![(Empty, "input")]),
            (
                input(&[("prices", "a"), ("answers", "")], &["b", ""]),
                vec![(NotFound, "input.keys.1.cache"), (Empty, "input.keys.1.key"), (Empty, "input.tags.1")],
            ),
            (input(&[("prices", &long)], &many), vec![(TooMany, "input.tags"), (TooMany, "input.keys.0.key")]),
        ] {
            let found = problems(&input, &["prices"]);
            let found: Vec<_> = found.iter().map(|problem| (problem.code, problem.field.join("."))).collect();
            let expected: Vec<_> = expected.into_iter().map(|(code, path)| (code, path.to_owned())).collect();
            assert_eq!(found, expected);
        }
    }
}

//! Lists whose errors say where they are.
//!
//! In a `Vec` the library gives an item's error the path of the item, also when the error came from a field below
//! it. Here an error keeps the path it was raised with. Resolvers return `Rows` wherever items are non-null.

use std::borrow::Cow;

use async_graphql::{ContextSelectionSet, OutputType, Positioned, ServerResult, Value, parser::types::Field, registry};
use futures_util::future::try_join_all;

/// A list of non-null items.
pub(crate) struct Rows<T>(pub(crate) Vec<T>);

impl<T> FromIterator<T> for Rows<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

impl<T: OutputType> OutputType for Rows<T> {
    fn type_name() -> Cow<'static, str> {
        Vec::<T>::type_name()
    }

    fn qualified_type_name() -> String {
        Vec::<T>::qualified_type_name()
    }

    fn create_type_info(registry: &mut registry::Registry) -> String {
        Vec::<T>::create_type_info(registry)
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        let items = self.0.iter().enumerate().map(|(at, item)| async move {
            let ctx = ctx.with_index(at);
            let resolved = item.resolve(&ctx, field).await;
            resolved.map_err(|error| if error.path.is_empty() { ctx.set_error_path(error) } else { error })
        });
        Ok(Value::List(try_join_all(items).await?))
    }
}

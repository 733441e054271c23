//! Where a page of a connection ends, for all lists that are read page by page.

use async_graphql::SimpleObject;

use super::directives::Inherit;

/// Where a page of a list ends.
#[derive(SimpleObject)]
#[graphql(directive = Inherit::apply())]
pub(crate) struct PageInfo {
    /// Whether there are more after it.
    pub(crate) has_next_page: bool,
    /// Pass it as `after` for the next page; null on an empty page.
    pub(crate) end_cursor: Option<String>,
}

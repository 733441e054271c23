//! The value caches in the schema: the operator's lever.

mod mutation;

pub(crate) use mutation::CachesMutation;

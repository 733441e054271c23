//! `tidegate schema`: the contract, as `schema.graphql` holds it.

use super::{CommandError, print};
use crate::graphql::sdl;

pub(super) fn run() -> Result<(), CommandError> {
    print(&sdl())
}

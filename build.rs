//! Rebuilds when the GraphiQL page was built anew, because the page is embedded in the binary.

use std::path::Path;

fn main() {
    // Cargo takes a path that does not exist as always changed, so the nearest one that does is watched.
    let watched = ["web/dist", "web", "build.rs"].into_iter().find(|path| Path::new(path).exists());
    println!("cargo::rerun-if-changed={}", watched.unwrap_or("build.rs"));
}

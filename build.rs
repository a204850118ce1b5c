//! A new migration alone is reason enough to build again: the program carries them.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}

//! What the C library's linking needs, and nothing for Rust programs.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_CAPI").is_some() {
        // The dbus thread of an open manager runs in the library: dlclose() must not take it away under it.
        println!("cargo::rustc-link-arg-cdylib=-Wl,-z,nodelete");
    }
}

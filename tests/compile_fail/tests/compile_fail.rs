//! Mistakes that the types forbid. Each case has the compiler's words beside it, so that it fails
//! for the reason that it should.

use std::process::Command;

/// The compiler whose words are written down.
const COMPILER: &str = "rustc 1.95.";

/// R4, R11, R22, R40, W4, W20, W54, W60.
#[test]
fn mistakes_do_not_compile() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc)
        .arg("--version")
        .output()
        .map(|out| out.stdout);
    let version = String::from_utf8_lossy(&version.unwrap_or_default()).into_owned();
    if !version.starts_with(COMPILER) {
        // Other compilers word their errors differently; that is no defect of the crate.
        eprintln!("SKIPPED: the errors are written down for {COMPILER}x, this is {version}");
        return;
    }
    trybuild::TestCases::new().compile_fail("cases/*.rs");
}

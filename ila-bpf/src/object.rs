//! What every object has.

/// The helpers that the programs call are offered to GPL-compatible programs
/// only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

/// Never reached: nothing here indexes, unwraps or overflows, and the verifier
/// would refuse an object that could get here.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

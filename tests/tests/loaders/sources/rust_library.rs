//! A `cdylib` without std: functions, data, tables of strings and functions, dynamic dispatch, an initialiser.
#![no_std]

use core::arch::asm;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU32, Ordering};

/// A table that is relocated word by word.
static NAMES: [&str; 3] = ["one", "two", "three"];

trait Shape: Sync {
    fn area(&self) -> u32;
}

struct Rectangle(u32, u32);
struct Square(u32);

impl Shape for Rectangle {
    fn area(&self) -> u32 {
        self.0 * self.1
    }
}

impl Shape for Square {
    fn area(&self) -> u32 {
        self.0 * self.0
    }
}

static SHAPES: [&dyn Shape; 2] = [&Rectangle(3, 4), &Square(5)];

#[unsafe(no_mangle)]
pub static T_COUNTER: AtomicU32 = AtomicU32::new(1);

#[unsafe(no_mangle)]
pub static T_SUM: extern "C" fn(*const u32, usize) -> u32 = t_sum;

#[unsafe(no_mangle)]
pub extern "C" fn t_sum(numbers: *const u32, count: usize) -> u32 {
    // SAFETY: the program passes a whole array.
    unsafe { core::slice::from_raw_parts(numbers, count) }.iter().sum()
}

#[unsafe(no_mangle)]
pub extern "C" fn t_name(index: usize, length: &mut usize) -> *const u8 {
    let name = NAMES[index];
    *length = name.len();
    name.as_ptr()
}

#[unsafe(no_mangle)]
pub extern "C" fn t_area(index: usize) -> u32 {
    SHAPES[index].area()
}

#[unsafe(no_mangle)]
pub extern "C" fn t_count() -> u32 {
    T_COUNTER.fetch_add(1, Ordering::Relaxed) + 1
}

#[used]
#[unsafe(link_section = ".init_array")]
static INITIALISER: extern "C" fn() = initialise;

#[used]
#[unsafe(link_section = ".fini_array")]
static FINALISER: extern "C" fn() = finalise;

extern "C" fn initialise() {
    say("initialised\n");
}

extern "C" fn finalise() {
    say("finalised\n");
}

fn say(text: &str) {
    // SAFETY: write(1, text, its length).
    unsafe {
        asm!("syscall", inlateout("rax") 1usize => _, in("rdi") 1, in("rsi") text.as_ptr(), in("rdx") text.len(),
             out("rcx") _, out("r11") _);
    }
}

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    loop {}
}

/// What core's unwind tables name. GNU ld drops the reference with the tables; others want it to be there.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

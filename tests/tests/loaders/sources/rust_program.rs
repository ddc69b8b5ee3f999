//! A `bin` without std, which uses a `cdylib`'s functions and data, and core's formatting.
#![no_std]
#![no_main]

use core::arch::asm;
use core::ffi::c_int;
use core::fmt::{self, Write};
use core::hint::black_box;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU32, Ordering};

type Sum = extern "C" fn(*const u32, usize) -> u32;

unsafe extern "C" {
    static T_COUNTER: AtomicU32;
    static T_SUM: Sum;
    fn t_sum(numbers: *const u32, count: usize) -> u32;
    fn t_name(index: usize, length: &mut usize) -> *const u8;
    safe fn t_area(index: usize) -> u32;
    safe fn t_count() -> u32;
}

struct Output;

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: write(1, text, its length).
        unsafe {
            asm!("syscall", inlateout("rax") 1usize => _, in("rdi") 1, in("rsi") text.as_ptr(), in("rdx") text.len(),
                 out("rcx") _, out("r11") _);
        }
        Ok(())
    }
}

fn name(index: usize) -> &'static str {
    let mut length = 0;
    // SAFETY: the library's strings are UTF-8 and never go away.
    unsafe {
        let bytes = t_name(index, &mut length);
        core::str::from_utf8_unchecked(core::slice::from_raw_parts(bytes, length))
    }
}

fn run() -> Result<c_int, fmt::Error> {
    let numbers: [u32; 4] = black_box([1, 2, 3, 4]);
    let own: unsafe extern "C" fn(*const u32, usize) -> u32 = t_sum;
    // SAFETY: a whole array; what the library has can be read at any time.
    let (sum, same, counter) = unsafe {
        let sum = t_sum(numbers.as_ptr(), numbers.len());
        (sum, black_box(own) as usize == black_box(T_SUM) as usize, &T_COUNTER)
    };
    writeln!(Output, "sum {sum}")?;
    writeln!(Output, "names {} {} {}", name(0), name(1), name(2))?;
    writeln!(Output, "shapes {} {}", t_area(0), t_area(1))?;
    t_count();
    writeln!(Output, "counter {} {}", t_count(), counter.load(Ordering::Relaxed))?;
    writeln!(Output, "same function {same}")?;
    writeln!(Output, "main {:#x}", black_box(17))?;
    Ok(17)
}

#[unsafe(no_mangle)]
extern "C" fn t_main() -> c_int {
    run().unwrap_or(1)
}

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    loop {}
}

/// What core's unwind tables name. GNU ld drops the reference with the tables; others want it to be there.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

//! The memory functions that the compiler takes for granted: `memcpy`, `memmove`, `memset`, `memcmp`, `bcmp` and
//! `strlen`. Programs may import them as well.
//!
//! # Safety
//! This file exists because these functions are defined by their effect on raw memory. Each rests on its caller's promise
//! in the C standard, and on what the psABI promises of every call: the direction flag is clear, and rcx, rdx, rsi, rdi,
//! r8 to r11 and all vector registers are free. They are assembly, because a compiler may turn any of them, written out,
//! into a call of itself; they use no stack and no variable, so that they work before the loader has relocated itself.
//!
//! They know nothing of the processor but SSE2, which all have: asking it (CPUID) traps in virtual machines, for longer
//! than most programs copy. Short sizes are two loads or more that may overlap, one from each end; what they cost is the
//! number of branches, so there are few on the way to each size. From 2 KiB
//! on, copying and filling is left to the processor's own string instructions: below that their beginning costs more than
//! they gain (measured by `cargo xtask bench mem`; glibc's threshold for vectors of 16 bytes is the same).
#![allow(unsafe_code)]

mod compare;
mod copy;
mod fill;
mod length;

/// The size from which on `rep movsb` and `rep stosb` are used.
const STRING_INSTRUCTIONS: usize = 2048;

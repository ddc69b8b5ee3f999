//! x86_64: sizes of the first-call stubs, and of what they save.
#![forbid(unsafe_code)]

use rtld::link::reloc::StubLayout;

/// The first-call stubs, as the assembler makes them.
pub(crate) const STUBS: StubLayout = StubLayout { groups: 32, per_group: 32, stride: 4, group_stride: 144 };

/// Bytes that hold all vector state that a kernel without AT_MINSIGSTKSZ (before Linux 5.14) can have enabled.
pub(crate) const STATE_MINIMUM: u64 = 4096;

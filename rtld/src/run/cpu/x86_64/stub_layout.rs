//! x86_64: sizes of the first-call stubs.
#![forbid(unsafe_code)]

use rtld::link::reloc::StubLayout;

/// The first-call stubs, as the assembler makes them.
pub(crate) const STUBS: StubLayout = StubLayout { groups: 32, per_group: 32, stride: 4, group_stride: 144 };

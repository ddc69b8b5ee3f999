//! Code of the loader that relocated words refer to, by address.
#![forbid(unsafe_code)]

use crate::base::addr::RuntimeAddr;

/// How first-call stubs follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StubLayout {
    /// Number of groups.
    pub groups: u64,
    /// Stubs in a group, a power of two.
    pub per_group: u64,
    /// Distance from one to the next in a group, in bytes.
    pub stride: u64,
    /// Distance from one group to the next, in bytes.
    pub group_stride: u64,
}

/// The first-call stubs of the loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stubs {
    /// Address of stub 0.
    pub start: RuntimeAddr,
    /// Where the others are.
    pub layout: StubLayout,
}

impl Stubs {
    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.layout.groups.saturating_mul(self.layout.per_group)
    }

    /// Whether one of them is at an address, or between the first and the last.
    #[must_use]
    pub const fn contains(&self, address: RuntimeAddr) -> bool {
        let size = self.layout.groups.saturating_mul(self.layout.group_stride);
        address.0.wrapping_sub(self.start.0) < size
    }

    /// The same place, without any stub.
    #[must_use]
    pub const fn none(self) -> Self {
        Self { layout: StubLayout { groups: 0, ..self.layout }, ..self }
    }

    /// Address of a stub.
    #[must_use]
    pub fn address(&self, number: u32) -> RuntimeAddr {
        let StubLayout { per_group, stride, group_stride, .. } = self.layout;
        let number = u64::from(number);
        let group = number.checked_div(per_group).unwrap_or(0);
        let within = number.checked_rem(per_group).unwrap_or(0);
        let offset = group.wrapping_mul(group_stride).wrapping_add(within.wrapping_mul(stride));
        RuntimeAddr(self.start.0.wrapping_add(offset))
    }
}

/// Code of the loader that relocated words refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoaderCode {
    /// Stand in native function slots.
    pub stubs: Stubs,
    /// Function of a descriptor whose argument is an offset from the thread pointer.
    pub tls_descriptor: RuntimeAddr,
    /// Function of a descriptor whose argument is the address of a [`Described`].
    pub tls_described: RuntimeAddr,
}

/// Argument of a TLS descriptor of storage that a thread may not have given its initial values yet.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described {
    /// The bit that says whether it has, in the loader's own state of the thread.
    pub ready: u64,
    /// The variable's offset from the thread pointer.
    pub offset: u64,
}
